package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/crashpoint"
	"github.com/berth-hpc/berth/internal/store"
)

// Store is what the scheduler needs of the store.
type Store interface {
	Jobs(ctx context.Context, filter store.Filter) ([]berth.Job, error)
	CountByState(ctx context.Context) (map[berth.State]int, error)
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
	// Assumed is how much longer a job is expected to run when nobody knows; see Decide.
	Assumed time.Duration
	// SuspendedFree says that time in which a job is suspended does not count as walltime.
	SuspendedFree bool
	Log           *slog.Logger
}

// Scheduler places queued jobs. One runs at a time.
type Scheduler struct {
	cfg  Config
	wake chan struct{}
	jobs *openJobs
	// last is what the last pass decided, nil while there is one or when it failed.
	last atomic.Pointer[Outcome]
}

// New returns a Scheduler. It starts nothing.
func New(cfg Config) *Scheduler {
	return &Scheduler{cfg: cfg, wake: make(chan struct{}, 1), jobs: newOpenJobs(cfg.SuspendedFree)}
}

// Notify tells of a stored event. It does not block. It must be called for every event, in the order in which they were stored.
func (s *Scheduler) Notify(job berth.Job, ev berth.Event) {
	many := s.jobs.note(job)
	switch {
	case many, ev.Kind == berth.EventStaging, job.State.Final():
		s.poke()
	case ev.Kind == berth.EventSubmitted:
		if last := s.last.Load(); last == nil || !last.Waits(QueuedOf(job)) {
			s.poke()
		}
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
			s.jobs.doubt()
		}
	}
}

// runOnce takes one snapshot, decides, and stores the decisions.
func (s *Scheduler) runOnce(ctx context.Context) error {
	s.last.Store(nil) // before the snapshot: a job submitted after it must wake the next pass
	hosts, err := s.cfg.Hosts.Hosts(ctx)
	if err != nil {
		return fmt.Errorf("hosts: %w", err)
	}
	snapshot, err := s.jobs.snapshot(ctx, s.cfg.Store)
	if err != nil {
		return err
	}
	snapshot.Hosts, snapshot.Now, snapshot.Assumed = hosts, s.cfg.Now(), s.cfg.Assumed
	outcome := Decide(snapshot)
	for _, decision := range outcome.Decisions {
		if err := s.carryOut(ctx, decision); err != nil {
			s.jobs.forget() // what became of it is not known
			return err
		}
	}
	s.last.Store(&outcome)
	if outcome.More {
		s.poke()
	}
	return nil
}

// carryOut stores one decision. A job that was canceled meanwhile is left alone.
func (s *Scheduler) carryOut(ctx context.Context, decision Decision) error {
	event := berth.Event{Kind: berth.EventWaiting, At: s.cfg.Now(), Wait: decision.Wait, Detail: decision.Detail}
	if len(decision.Hosts) > 0 {
		event = berth.Event{
			Kind: berth.EventPlaced, At: s.cfg.Now(), Hosts: decision.Hosts, Attempt: berth.NewAttempt(decision.Number, s.cfg.Random()),
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
