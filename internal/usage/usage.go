// Package usage samples what running jobs use of the machine, now and then, and keeps the last of it. Nothing of it is stored.
package usage

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/store"
)

// Store is what a Sampler needs of the store.
type Store interface {
	Jobs(ctx context.Context, filter store.Filter) ([]berth.Job, error)
}

// Config is what a Sampler is made of. All is required.
type Config struct {
	Store Store
	Meter engine.Meter
	// Every is how often all running jobs are measured.
	Every time.Duration
	Log   *slog.Logger
}

// Sample is what a node of a job used.
type Sample struct {
	// At is when it was measured.
	At time.Time
	// CPU is the percentage of the node's cores, 0 to 100, since the measurement before, or since the job's start.
	CPU int
	// Memory is what the node takes, MemoryLimit what it may take, in bytes.
	Memory, MemoryLimit int64
}

// Sampler measures running jobs. Usage may be called at any time; one Run runs at a time.
type Sampler struct {
	cfg  Config
	wake chan struct{}

	mu   sync.Mutex
	jobs map[int64]measured
}

// measured is what is known of the nodes of a job: the last measurement, and what it says with the one before.
type measured struct {
	last    []engine.Usage
	samples []Sample
}

const (
	// settle is how long after a start a job is first measured: earlier it says little.
	settle = time.Second
	// meterWithin bounds one measurement, so that one that hangs does not keep the others waiting for long.
	meterWithin = 2 * time.Second
)

// New returns a Sampler. It starts nothing.
func New(cfg Config) *Sampler {
	return &Sampler{cfg: cfg, wake: make(chan struct{}, 1), jobs: make(map[int64]measured)}
}

// Notify tells of a stored event. It does not block.
func (s *Sampler) Notify(_ berth.Job, ev berth.Event) {
	if ev.Kind != berth.EventStarted {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default: // new jobs are measured soon anyway
	}
}

// Usage returns the last samples of a job's nodes, the first node first. ok is false before they were first measured and soon after
// the job's end. The caller must not change them.
func (s *Sampler) Usage(number int64) (samples []Sample, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.jobs[number]
	return m.samples, ok
}

// Run measures until ctx ends.
func (s *Sampler) Run(ctx context.Context) error {
	tick := time.NewTicker(s.cfg.Every)
	defer tick.Stop()
	soon := time.NewTimer(0)
	defer soon.Stop()
	due := true
	for {
		onlyNew := false
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
			if !due {
				due = true
				soon.Reset(settle)
			}
			continue
		case <-soon.C:
			due, onlyNew = false, true
		case <-tick.C:
		}
		if err := s.runOnce(ctx, onlyNew); err != nil && ctx.Err() == nil {
			s.cfg.Log.WarnContext(ctx, "running jobs not measured; trying again later", "error", err)
		}
	}
}

// runOnce measures the jobs that run, all of them or only those that never were, and forgets the others.
func (s *Sampler) runOnce(ctx context.Context, onlyNew bool) error {
	jobs, err := s.cfg.Store.Jobs(ctx, store.Filter{States: []berth.State{berth.StateRunning, berth.StateStopping}})
	if err != nil {
		return err
	}
	s.keep(jobs)
	for _, job := range jobs {
		before, known := s.measured(job.Number)
		if known && onlyNew {
			continue
		}
		now, err := s.measure(ctx, job)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, engine.ErrNotFound): // it is ending
		case err != nil:
			s.cfg.Log.WarnContext(ctx, "job not measured", "job", job.Number, "error", err)
		default:
			s.set(job.Number, measured{last: now, samples: sample(job, before.last, now)})
		}
	}
	return nil
}

func (s *Sampler) measure(ctx context.Context, job berth.Job) ([]engine.Usage, error) {
	ctx, cancel := context.WithTimeout(ctx, meterWithin)
	defer cancel()
	return s.cfg.Meter.Usage(ctx, job.Attempt)
}

// sample says what two measurements of a job's nodes mean. The first one has the start of the job before it.
func sample(job berth.Job, before, now []engine.Usage) []Sample {
	samples := make([]Sample, len(now))
	for i := range now {
		last := engine.Usage{At: job.Started}
		if i < len(before) {
			last = before[i]
		}
		samples[i] = sampleNode(job, last, now[i])
	}
	return samples
}

func sampleNode(job berth.Job, before, now engine.Usage) Sample {
	result := Sample{At: now.At, Memory: now.Memory, MemoryLimit: now.MemoryLimit}
	if elapsed := now.At.Sub(before.At); elapsed > 0 && job.Need.Cores > 0 {
		const percent = 100
		used := percent * float64(now.CPU-before.CPU) / float64(elapsed) / float64(job.Need.Cores)
		result.CPU = int(min(percent, max(0, used+0.5)))
	}
	return result
}

func (s *Sampler) measured(number int64) (measured, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.jobs[number]
	return m, ok
}

func (s *Sampler) set(number int64, m measured) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs[number] = m
}

// keep forgets all jobs but these.
func (s *Sampler) keep(jobs []berth.Job) {
	kept := make(map[int64]measured, len(jobs))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, job := range jobs {
		if m, ok := s.jobs[job.Number]; ok {
			kept[job.Number] = m
		}
	}
	s.jobs = kept
}
