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
	insertRun   = `INSERT INTO runs (number, run) VALUES ($1, $2)`
	selectRun   = `SELECT run FROM runs WHERE number = $1`
	deleteRunOf = `DELETE FROM runs WHERE number = $1`
)

// hasRun says whether a job may have a run and a token. Batch jobs that nobody connects to and that have no ssh key, of which there are thousands a second, pay
// nothing for them.
func hasRun(job berth.Job) bool {
	return job.Submission.App != "" || job.Submission.Container.Interactive || job.Submission.SSHPublicKey != ""
}

// encodeRun returns what a job runs as the database has it.
func encodeRun(job berth.Job, run *berth.Run) (string, error) {
	if !hasRun(job) {
		return "", errors.New("this job has nothing that a run is for")
	}
	text, err := json.Marshal(run) //nolint:gosec // this is where its secrets are kept
	if err != nil {
		return "", fmt.Errorf("run: %w", err)
	}
	return string(text), nil
}

// insertRun stores what the job runs, and its token.
func (i *insertion) insertRun(b *batch, job berth.Job) error {
	if i.runText == "" {
		return nil
	}
	if _, err := b.exec(insertRun, job.Number, i.runText); err != nil {
		return fmt.Errorf("insert run: %w", err)
	}
	if i.token.Hash == "" {
		return nil
	}
	key := i.token.Key
	key.User, key.Job = job.Owner, job.Number
	return addKey(b, key, i.token.Hash)
}

// deleteRun deletes what a job ran, and its token, with its end.
func deleteRun(b *batch, job berth.Job) error {
	if !hasRun(job) {
		return nil
	}
	for _, text := range []string{deleteRunOf, deleteToken} {
		if _, err := b.exec(text, job.Number); err != nil {
			return fmt.Errorf("delete run: %w", err)
		}
	}
	return nil
}

// Run returns what the job of an application runs. found is false for a batch job and after the job's end.
func (s *Store) Run(ctx context.Context, number int64) (run berth.Run, found bool, err error) {
	var text string
	err = s.reads.queryRow(ctx, selectRun, number).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return berth.Run{}, false, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &run)
	}
	if err != nil {
		return berth.Run{}, false, wrap(ctx, "read what a job runs", err)
	}
	return run, true, nil
}
