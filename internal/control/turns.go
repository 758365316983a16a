package control

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/berth-hpc/berth"
)

// maxWaiting bounds how many requests wait for the turn of a queue. Each may need all the time that an agent has for its answer.
const maxWaiting = 8

var (
	errManyWait = &berth.Error{Kind: berth.LimitReached, Msg: "Too many requests for this job"}
	errNoTurn   = errors.New("other requests for this job took too long")
)

// queue names what goes one after the other: the orders for a job, or the questions to it, which need not wait for orders.
type queue struct {
	number int64
	asks   bool
}

// turns lets one request of a queue pass at a time. The zero value is ready; safe for concurrent use.
type turns struct {
	mu     sync.Mutex
	queues map[queue]*turn
}

// turn is that of one queue. free holds a value when nobody has it.
type turn struct {
	free chan struct{}
	// inside is how many have it or wait for it.
	inside int
}

// take waits for the turn of a queue, as long as an agent may take. LimitReached when too many wait already, errNoTurn when it does
// not come in time, or the error of ctx. Call done after it.
func (t *turns) take(ctx context.Context, q queue) (done func(), err error) {
	mine := t.enter(q)
	if mine == nil {
		return nil, errManyWait
	}
	enough := time.NewTimer(answerWithin)
	defer enough.Stop()
	select {
	case <-mine.free:
		return func() {
			mine.free <- struct{}{}
			t.leave(q, mine)
		}, nil
	case <-enough.C:
		err = errNoTurn
	case <-ctx.Done():
		err = ctx.Err()
	}
	t.leave(q, mine)
	return nil, err
}

// enter joins a queue. It returns nil when the queue is too long.
func (t *turns) enter(q queue) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.queues == nil {
		t.queues = make(map[queue]*turn)
	}
	mine := t.queues[q]
	switch {
	case mine == nil:
		mine = &turn{free: make(chan struct{}, 1)}
		mine.free <- struct{}{}
		t.queues[q] = mine
	case mine.inside > maxWaiting:
		return nil
	}
	mine.inside++
	return mine
}

func (t *turns) leave(q queue, mine *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	mine.inside--
	if mine.inside == 0 {
		delete(t.queues, q)
	}
}
