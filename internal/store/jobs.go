package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/berth-hpc/berth"
)

const (
	insertJob = `INSERT INTO jobs (number, name, version, owner, state, wait, wait_detail, application, command, label, submission,
	image, need_cores, need_ram, need_slots, submitted_at)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
	ON CONFLICT (name) DO NOTHING`
	insertSecret      = `INSERT INTO pull_secrets (number, secret) VALUES ($1, $2)`
	selectSecret      = `SELECT secret FROM pull_secrets WHERE number = $1`
	selectJobByNumber = `SELECT ` + jobColumns + ` FROM jobs WHERE number = $1`
	selectJobByName   = `SELECT ` + jobColumns + ` FROM jobs WHERE name = $1`
)

// NewJob is a job to be stored.
type NewJob struct {
	// Job is the job without Number and Version, which the store gives, and without State: it is queued.
	Job berth.Job
	// PullSecret is kept beside the job until it ends; empty is none.
	PullSecret  string
	Idempotency Idempotency
}

// CreateJob stores a queued job under the next number, with its first event, and returns it. A job with the same owner,
// idempotency key and hash is returned instead when there is one, and created is false then; the same key with another hash is a
// Conflict. A name that is taken is a Conflict that wraps ErrNameTaken. Texts must be UTF-8; other bytes are replaced.
func (s *Store) CreateJob(ctx context.Context, newJob NewJob) (job berth.Job, created bool, err error) {
	insert, err := newInsertion(newJob)
	if err != nil {
		return berth.Job{}, false, err
	}
	err = s.write(ctx, "create a job", func(b *batch) (err error) {
		job, created, err = insert.run(b)
		return err
	})
	if err != nil {
		return berth.Job{}, false, err
	}
	return job, created, nil
}

// insertion is a new job as it goes into the database. What can be computed before the transaction is.
type insertion struct {
	job         berth.Job
	event       berth.Event
	submission  string
	eventData   string
	secret      string
	idempotency Idempotency
}

func newInsertion(newJob NewJob) (*insertion, error) {
	job := newJob.Job
	job.State, job.Version = berth.StateQueued, 1
	job.Submitted = stored(job.Submitted)
	for _, text := range []*string{
		&job.Name, &job.Owner, &job.WaitDetail, &job.Application, &job.Command, &job.Image, &job.Submission.Label,
	} {
		clean(text)
	}
	submission, err := json.Marshal(job.Submission)
	if err != nil {
		return nil, fmt.Errorf("submission: %w", err)
	}
	event := berth.Event{Kind: berth.EventSubmitted, At: job.Submitted, By: job.Owner}
	data, err := encodeEvent(event)
	if err != nil {
		return nil, err
	}
	return &insertion{
		job: job, event: event, submission: string(submission), eventData: data,
		secret: newJob.PullSecret, idempotency: newJob.Idempotency,
	}, nil
}

// run is the part of CreateJob within the transaction.
func (i *insertion) run(b *batch) (berth.Job, bool, error) {
	if i.idempotency.Key != "" {
		first, found, err := jobByKey(b.queryRow, i.job.Owner, i.idempotency)
		if err != nil || found {
			return first, false, err
		}
	}
	job := i.job
	var err error
	if job.Number, err = b.nextNumber(); err != nil {
		return berth.Job{}, false, err
	}
	n, err := b.exec(insertJob, job.Number, job.Name, job.Version, job.Owner, string(job.State), string(job.Wait), job.WaitDetail,
		job.Application, job.Command, job.Label(), i.submission, job.Image, job.Need.Cores, job.Need.RAM, job.Need.Slots,
		micro(job.Submitted))
	switch {
	case err != nil:
		return berth.Job{}, false, fmt.Errorf("insert: %w", err)
	case n == 0:
		b.giveBack()
		return berth.Job{}, false, refuse(&berth.Error{Kind: berth.Conflict, Msg: msgConflict, Err: ErrNameTaken})
	}
	if err := i.insertRest(b, job); err != nil {
		return berth.Job{}, false, err
	}
	b.changes = append(b.changes, change{job, i.event})
	return job, true, nil
}

// insertRest stores what belongs to a new job and is not in its row.
func (i *insertion) insertRest(b *batch, job berth.Job) error {
	if _, err := b.exec(insertEvent, job.Number, job.Version, string(i.event.Kind), micro(i.event.At), i.eventData); err != nil {
		return fmt.Errorf("insert event: %w", err)
	}
	if i.secret != "" {
		if _, err := b.exec(insertSecret, job.Number, i.secret); err != nil {
			return fmt.Errorf("insert pull secret: %w", err)
		}
	}
	if i.idempotency.Key != "" {
		if _, err := b.exec(insertKey, job.Owner, i.idempotency.Key, i.idempotency.Hash, job.Number, micro(job.Submitted)); err != nil {
			return fmt.Errorf("insert idempotency key: %w", err)
		}
	}
	return nil
}

// Job returns a job, or NotFound when there is definitely no job of that number.
func (s *Store) Job(ctx context.Context, number int64) (berth.Job, error) {
	job, err := scanJob(s.reads.queryRow(ctx, selectJobByNumber, number))
	return job, wrap(ctx, "read a job", err)
}

// JobByName returns a job, or NotFound when there is definitely no job of that name.
func (s *Store) JobByName(ctx context.Context, name string) (berth.Job, error) {
	clean(&name)
	job, err := scanJob(s.reads.queryRow(ctx, selectJobByName, name))
	return job, wrap(ctx, "read a job", err)
}

// PullSecret returns the pull secret of a job. It is empty when there was none and after the job's end.
func (s *Store) PullSecret(ctx context.Context, number int64) (string, error) {
	var secret string
	err := s.reads.queryRow(ctx, selectSecret, number).Scan(&secret)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return secret, wrap(ctx, "read a pull secret", err)
}

// CountByState returns how many jobs are in each state, also those in which there is none. It costs the same whatever the
// number of jobs.
func (s *Store) CountByState(ctx context.Context) (map[berth.State]int, error) {
	states := berth.States()
	counts := make([]int, len(states))
	dest := make([]any, len(states))
	for i := range counts {
		dest[i] = &counts[i]
	}
	if err := s.reads.queryRow(ctx, selectTotals).Scan(dest...); err != nil {
		return nil, wrap(ctx, "count jobs", err)
	}
	byState := make(map[berth.State]int, len(states))
	for i, state := range states {
		byState[state] = counts[i]
	}
	return byState, nil
}
