package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/berth-hpc/berth"
)

const (
	// updateJob writes what berth.Apply can change, unless another server has changed the job since it was read.
	updateJob = `UPDATE jobs SET version = version + 1, state = $3, wait = $4, wait_detail = $5, wish = $6, wish_by = $7,
	attempt = $8, hosts = $9, placed_at = $10, started_at = $11, ended_at = $12, suspended_at = $13, suspended_for = $14,
	end_reason = $15, exit_code = $16, exit_signal = $17, end_by = $18, end_detail = $19
	WHERE number = $1 AND version = $2`
	deleteSecret = `DELETE FROM pull_secrets WHERE number = $1`
)

// applyTries is how often Apply reads a job again that another server changes at the same time. One server alone never does.
const applyTries = 5

// msgBusyJob is for a job that changes faster than it can be read.
const msgBusyJob = "The job has been changed by somebody else"

// Apply stores what happened to a job and returns the job after it: the job as berth.Apply makes it and the event, in one
// transaction. It is the only way to change a job. A *berth.StateError passes unchanged when the event is not possible; NotFound
// when there is no such job; Conflict when somebody else keeps changing it. Texts that are not UTF-8 are made so.
func (s *Store) Apply(ctx context.Context, number int64, ev berth.Event) (berth.Job, error) {
	entry, err := eventEntry(ev)
	if err != nil {
		return berth.Job{}, err
	}
	var job berth.Job
	err = s.write(ctx, "change a job", func(b *batch) (err error) {
		job, err = apply(b, number, entry)
		return err
	})
	if err != nil {
		return berth.Job{}, err
	}
	return job, nil
}

// apply is the part of Apply within the transaction.
func apply(b *batch, number int64, e entry) (berth.Job, error) {
	for range applyTries {
		before, err := scanJob(b.queryRow(selectJobByNumber, number))
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return berth.Job{}, refuse(&berth.Error{Kind: berth.NotFound, Msg: msgNotFound, Err: err})
		case err != nil:
			return berth.Job{}, err
		}
		after, err := berth.Apply(before, e.record.Event)
		if err != nil {
			return berth.Job{}, refuse(err)
		}
		_, id, err := b.next(before.State, after.State)
		if err != nil {
			return berth.Job{}, err
		}
		written, err := update(b, after)
		if err != nil {
			return berth.Job{}, err
		}
		if !written {
			b.giveBack(before.State, after.State)
			continue
		}
		after.Version++
		return after, applied(b, after, e.of(after), id)
	}
	return berth.Job{}, refuse(&berth.Error{Kind: berth.Conflict, Msg: msgBusyJob})
}

// update writes the row unless its version is another one by now.
func update(b *batch, j berth.Job) (written bool, err error) {
	n, err := b.exec(updateJob, j.Number, j.Version, string(j.State), string(j.Wait), j.WaitDetail, string(j.Wish), j.WishBy,
		j.Attempt, joinHosts(j.Hosts), micro(j.Placed), micro(j.Started), micro(j.Ended), micro(j.Suspended), j.SuspendedFor.Microseconds(),
		string(j.End.Reason), j.End.ExitCode, j.End.Signal, j.End.By, j.End.Detail)
	if err != nil {
		return false, fmt.Errorf("update: %w", err)
	}
	return n == 1, nil
}

// applied stores what follows from a change: the record, what its start makes superfluous, and with its end that of the job's secrets
// and output.
func applied(b *batch, after berth.Job, e entry, id int64) error {
	record, err := e.insert(b, id)
	if err != nil {
		return err
	}
	if err := keep(b, after, e.record.Event); err != nil {
		return err
	}
	if err := deletePassword(b, after, e.record.Event); err != nil {
		return err
	}
	if after.State.Final() {
		if _, err := b.exec(deleteSecret, after.Number); err != nil {
			return fmt.Errorf("delete pull secret: %w", err)
		}
		if err := deleteRun(b, after); err != nil {
			return err
		}
		if err := endOutput(b, after); err != nil {
			return err
		}
	}
	b.changes = append(b.changes, change{after, record})
	return nil
}
