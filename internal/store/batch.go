package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/berth-hpc/berth"
)

const (
	// lockNumber reads the last job number and, on PostgreSQL, keeps every other server from it until the commit.
	lockNumber   = `UPDATE counters SET value = value WHERE name = 'number' RETURNING value`
	setNumber    = `UPDATE counters SET value = $1 WHERE name = 'number'`
	addToCounter = `UPDATE counters SET value = value + $1 WHERE name = $2`
)

// stateCounter is the name of the counter of the jobs in a state.
func stateCounter(state berth.State) string { return "state:" + string(state) }

// batch is one transaction of the writer with all operations in it. What they have in common, the counters, is read and written
// once.
type batch struct {
	// ctx lives exactly as long as the transaction.
	ctx        context.Context
	tx         *sql.Tx
	statements *statements
	bound      map[string]*sql.Stmt

	// number is the last job number given out, 0 when it was not read.
	number     int64
	numberRead bool
	deltas     map[berth.State]int64
	changes    []change
}

// change is what OnChange is told.
type change struct {
	job   berth.Job
	event berth.Event
}

func begin(ctx context.Context, db *sql.DB, prepared *statements) (*batch, error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	return &batch{
		ctx: ctx, tx: tx, statements: prepared,
		bound: make(map[string]*sql.Stmt), deltas: make(map[berth.State]int64),
	}, nil
}

// bind returns the prepared statement for this transaction, nil when the text is not prepared.
func (b *batch) bind(text string) *sql.Stmt {
	if stmt, ok := b.bound[text]; ok {
		return stmt
	}
	stmt, ok := b.statements.prepared[text]
	if !ok {
		return nil
	}
	b.bound[text] = b.tx.StmtContext(b.ctx, stmt) // closed with the transaction
	return b.bound[text]
}

// exec runs a text and returns how many rows it changed.
func (b *batch) exec(text string, args ...any) (int64, error) {
	var result sql.Result
	var err error
	if stmt := b.bind(text); stmt != nil {
		result, err = stmt.ExecContext(b.ctx, args...)
	} else {
		result, err = b.tx.ExecContext(b.ctx, text, args...)
	}
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (b *batch) queryRow(text string, args ...any) *sql.Row {
	if stmt := b.bind(text); stmt != nil {
		return stmt.QueryRowContext(b.ctx, args...)
	}
	return b.tx.QueryRowContext(b.ctx, text, args...)
}

// lastNumber returns the last job number that was given out, also by this batch.
func (b *batch) lastNumber() (int64, error) {
	if b.numberRead {
		return b.number, nil
	}
	if err := b.queryRow(lockNumber).Scan(&b.number); err != nil {
		return 0, fmt.Errorf("last job number: %w", err)
	}
	b.numberRead = true
	return b.number, nil
}

// moved counts a job that went from one state to another; from is empty for a new job.
func (b *batch) moved(from, to berth.State) {
	if from == to {
		return
	}
	if from != "" {
		b.deltas[from]--
	}
	b.deltas[to]++
}

// commit writes the counters and commits. An error before the commit leaves the transaction to be rolled back.
func (b *batch) commit() error {
	if b.numberRead {
		if _, err := b.exec(setNumber, b.number); err != nil {
			return fmt.Errorf("count job numbers: %w", err)
		}
	}
	// Always in one order, so that two servers on one PostgreSQL do not wait for each other.
	for _, state := range slices.Sorted(maps.Keys(b.deltas)) {
		if b.deltas[state] == 0 {
			continue
		}
		if _, err := b.exec(addToCounter, b.deltas[state], stateCounter(state)); err != nil {
			return fmt.Errorf("count jobs by state: %w", err)
		}
	}
	if err := b.tx.Commit(); err != nil {
		return &commitError{err}
	}
	return nil
}

// rollback undoes everything. After a failed or successful commit it does nothing.
func (b *batch) rollback() error {
	if err := b.tx.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
		return fmt.Errorf("roll back: %w", err)
	}
	return nil
}

// commitError marks a failure of the COMMIT itself, which must not be tried again: it may have happened.
type commitError struct{ err error }

func (e *commitError) Error() string { return "commit: " + e.err.Error() }

func (e *commitError) Unwrap() error { return e.err }
