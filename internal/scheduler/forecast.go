package scheduler

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

const (
	// lookAhead is how much of the queue in front of a job a forecast looks at. Behind a longer one nobody knows the start.
	lookAhead = 1000
	// named is how many jobs of a kind a forecast names.
	named = 5
)

// Outlook is what a forecast for a queued job is made on.
type Outlook struct {
	// Capacity is what the host has for jobs, Active are all jobs that hold some of it.
	Capacity berth.Capacity
	Active   []berth.Job
	// Ahead are the queued jobs in front of the job, in their order. They may be cut to the first ones: Position counts them all,
	// and the job.
	Ahead    []berth.Job
	Position int
	Job      berth.Job
	Now      time.Time
	// SuspendedFree says that time in which a job is suspended does not count as walltime.
	SuspendedFree bool
}

// Forecast says why a queued job waits and when it starts at the latest. A job that is no longer queued has no forecast: the zero
// value.
func (s *Scheduler) Forecast(ctx context.Context, job berth.Job) (berth.Forecast, error) {
	if job.State != berth.StateQueued {
		return berth.Forecast{}, nil
	}
	outlook := Outlook{Job: job, Now: s.cfg.Now(), SuspendedFree: s.cfg.SuspendedFree}
	host, err := s.host(ctx)
	if err != nil {
		return berth.Forecast{}, err
	}
	outlook.Capacity = host.Capacity
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
	outlook.Active, err = s.cfg.Store.Jobs(ctx, store.Filter{
		States: []berth.State{berth.StateStarting, berth.StateRunning, berth.StateStopping},
	})
	if err != nil {
		return berth.Forecast{}, fmt.Errorf("active jobs: %w", err)
	}
	return outlook.Forecast(), nil
}

// Forecast is what Decide will do with the job. It is pure.
func (o Outlook) Forecast() berth.Forecast {
	forecast := berth.Forecast{Position: o.Position}
	if !o.Capacity.Fits(o.Job.Total()) {
		forecast.Blockers = []berth.Blocker{{Kind: berth.BlockerImpossible, Detail: tooLarge(o.Job.Total(), o.Capacity)}}
		return forecast
	}
	p := o.plan()
	var waiting []berth.Job
	for _, job := range o.Ahead {
		if !o.Capacity.Fits(job.Total()) {
			continue // it blocks nobody
		}
		if p.place(job); p.waited {
			waiting = append(waiting, job)
		}
	}
	cut := max(0, o.Position-1-len(o.Ahead))
	start, known := p.place(o.Job)
	if known && cut == 0 {
		forecast.Start = start
	}
	if !p.waited && cut == 0 {
		return forecast
	}
	forecast.Blockers = slices.Concat(queueBlockers(waiting, cut), o.resourceBlockers(len(waiting) > 0 || cut > 0))
	return forecast
}

// queueBlockers names the jobs that go first.
func queueBlockers(waiting []berth.Job, cut int) []berth.Blocker {
	var blockers []berth.Blocker
	for _, job := range waiting[:min(named, len(waiting))] {
		blockers = append(blockers, berth.Blocker{
			Kind: berth.BlockerQueue, Number: job.Number, Detail: fmt.Sprintf("job %d was submitted earlier and goes first", job.Number),
		})
	}
	if more := len(waiting) - len(blockers) + cut; more > 0 {
		blockers = append(blockers, berth.Blocker{
			Kind: berth.BlockerQueue, Detail: fmt.Sprintf("%d more jobs go first", more),
		})
	}
	return blockers
}

// resourceBlockers says what of the machine is taken, and by whom: by the jobs that end first, as far as the job needs them to.
// Whoever waits behind others may fit by itself; then it is for them to say.
func (o Outlook) resourceBlockers(behind bool) []berth.Blocker {
	free := o.Capacity
	for _, job := range o.Active {
		free = free.Minus(job.Total())
	}
	if behind && free.Fits(o.Job.Total()) {
		return nil
	}
	blockers := []berth.Blocker{{Kind: berth.BlockerResources, Detail: missing(o.Job.Total(), free)}}
	p := o.plan()
	for _, end := range p.ends[:min(named, len(p.ends))] {
		if free.Fits(o.Job.Total()) {
			break
		}
		blockers = append(blockers, berth.Blocker{Kind: berth.BlockerJob, Number: end.job.Number, Detail: end.String()})
		free = plus(free, end.job.Total())
	}
	return blockers
}

