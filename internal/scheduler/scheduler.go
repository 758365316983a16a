package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/crashpoint"
	"github.com/berth-hpc/berth/internal/store"
)

// head is how much of the queue a pass reads. A pass that could place all of it is followed by another one.
const head = 16

// Store is what the scheduler needs of the store.
type Store interface {
	Jobs(ctx context.Context, filter store.Filter) ([]berth.Job, error)
	QueuePosition(ctx context.Context, number int64) (ahead int, err error)
	Apply(ctx context.Context, number int64, ev berth.Event) (berth.Job, error)
}

// Hosts tells what there is to give out.
type Hosts interface {
	Hosts(ctx context.Context) ([]berth.Host, error)
}

// Config is what a Scheduler is made of. All is required.
type Config struct {
	Store Store
	Hosts Hosts
	// Random returns a random part of an attempt's id, [a-z0-9]+.
	Random func() string
	Now    func() time.Time
	// Tick is how often it looks without being told.
	Tick time.Duration
	// SuspendedFree says that time in which a job is suspended does not count as walltime.
	SuspendedFree bool
	Log           *slog.Logger
}

// Scheduler places queued jobs. One runs at a time.
type Scheduler struct {
	cfg  Config
	wake chan struct{}
	// blocked says that the last pass left a job waiting: more jobs behind it change nothing.
	blocked atomic.Bool
}

// New returns a Scheduler. It starts nothing.
func New(cfg Config) *Scheduler {
	return &Scheduler{cfg: cfg, wake: make(chan struct{}, 1)}
}

// Notify tells of a stored event. It does not block.
func (s *Scheduler) Notify(job berth.Job, ev berth.Event) {
	switch {
	case ev.Kind == berth.EventSubmitted && s.blocked.Load():
		return
	case ev.Kind == berth.EventSubmitted, ev.Kind == berth.EventStaging, job.State.Final():
		s.poke()
	}
}

func (s *Scheduler) poke() {
	select {
	case s.wake <- struct{}{}:
	default: // a pass is due anyway
	}
}

// Run places jobs until ctx ends.
func (s *Scheduler) Run(ctx context.Context) error {
	tick := time.NewTicker(s.cfg.Tick)
	defer tick.Stop()
	for {
		if err := s.runOnce(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.ErrorContext(ctx, "scheduling pass failed; looking again later", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-tick.C:
		}
	}
}

// runOnce takes one snapshot, decides, and stores the decisions.
func (s *Scheduler) runOnce(ctx context.Context) error {
	s.blocked.Store(false) // before the snapshot: a job submitted after it must wake the next pass
	snapshot, more, err := s.snapshot(ctx)
	if err != nil {
		return err
	}
	decisions, blocked := Decide(snapshot)
	for _, decision := range decisions {
		if err := s.carryOut(ctx, snapshot.Name, decision); err != nil {
			return err
		}
	}
	s.blocked.Store(blocked)
	if more && !blocked {
		s.poke()
	}
	return nil
}

// snapshot reads what a decision needs. more says that the queue goes on behind it.
func (s *Scheduler) snapshot(ctx context.Context) (snapshot Snapshot, more bool, err error) {
	if snapshot.Host, err = s.host(ctx); err != nil {
		return Snapshot{}, false, err
	}
	snapshot.Active, err = s.cfg.Store.Jobs(ctx, store.Filter{
		States: []berth.State{berth.StateStarting, berth.StateRunning, berth.StateStopping},
	})
	if err != nil {
		return Snapshot{}, false, fmt.Errorf("active jobs: %w", err)
	}
	snapshot.Queued, more, err = s.queue(ctx, snapshot.Capacity)
	return snapshot, more, err
}

// host is the host that jobs are placed on.
func (s *Scheduler) host(ctx context.Context) (berth.Host, error) {
	hosts, err := s.cfg.Hosts.Hosts(ctx)
	if err != nil {
		return berth.Host{}, fmt.Errorf("capacity of the host: %w", err)
	}
	if len(hosts) != 1 {
		return berth.Host{}, fmt.Errorf("there are %d hosts", len(hosts))
	}
	return hosts[0], nil
}

// queue reads the head of the queue: as far as the first page with a job that this host can hold.
func (s *Scheduler) queue(ctx context.Context, capacity berth.Capacity) (jobs []berth.Job, more bool, err error) {
	possible := func(job berth.Job) bool { return capacity.Fits(job.Total()) }
	filter := store.Filter{States: []berth.State{berth.StateQueued}, Limit: head}
	for {
		page, err := s.cfg.Store.Jobs(ctx, filter)
		if err != nil {
			return nil, false, fmt.Errorf("queued jobs: %w", err)
		}
		jobs = append(jobs, page...)
		more = len(page) == head
		if !more || slices.ContainsFunc(page, possible) {
			return jobs, more, nil
		}
		filter.After = page[len(page)-1].Number
	}
}

// carryOut stores one decision. A job that was canceled meanwhile is left alone.
func (s *Scheduler) carryOut(ctx context.Context, host string, decision Decision) error {
	event := berth.Event{Kind: berth.EventWaiting, At: s.cfg.Now(), Wait: berth.WaitResources, Detail: decision.Detail}
	if decision.Place {
		event = berth.Event{
			Kind: berth.EventPlaced, At: s.cfg.Now(), Hosts: []string{host}, Attempt: berth.NewAttempt(decision.Number, s.cfg.Random()),
		}
	}
	crashpoint.Here("scheduler.store.before")
	_, err := s.cfg.Store.Apply(ctx, decision.Number, event)
	crashpoint.Here("scheduler.store.after")
	if _, refused := errors.AsType[*berth.StateError](err); refused {
		return nil
	}
	return err
}
