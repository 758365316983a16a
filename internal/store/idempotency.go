package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/berth-hpc/berth"
)

const (
	insertKey = `INSERT INTO idempotency_keys (owner, key, hash, number, created_at) VALUES ($1, $2, $3, $4, $5)`
	selectKey = `SELECT hash, number FROM idempotency_keys WHERE owner = $1 AND key = $2`
	deleteOld = `DELETE FROM idempotency_keys WHERE (owner, key) IN
	(SELECT owner, key FROM idempotency_keys WHERE created_at < $1 ORDER BY created_at LIMIT $2)`
)

// msgOtherRequest is for a client that sends a key again with something else.
const msgOtherRequest = "The idempotency key was used for a different request"

// Idempotency makes the repetition of a request safe.
type Idempotency struct {
	// Key is the client's, unique for an owner; empty is none.
	Key string
	// Hash is of the request; it tells a repetition from another request.
	Hash string
}

// jobByKey returns the job that was created with the key, or a refusal when that was by another request.
func jobByKey(queryRow func(string, ...any) *sql.Row, owner string, key Idempotency) (job berth.Job, found bool, err error) {
	var hash string
	var number int64
	err = queryRow(selectKey, owner, key.Key).Scan(&hash, &number)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return berth.Job{}, false, nil
	case err != nil:
		return berth.Job{}, false, fmt.Errorf("idempotency key: %w", err)
	case hash != key.Hash:
		return berth.Job{}, false, refuse(&berth.Error{Kind: berth.Conflict, Msg: msgOtherRequest})
	}
	job, err = scanJob(queryRow(selectJobByNumber, number))
	if err != nil {
		return berth.Job{}, false, fmt.Errorf("job of an idempotency key: %w", err)
	}
	return job, true, nil
}

// JobByIdempotencyKey returns the job that a request with this key has created, found is false when none has. The same key with
// another hash is a Conflict.
func (s *Store) JobByIdempotencyKey(ctx context.Context, owner string, key Idempotency) (job berth.Job, found bool, err error) {
	job, found, err = jobByKey(func(text string, args ...any) *sql.Row { return s.reads.queryRow(ctx, text, args...) }, owner, key)
	if refused, ok := errors.AsType[*refusal](err); ok {
		err = refused.err
	}
	return job, found, wrap(ctx, "find a job by its idempotency key", err)
}

// DeleteIdempotencyKeys forgets the oldest keys of jobs submitted before the time, at most so many, and returns how many there were.
// The jobs stay. Every other write waits meanwhile: who has many to delete does it in pieces.
func (s *Store) DeleteIdempotencyKeys(ctx context.Context, before time.Time, limit int) (int, error) {
	var deleted int64
	err := s.write(ctx, "delete idempotency keys", func(b *batch) (err error) {
		deleted, err = b.exec(deleteOld, micro(before), limit)
		return err
	})
	if err != nil {
		return 0, err
	}
	return int(deleted), nil
}
