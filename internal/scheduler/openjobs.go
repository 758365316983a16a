package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

const (
	// page is how many jobs are read at a time.
	page = 200
	// manyChanges is how many changes are kept for the next pass without asking for one.
	manyChanges = 4096
)

func activeStates() []berth.State {
	return []berth.State{berth.StateStarting, berth.StateRunning, berth.StateStopping}
}

// openJobs are the jobs that have not ended, as far as a decision needs to know them. They are read from the store once and then
// kept up to date by what happens, because a long queue takes longer to read than to decide on. They are compared with the store
// when somebody doubts, and read anew when they differ.
type openJobs struct {
	suspendedFree bool
	// queued are in the order of their numbers. The two belong to the one who calls snapshot.
	queued []Queued
	active map[int64]Active

	mu sync.Mutex
	// changes are what happened since the last snapshot, in its order.
	changes         []jobChange
	known, doubtful bool
}

// jobChange is a job after something happened to it.
type jobChange struct {
	number int64
	state  berth.State
	queued Queued
	active Active
}

func newOpenJobs(suspendedFree bool) *openJobs {
	return &openJobs{suspendedFree: suspendedFree, active: make(map[int64]Active)}
}

// note keeps what a job has become. many says that a snapshot should be taken soon.
func (o *openJobs) note(job berth.Job) (many bool) {
	change := o.change(job)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.changes = append(o.changes, change)
	return len(o.changes) >= manyChanges
}

func (o *openJobs) change(job berth.Job) jobChange {
	c := jobChange{number: job.Number, state: job.State}
	switch {
	case job.State == berth.StateQueued:
		c.queued = QueuedOf(job)
	case job.State.HoldsCores():
		c.active = ActiveOf(job, o.suspendedFree)
	}
	return c
}

// doubt makes the next snapshot compare with the store.
func (o *openJobs) doubt() { o.set(&o.doubtful, true) }

// forget makes the next snapshot read the store.
func (o *openJobs) forget() { o.set(&o.known, false) }

func (o *openJobs) set(flag *bool, to bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	*flag = to
}

// snapshot returns the jobs of now. They are valid until the next call. Calls must not be concurrent.
func (o *openJobs) snapshot(ctx context.Context, st Store) (Snapshot, error) {
	o.mu.Lock()
	known, doubtful := o.known, o.doubtful
	o.mu.Unlock()
	o.update()
	if known && doubtful {
		same, err := o.compare(ctx, st)
		if err != nil {
			return Snapshot{}, err
		}
		known = same
	}
	if !known {
		if err := o.read(ctx, st); err != nil {
			o.forget()
			return Snapshot{}, err
		}
	}
	o.set(&o.doubtful, false)
	active := make([]Active, 0, len(o.active))
	for _, job := range o.active {
		active = append(active, job)
	}
	return Snapshot{Queued: o.queued, Active: active}, nil
}

// compare says whether the store has as many jobs in each state. What happens meanwhile can make a difference, but not at both ends.
func (o *openJobs) compare(ctx context.Context, st Store) (same bool, err error) {
	queued, active := len(o.queued), len(o.active)
	counts, err := st.CountByState(ctx)
	if err != nil {
		return false, fmt.Errorf("count jobs: %w", err)
	}
	o.update()
	storedActive := 0
	for _, state := range activeStates() {
		storedActive += counts[state]
	}
	return between(counts[berth.StateQueued], queued, len(o.queued)) && between(storedActive, active, len(o.active)), nil
}

func between(n, a, b int) bool { return min(a, b) <= n && n <= max(a, b) }

// read reads everything anew. What happens meanwhile is added to it: it may be in what was read or not, and comes out the same.
func (o *openJobs) read(ctx context.Context, st Store) error {
	o.set(&o.known, true) // before it begins: who forgets meanwhile means the next one
	o.queued, o.active = nil, make(map[int64]Active)
	filter := store.Filter{States: append(activeStates(), berth.StateQueued), Limit: page}
	for {
		jobs, err := st.Jobs(ctx, filter)
		if err != nil {
			return fmt.Errorf("open jobs: %w", err)
		}
		for _, job := range jobs {
			o.apply(o.change(job))
		}
		if len(jobs) < page {
			break
		}
		filter.After = jobs[len(jobs)-1].Number
	}
	o.update()
	return nil
}

// update applies what has happened.
func (o *openJobs) update() {
	o.mu.Lock()
	changes := o.changes
	o.changes = nil
	o.mu.Unlock()
	for _, change := range changes {
		o.apply(change)
	}
}

func (o *openJobs) apply(c jobChange) {
	i, found := slices.BinarySearchFunc(o.queued, c.number, func(q Queued, number int64) int { return cmp.Compare(q.Number, number) })
	switch {
	case c.state == berth.StateQueued && found:
		o.queued[i] = c.queued
	case c.state == berth.StateQueued:
		o.queued = slices.Insert(o.queued, i, c.queued)
	case found:
		o.remove(i)
	}
	delete(o.active, c.number)
	if c.state.HoldsCores() {
		o.active[c.number] = c.active
	}
}

// remove takes a job out of the queue. Most leave it near its head, so the shorter part moves.
func (o *openJobs) remove(i int) {
	if i > len(o.queued)/2 {
		o.queued = slices.Delete(o.queued, i, i+1)
		return
	}
	copy(o.queued[1:i+1], o.queued[:i])
	o.queued[0] = Queued{}
	o.queued = o.queued[1:]
}
