// Package simulation lets jobs run in a time of its own, as the scheduler decides: what takes weeks takes seconds. It is for the
// scheduler's tests and benchmarks.
package simulation

import (
	"container/heap"
	"maps"
	"slices"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/scheduler"
)

// Epoch is when simulations begin.
var Epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Job is a job of a simulation. Its number says its place in the queue.
type Job struct {
	scheduler.Queued
	// Arrives is when it is submitted, Runs how long it runs; it should be no more than the limit.
	Arrives, Runs time.Duration
}

// Run is when and where a job ran.
type Run struct {
	Start, End time.Duration
	Hosts      []string
}

// Cluster is what jobs run on.
type Cluster struct {
	Hosts []berth.Host
	// Assumed is that of a scheduler.Snapshot.
	Assumed time.Duration
	// Decided is told of every decision, unless it is nil. It must keep nothing of it.
	Decided func(scheduler.Snapshot, scheduler.Outcome)
}

// Run runs jobs, which must be in the order of their arrival and of their numbers, and returns what became of those that could run.
func (c Cluster) Run(jobs []Job) map[int64]Run {
	s := simulation{Cluster: c, active: make(map[int64]scheduler.Active), runs: make(map[int64]time.Duration), ran: make(map[int64]Run)}
	for len(jobs) > 0 || len(s.ends) > 0 {
		if len(jobs) > 0 && (len(s.ends) == 0 || jobs[0].Arrives < s.ends[0].at) {
			s.now = jobs[0].Arrives
		} else {
			s.now = s.ends[0].at
		}
		for len(s.ends) > 0 && s.ends[0].at <= s.now {
			delete(s.active, heap.Pop(&s.ends).(end).number)
		}
		for ; len(jobs) > 0 && jobs[0].Arrives <= s.now; jobs = jobs[1:] {
			s.queued = append(s.queued, jobs[0].Queued)
			s.runs[jobs[0].Number] = jobs[0].Runs
		}
		for more := true; more; {
			more = s.decide()
		}
	}
	return s.ran
}

// simulation is one on its way.
type simulation struct {
	Cluster
	now    time.Duration
	queued []scheduler.Queued
	active map[int64]scheduler.Active
	// runs are how long the jobs will run.
	runs map[int64]time.Duration
	ends ends
	ran  map[int64]Run
}

// decide carries out one decision; more says that there is another one to make.
func (s *simulation) decide() (more bool) {
	snapshot := scheduler.Snapshot{
		Hosts: s.Hosts, Queued: s.queued, Active: slices.Collect(maps.Values(s.active)), Now: Epoch.Add(s.now), Assumed: s.Assumed,
	}
	outcome := scheduler.Decide(snapshot)
	if s.Decided != nil {
		s.Decided(snapshot, outcome)
	}
	for _, decision := range outcome.Decisions {
		i := slices.IndexFunc(s.queued, func(q scheduler.Queued) bool { return q.Number == decision.Number })
		if len(decision.Hosts) == 0 {
			s.queued[i].Wait, s.queued[i].Detail = decision.Wait, decision.Detail
			continue
		}
		s.start(s.queued[i], decision.Hosts)
		s.queued = slices.Delete(s.queued, i, i+1)
	}
	return outcome.More
}

func (s *simulation) start(job scheduler.Queued, hosts []string) {
	active := scheduler.Active{Number: job.Number, Need: job.Need, Hosts: hosts, Lease: job.Lease}
	if job.Walltime > 0 {
		active.Deadline = Epoch.Add(s.now + job.Walltime)
	}
	run := Run{Start: s.now, End: s.now + s.runs[job.Number], Hosts: hosts}
	s.active[job.Number], s.ran[job.Number] = active, run
	heap.Push(&s.ends, end{at: run.End, number: job.Number})
}

// end is when a job ends.
type end struct {
	at     time.Duration
	number int64
}

// ends is a heap of them, the first in front.
type ends []end

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i].at < e[j].at }
func (e ends) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *ends) Push(x any)        { *e = append(*e, x.(end)) }
func (e *ends) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}
