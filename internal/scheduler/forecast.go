package scheduler

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

// lookAhead is how much of the queue in front of a job a forecast looks at. Behind a longer one nobody knows the start.
const lookAhead = 1000

// Outlook is what a forecast for a queued job is made on.
type Outlook struct {
	// Hosts are what jobs are placed on, Active all jobs that hold some of it.
	Hosts  []berth.Host
	Active []berth.Job
	// Ahead are the queued jobs in front of the job, in their order. They may be cut to the first ones: Position counts them all,
	// and the job.
	Ahead    []berth.Job
	Position int
	Job      berth.Job
	Now      time.Time
	// Assumed is how much longer a job is expected to run when nobody knows; see Decide.
	Assumed time.Duration
	// SuspendedFree says that time in which a job is suspended does not count as walltime.
	SuspendedFree bool
}

// Forecast says why a queued job waits and when it starts at the latest. A job that is no longer queued has no forecast: the zero
// value.
func (s *Scheduler) Forecast(ctx context.Context, job berth.Job) (berth.Forecast, error) {
	if job.State != berth.StateQueued {
		return berth.Forecast{}, nil
	}
	outlook := Outlook{Job: job, Now: s.cfg.Now(), Assumed: s.cfg.Assumed, SuspendedFree: s.cfg.SuspendedFree}
	var err error
	if outlook.Hosts, err = s.cfg.Hosts.Hosts(ctx); err != nil {
		return berth.Forecast{}, fmt.Errorf("hosts: %w", err)
	}
	ahead, err := s.cfg.Store.QueuePosition(ctx, job.Number)
	if err != nil {
		return berth.Forecast{}, err
	}
	outlook.Position = ahead + 1
	if ahead > 0 {
		queued := store.Filter{States: []berth.State{berth.StateQueued}, Limit: min(ahead, lookAhead)}
		if outlook.Ahead, err = s.cfg.Store.Jobs(ctx, queued); err != nil {
			return berth.Forecast{}, fmt.Errorf("queued jobs: %w", err)
		}
		// One may have left the queue since it was counted.
		outlook.Ahead = slices.DeleteFunc(outlook.Ahead, func(j berth.Job) bool { return j.Number >= job.Number })
	}
	outlook.Active, err = s.cfg.Store.Jobs(ctx, store.Filter{States: activeStates()})
	if err != nil {
		return berth.Forecast{}, fmt.Errorf("active jobs: %w", err)
	}
	return outlook.Forecast(), nil
}

// Forecast is what Decide will do with the job. It is pure.
func (o Outlook) Forecast() berth.Forecast {
	forecast := berth.Forecast{Position: o.Position}
	job, alone := QueuedOf(o.Job), o.plan()
	byItself, v := alone.admit(job)
	if v == impossible {
		forecast.Blockers = []berth.Blocker{{Kind: berth.BlockerImpossible, Detail: tooLarge(job, o.Hosts, alone.capacity(job))}}
		return forecast
	}
	fits := v == starting
	cut := max(0, o.Position-1-len(o.Ahead))
	p := o.plan()
	first := o.first(p)
	if blocker, leased := p.leased(job); leased {
		forecast.Blockers = []berth.Blocker{blocker}
		return forecast
	}
	behindOthers, v := p.admit(job)
	unknown := cut > 0 || v == behind
	switch {
	case unknown:
	case v == starting:
		forecast.Start = o.Now
		return forecast
	case behindOthers.firm && behindOthers.at < p.horizon:
		forecast.Start = o.Now.Add(behindOthers.at)
	}
	if unknown || behindOthers.at > byItself.at {
		forecast.Blockers = queueBlockers(first, cut)
	}
	if !fits {
		forecast.Blockers = append(forecast.Blockers, o.resourceBlockers(job, byItself)...)
	}
	return forecast
}

// plan is what the jobs that run leave.
func (o Outlook) plan() *plan {
	active := make([]Active, len(o.Active))
	for i, job := range o.Active {
		active[i] = ActiveOf(job, o.SuspendedFree)
	}
	return newPlan(o.Hosts, active, o.Now, o.Assumed)
}

// first gives the jobs in front their places in a plan, and returns those that wait too; or, when none does, those that start now.
func (o Outlook) first(p *plan) []berth.Job {
	var waiting, starts []berth.Job
	for _, job := range o.Ahead {
		queued := QueuedOf(job)
		if _, leased := p.leased(queued); leased {
			p.horizon = 0 // nobody knows when it takes its place
			continue
		}
		switch _, v := p.admit(queued); v {
		case impossible: // it blocks nobody
		case starting:
			starts = append(starts, job)
		case reserved, behind:
			waiting = append(waiting, job)
		}
	}
	if len(waiting) == 0 {
		return starts
	}
	return waiting
}
