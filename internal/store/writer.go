package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/crashpoint"
)

// batchLimit bounds the operations of one transaction, and with them how long the first of them waits for the last.
const batchLimit = 512

// writer commits the operations of concurrent callers together: a commit waits for the disk, and the disk takes as long for one
// row as for a hundred. There is no goroutine behind it. The first caller becomes the leader and commits for everybody; who comes
// meanwhile queues, and the first of the queue is the next leader.
type writer struct {
	db         *sql.DB
	statements *statements
	// timeout bounds a transaction; 0 is no bound.
	timeout  time.Duration
	onChange func(berth.Job, berth.Record)

	mu      sync.Mutex
	queue   []*operation
	leading bool
	closed  bool
	// idle is closed when the writer is closed and the last leader has ended.
	idle chan struct{}
}

// operation is one caller's part of a transaction.
type operation struct {
	// run may be called again in another transaction when the first was rolled back, so it must not keep anything between calls. A
	// refusal leaves the transaction as it is; any other error rolls it back.
	run func(*batch) error
	// gone returns an error when the caller does not wait any more.
	gone func() error
	// turn gets true when the caller shall lead, false when the operation has ended and err is set.
	turn chan bool
	// chosen: the operation is the next leader's and cannot be withdrawn. Guarded by writer.mu.
	chosen bool
	err    error
}

// refusal is an error of an operation that has written nothing.
type refusal struct{ err error }

func (r *refusal) Error() string { return r.err.Error() }

func (r *refusal) Unwrap() error { return r.err }

// refuse says that an operation ends with err and has written nothing, so that the others of its transaction can go on.
func refuse(err error) error { return &refusal{err} }

// errClosed answers writes after Close.
var errClosed = errors.New("the store is closed")

// errUnfinished is the result of an operation whose leader ended by a panic.
var errUnfinished = errors.New("the transaction did not end")

// do runs the operation in a transaction and returns when its outcome is known: nil means that it is on disk. When ctx ends
// before the operation began it is taken back; afterwards ctx has no effect.
func (w *writer) do(ctx context.Context, run func(*batch) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	op := &operation{run: run, gone: ctx.Err, turn: make(chan bool, 1)}
	lead, err := w.enqueue(op)
	if err != nil {
		return err
	}
	if !lead {
		select {
		case lead = <-op.turn:
		case <-ctx.Done():
			if w.withdraw(op) {
				return ctx.Err()
			}
			lead = <-op.turn
		}
	}
	if lead {
		w.lead(context.WithoutCancel(ctx))
	}
	return op.err
}

// enqueue says whether the caller has to lead.
func (w *writer) enqueue(op *operation) (lead bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false, unavailable(errClosed)
	}
	w.queue = append(w.queue, op)
	if w.leading {
		return false, nil
	}
	w.leading, op.chosen = true, true
	return true, nil
}

// withdraw takes an operation back and says whether that was still possible.
func (w *writer) withdraw(op *operation) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.Index(w.queue, op)
	if i < 0 || op.chosen {
		return false
	}
	w.queue = slices.Delete(w.queue, i, i+1)
	return true
}

// lead commits one batch and hands the lead on. It always takes the caller's own operation, which is the first of the queue.
func (w *writer) lead(ctx context.Context) {
	// Those whom the previous leader has just woken come back at once when they are busy clients: let them in. Without this,
	// batches of one alternate with batches of all the others.
	runtime.Gosched()
	ops := w.take()
	defer w.handOver(ops) // also when OnChange panics: everybody else would wait forever
	w.commit(ctx, ops)
}

// take returns the next operations whose callers still wait.
func (w *writer) take() []*operation {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(w.queue), batchLimit)
	ops := slices.Clone(w.queue[:n])
	w.queue = slices.Delete(w.queue, 0, n)
	for _, op := range ops {
		op.err = errUnfinished
	}
	return ops
}

// handOver wakes the callers and makes the first of the queue the leader.
func (w *writer) handOver(ops []*operation) {
	for _, op := range ops {
		op.turn <- false // the leader's own channel has room and is not read any more
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) > 0 {
		w.queue[0].chosen = true
		w.queue[0].turn <- true
		return
	}
	w.leading = false
	if w.closed {
		close(w.idle)
	}
}

// commit gives every operation its outcome.
func (w *writer) commit(ctx context.Context, ops []*operation) {
	waiting := make([]*operation, 0, len(ops))
	for _, op := range ops {
		if op.err = op.gone(); op.err == nil {
			op.err = errUnfinished
			waiting = append(waiting, op)
		}
	}
	if len(waiting) == 0 {
		return
	}
	err := w.transact(ctx, waiting)
	if err == nil || len(waiting) == 1 || !worthRepeating(err) {
		settle(waiting, err)
		return
	}
	// One of them failed and nothing is stored. Alone, each gets its own outcome.
	for i, op := range waiting {
		err := w.transact(ctx, waiting[i:i+1])
		if isBegin(err) { // the database is away: it would be for the others too
			settle(waiting[i:], err)
			return
		}
		settle([]*operation{op}, err)
	}
}

// settle sets the outcome of a transaction. A refusal holds only when the transaction does: the operation may have been refused
// because of what another one wrote in it.
func settle(ops []*operation, err error) {
	for _, op := range ops {
		if err != nil {
			op.err = err
		} else if refused, ok := errors.AsType[*refusal](op.err); ok {
			op.err = refused.err
		}
	}
}

// transact runs the operations in one transaction. Its error is that of all of them; a refusal is left in operation.err.
func (w *writer) transact(ctx context.Context, ops []*operation) (err error) {
	if w.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.timeout)
		defer cancel()
	}
	b, err := begin(ctx, w.db, w.statements)
	if err != nil {
		return &beginError{err}
	}
	defer func() {
		if rollbackErr := b.rollback(); rollbackErr != nil {
			err = errors.Join(err, rollbackErr)
		}
	}()
	for _, op := range ops {
		op.err = op.run(b)
		if op.err == nil {
			continue
		}
		if _, refused := errors.AsType[*refusal](op.err); !refused {
			return op.err
		}
	}
	crashpoint.Here("store.commit.before")
	if err := b.commit(); err != nil {
		return err
	}
	crashpoint.Here("store.commit.after")
	w.publish(b.changes)
	return nil
}

func (w *writer) publish(changes []change) {
	if w.onChange == nil {
		return
	}
	for _, c := range changes {
		w.onChange(c.job, c.record)
	}
}

// close lets everybody who has queued finish and refuses the rest.
func (w *writer) close() {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		w.idle = make(chan struct{})
		if !w.leading {
			close(w.idle)
		}
	}
	w.mu.Unlock()
	<-w.idle
}

// beginError says that there was no transaction at all.
type beginError struct{ err error }

func (e *beginError) Error() string { return e.err.Error() }

func (e *beginError) Unwrap() error { return e.err }

func isBegin(err error) bool {
	_, ok := errors.AsType[*beginError](err)
	return ok
}

// worthRepeating says whether a failed transaction may be repeated one operation at a time: it certainly did not happen, and the
// database is there.
func worthRepeating(err error) bool {
	_, atCommit := errors.AsType[*commitError](err)
	return !isBegin(err) && !atCommit
}

// write runs an operation and names the errors of the driver.
func (s *Store) write(ctx context.Context, doing string, run func(*batch) error) error {
	err := s.writes.do(ctx, run)
	if _, ok := errors.AsType[*commitError](err); ok {
		return unavailable(fmt.Errorf("%s: %w: %w", doing, errOutcome, err))
	}
	return wrap(ctx, doing, err)
}
