package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/berth-hpc/berth"
)

const (
	// takeNumber gives out the next number to a queued job. On PostgreSQL it keeps every other server from it until the commit.
	takeNumber = `UPDATE totals SET number = number + 1, queued = queued + 1 RETURNING number`
	// addTotals takes the states in the order of berth.States.
	addTotals = `UPDATE totals SET number = number + $1, queued = queued + $2, starting = starting + $3, running = running + $4,
	stopping = stopping + $5, completed = completed + $6, failed = failed + $7, terminated = terminated + $8, canceled = canceled + $9`
	selectTotals = `SELECT queued, starting, running, stopping, completed, failed, terminated, canceled FROM totals`
)

// batch is one transaction of the writer with all operations in it. What they have in common, the totals, is read and written
// once.
type batch struct {
	// ctx lives exactly as long as the transaction.
	ctx        context.Context
	tx         *sql.Tx
	statements *statements
	bound      map[string]*sql.Stmt

	// number is the last job number given out, taken by this batch when numberTaken.
	number      int64
	numberTaken bool
	// totals is what the row of totals lacks: numbers given out or, negative, given back; and jobs by state.
	totals struct {
		numbers int64
		byState map[berth.State]int64
	}
	changes []change
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

// nextNumber gives out a number to a queued job and counts the job.
func (b *batch) nextNumber() (int64, error) {
	if b.numberTaken {
		b.number++
		b.totals.numbers++
		b.moved("", berth.StateQueued)
		return b.number, nil
	}
	if err := b.queryRow(takeNumber).Scan(&b.number); err != nil {
		return 0, fmt.Errorf("next job number: %w", err)
	}
	b.numberTaken = true
	return b.number, nil
}

// giveBack undoes the last nextNumber.
func (b *batch) giveBack() {
	b.number--
	b.totals.numbers--
	b.totals.byState[berth.StateQueued]--
}

// moved counts a job that went from one state to another; from is empty for a new job.
func (b *batch) moved(from, to berth.State) {
	if from == to {
		return
	}
	if from != "" {
		b.totals.byState[from]--
	}
	b.totals.byState[to]++
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

func (b *batch) writeTotals() error {
	args := []any{b.totals.numbers}
	changed := b.totals.numbers != 0
	for _, state := range berth.States() {
		n := b.totals.byState[state]
		args = append(args, n)
		changed = changed || n != 0
	}
	if !changed {
		return nil
	}
	if _, err := b.exec(addTotals, args...); err != nil {
		return fmt.Errorf("totals: %w", err)
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
