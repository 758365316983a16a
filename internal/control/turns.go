package control

import (
	"context"
	"sync"
)

// turns lets one order for a job pass at a time. The zero value is ready; safe for concurrent use.
type turns struct {
	mu   sync.Mutex
	jobs map[int64]*turn
}

// turn is that of one job. free holds a value when nobody has it.
type turn struct {
	free    chan struct{}
	waiting int
}

// take waits for the turn of a job, or for the end of ctx, which is the only error. Call done after it.
func (t *turns) take(ctx context.Context, number int64) (done func(), err error) {
	mine := t.enter(number)
	select {
	case <-mine.free:
		return func() {
			mine.free <- struct{}{}
			t.leave(number, mine)
		}, nil
	case <-ctx.Done():
		t.leave(number, mine)
		return nil, ctx.Err()
	}
}

func (t *turns) enter(number int64) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.jobs == nil {
		t.jobs = make(map[int64]*turn)
	}
	mine := t.jobs[number]
	if mine == nil {
		mine = &turn{free: make(chan struct{}, 1)}
		mine.free <- struct{}{}
		t.jobs[number] = mine
	}
	mine.waiting++
	return mine
}

func (t *turns) leave(number int64, mine *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	mine.waiting--
	if mine.waiting == 0 {
		delete(t.jobs, number)
	}
}
