package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/berth-hpc/berth"
)

const (
	// addTotals takes the states in the order of berth.States. On PostgreSQL it keeps every other server from the row until the
	// commit: numbers and ids are given out in the order of the commits.
	addTotals = `UPDATE totals SET number = number + $1, event = event + $2, queued = queued + $3, starting = starting + $4,
	running = running + $5, stopping = stopping + $6, staging_out = staging_out + $7, completed = completed + $8,
	failed = failed + $9, terminated = terminated + $10, canceled = canceled + $11 RETURNING number, event`
	selectTotals = `SELECT queued, starting, running, stopping, staging_out, completed, failed, terminated, canceled FROM totals`
)

// batch is one transaction of the writer with all operations in it. What they have in common, the totals, is read and written
// once.
type batch struct {
	// ctx lives exactly as long as the transaction.
	ctx        context.Context
	tx         *sql.Tx
	statements *statements
	bound      map[string]*sql.Stmt

	// taken: the row of totals is this batch's until the commit, and number and event are what is in it.
	taken         bool
	number, event int64
	// totals is what the row lacks: numbers and ids given out or, negative, given back; and jobs by state.
	totals struct {
		numbers, events int64
		byState         map[berth.State]int64
	}
	changes []change
}

// change is what OnChange is told.
type change struct {
	job    berth.Job
	record berth.Record
}

func begin(ctx context.Context, db *sql.DB, prepared *statements) (*batch, error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	b := &batch{ctx: ctx, tx: tx, statements: prepared, bound: make(map[string]*sql.Stmt)}
	b.totals.byState = make(map[berth.State]int64)
	return b, nil
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
	if stmt := b.bind(text); stmt != nil { //nolint:sqlclosecheck // the transaction closes it, others of the batch use it
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
	if stmt := b.bind(text); stmt != nil { //nolint:sqlclosecheck // the transaction closes it, others of the batch use it
		return stmt.QueryRowContext(b.ctx, args...)
	}
	return b.tx.QueryRowContext(b.ctx, text, args...)
}

// next gives out the id of a record and counts the job that it moves from one state to another. from is empty for a new job, which
// gets the number; both are empty for an act. It comes before everything else that an operation writes: on PostgreSQL every
// transaction then waits for the row of totals first, and no two wait for each other.
func (b *batch) next(from, to berth.State) (number, id int64, err error) {
	b.count(1, from, to)
	if !b.taken {
		if err := b.writeTotals(); err != nil {
			return 0, 0, err
		}
		b.taken = true
	}
	return b.number + b.totals.numbers, b.event + b.totals.events, nil
}

// giveBack undoes the last next, for an operation that is refused after it or tries again.
func (b *batch) giveBack(from, to berth.State) { b.count(-1, from, to) }

// count adds n records like the one that next describes.
func (b *batch) count(n int64, from, to berth.State) {
	b.totals.events += n
	if from == to {
		return
	}
	if from == "" {
		b.totals.numbers += n
	} else {
		b.totals.byState[from] -= n
	}
	b.totals.byState[to] += n
}

// commit writes the totals and commits. An error before the COMMIT leaves the transaction to be rolled back.
func (b *batch) commit() error {
	if err := b.writeTotals(); err != nil {
		return err
	}
	if err := b.tx.Commit(); err != nil {
		return &commitError{err}
	}
	return nil
}

// writeTotals brings the row of totals up to date.
func (b *batch) writeTotals() error {
	args := []any{b.totals.numbers, b.totals.events}
	changed := b.totals.numbers != 0 || b.totals.events != 0
	for _, state := range berth.States() {
		n := b.totals.byState[state]
		args = append(args, n)
		changed = changed || n != 0
	}
	if !changed {
		return nil
	}
	if err := b.queryRow(addTotals, args...).Scan(&b.number, &b.event); err != nil {
		return fmt.Errorf("totals: %w", err)
	}
	b.totals.numbers, b.totals.events = 0, 0
	clear(b.totals.byState)
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
