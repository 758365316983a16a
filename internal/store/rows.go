package store

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/berth-hpc/berth"
)

// jobColumns are the columns that scanJob reads.
const jobColumns = `number, name, version, owner, team, payer, state, wait, wait_detail, wish, wish_by, application, command,
	submission, image, grace, need_cores, need_ram, need_gpus, need_slots, price, scratch, attempt, hosts, submitted_at, placed_at, started_at,
	ended_at, suspended_at, suspended_for, end_reason, exit_code, exit_signal, end_by, end_detail`

// scanner is a *sql.Row or *sql.Rows.
type scanner interface{ Scan(dest ...any) error }

// scanJob reads the columns of jobColumns. The texts are scanned as plain strings, which is twice as fast as into their own types.
func scanJob(row scanner) (berth.Job, error) {
	var j berth.Job
	var state, wait, wish, submission, reason, hosts string
	var grace, submitted, placed, started, ended, suspended, suspendedFor int64
	err := row.Scan(&j.Number, &j.Name, &j.Version, &j.Owner, &j.Team, &j.Payer, &state, &wait, &j.WaitDetail, &wish, &j.WishBy,
		&j.Application, &j.Command, &submission, &j.Image, &grace, &j.Need.Cores, &j.Need.RAM, &j.Need.GPUs, &j.Need.Slots, &j.Price, &j.Scratch,
		&j.Attempt, &hosts, &submitted, &placed, &started, &ended, &suspended, &suspendedFor, &reason, &j.End.ExitCode, &j.End.Signal, &j.End.By,
		&j.End.Detail)
	if err != nil {
		return berth.Job{}, err
	}
	if err := json.Unmarshal([]byte(submission), &j.Submission); err != nil {
		return berth.Job{}, fmt.Errorf("submission of job %d: %w", j.Number, err)
	}
	j.State, j.Wait, j.Wish, j.End.Reason = berth.State(state), berth.Wait(wait), berth.Wish(wish), berth.EndReason(reason)
	j.Submitted, j.Placed, j.Started, j.Ended = fromMicro(submitted), fromMicro(placed), fromMicro(started), fromMicro(ended)
	j.Hosts = splitHosts(hosts)
	j.Suspended, j.SuspendedFor, j.Grace = fromMicro(suspended), duration(suspendedFor), duration(grace)
	return j, nil
}

// scanAll reads all rows and closes them.
func scanAll[T any](rows *sql.Rows, err error, scan func(scanner) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // its error is that of rows.Err
	var all []T
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, item)
	}
	return all, rows.Err()
}

// joinHosts are the hosts of a job's nodes as the database has them: no name of a host holds a comma.
func joinHosts(hosts []string) string { return strings.Join(hosts, ",") }

func splitHosts(hosts string) []string {
	if hosts == "" {
		return nil
	}
	return strings.Split(hosts, ",")
}

// micro is a time as the database has it.
func micro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicro(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// duration is one that the database has in microseconds.
func duration(us int64) time.Duration { return time.Duration(us) * time.Microsecond }

// stored is a time as it will be read again.
func stored(t time.Time) time.Time { return fromMicro(micro(t)) }

// clean makes a text that both databases take: PostgreSQL refuses NUL and what is not UTF-8, and the words of a failed program
// must not keep its job from ending.
func clean(text *string) {
	if utf8.ValidString(*text) && strings.IndexByte(*text, 0) < 0 {
		return
	}
	*text = strings.ReplaceAll(strings.ToValidUTF8(*text, "\uFFFD"), "\x00", "\uFFFD")
}