// missing says what a job needs and what there is, for what there is not enough of.
func missing(need, free berth.Capacity) string {
	const gib = 1 << 30
	var words []string
	if need.Cores > free.Cores {
		words = append(words, fmt.Sprintf("cores: %d needed, %d free", need.Cores, max(0, free.Cores)))
	}
	if need.RAM > free.RAM {
		words = append(words, fmt.Sprintf("memory: %.1f GiB needed, %.1f GiB free", float64(need.RAM)/gib, float64(max(0, free.RAM))/gib))
	}
	if need.Slots > free.Slots {
		words = append(words, fmt.Sprintf("slots: %d needed, %d free", need.Slots, max(0, free.Slots)))
	}
	return strings.Join(words, "; ")
}

func plus(c, more berth.Capacity) berth.Capacity {
	return c.Minus(berth.Capacity{}.Minus(more))
}

// plan lets jobs run until the end of their limits, in the order of the queue.
type plan struct {
	now  time.Time
	free berth.Capacity
	// ends are those of the jobs that run, the first in front.
	ends []ending
	// waited says that a job did not fit at once, and stuck that nobody knows when it will: all behind it wait too.
	waited, stuck bool
}

// ending is when a job gives back what it holds; never for a job without a limit.
type ending struct {
	job   berth.Job
	at    time.Time
	never bool
}

func (e ending) String() string {
	switch {
	case !e.never:
		return fmt.Sprintf("job %d runs until %s at the latest", e.job.Number, e.at.UTC().Format(time.RFC3339))
	case !e.job.Suspended.IsZero():
		return fmt.Sprintf("job %d is suspended", e.job.Number)
	default:
		return fmt.Sprintf("job %d runs and has no walltime limit", e.job.Number)
	}
}

func (o Outlook) plan() *plan {
	p := &plan{now: o.Now, free: o.Capacity}
	for _, job := range o.Active {
		p.free = p.free.Minus(job.Total())
		p.add(o.ending(job))
	}
	return p
}

// ending is when a job that holds resources ends at the latest. One that has not begun yet begins now.
func (o Outlook) ending(job berth.Job) ending {
	if job.Started.IsZero() {
		job.Started = o.Now
	}
	deadline, limited := job.Deadline(o.SuspendedFree)
	return ending{job: job, at: later(deadline, o.Now), never: !limited}
}

func (p *plan) add(e ending) {
	i, _ := slices.BinarySearchFunc(p.ends, e, func(a, b ending) int {
		switch {
		case a.never != b.never && a.never:
			return 1
		case a.never != b.never:
			return -1
		case a.never:
			return 0
		default:
			return a.at.Compare(b.at)
		}
	})
	p.ends = slices.Insert(p.ends, i, e)
}

// place starts a job as soon as it fits, and not before those that were placed before it. ok is false when that is not known; it
// is not known for any later job then.
func (p *plan) place(job berth.Job) (start time.Time, ok bool) {
	for p.stuck || !p.free.Fits(job.Total()) {
		p.waited = true
		if p.stuck || len(p.ends) == 0 || p.ends[0].never {
			p.stuck = true
			return time.Time{}, false
		}
		p.now = later(p.now, p.ends[0].at)
		p.free = plus(p.free, p.ends[0].job.Total())
		p.ends = slices.Delete(p.ends, 0, 1)
	}
	p.free = p.free.Minus(job.Total())
	job.Started = p.now
	deadline, limited := job.Deadline(false)
	p.add(ending{job: job, at: deadline, never: !limited})
	return p.now, true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
