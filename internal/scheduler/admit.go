package scheduler

import (
	"slices"
	"time"

	"github.com/berth-hpc/berth"
)

// verdict is what a plan has for a job.
type verdict int

const (
	// impossible: the hosts could not hold it if they were empty.
	impossible verdict = iota
	// starting: it starts now.
	starting
	// reserved: it has a place later.
	reserved
	// behind: it waits behind those that have a place.
	behind
)

// place is when a job starts, and where: so many of its nodes on these hosts. firm says that nobody without a limit has to end for
// that.
type place struct {
	at    time.Duration
	firm  bool
	picks []pick
}

type pick struct{ host, nodes int }

// shape is what makes jobs alike, but for their limits.
type shape struct {
	need  berth.Capacity
	nodes int
}

// closed is what cannot start before something ends. A plan only fills, so that it stays true while one is made.
type closed struct {
	// refused are the shortest jobs of each shape that found no room.
	refused map[shape]time.Duration
	// least is the least that any job needs, and full says that there is no room even for that.
	least berth.Capacity
	full  bool
}

func (c closed) holds(job Queued) bool {
	if c.full && job.Need.Fits(c.least) {
		return true
	}
	limit, ok := c.refused[shape{job.Need, job.Nodes}]
	return ok && job.runs() >= limit
}

// runs is how long the job needs its place: for good, when it has no limit.
func (q Queued) runs() time.Duration {
	if q.Walltime == 0 {
		return forever
	}
	return q.Walltime
}

// expect tells a plan which jobs it will be asked for.
func (p *plan) expect(jobs []Queued) {
	if len(jobs) == 0 {
		return
	}
	least := jobs[0].Need
	for i := range jobs {
		need := &jobs[i].Need
		least = berth.Capacity{
			Cores: min(least.Cores, need.Cores), RAM: min(least.RAM, need.RAM), GPUs: min(least.GPUs, need.GPUs), Slots: min(least.Slots, need.Slots),
		}
	}
	p.closed.least = least
	p.open = slices.DeleteFunc(p.open, func(i int) bool { return !p.hosts[i].steps[0].free.Fits(least) })
	p.closed.full = len(p.open) == 0
}

// full says that no job can start now.
func (p *plan) full() bool { return p.closed.full }

// capacity is for how many nodes of a job the hosts have room when they are empty, as far as it matters.
func (p *plan) capacity(job Queued) int {
	nodes := 0
	for i := range p.sizes {
		nodes += p.sizes[i].hosts * room(&p.sizes[i].capacity, &job.Need, job.Nodes)
	}
	return nodes
}

// admit gives a job that may have its vault the earliest place that is left, and takes it out of the plan.
func (p *plan) admit(job Queued) (place, verdict) {
	if p.capacity(job) < job.Nodes {
		return place{}, impossible
	}
	if now, ok := p.now(job); ok {
		p.take(job, now)
		p.leases.take(job.Number, job.Lease)
		return now, starting
	}
	p.leases.wait(job.Number, job.Lease)
	if p.waiting >= depth {
		return place{}, behind
	}
	p.waiting++
	later := p.later(job)
	p.take(job, later)
	return later, reserved
}

// now finds a place for a job that starts now.
func (p *plan) now(job Queued) (place, bool) {
	if p.closed.holds(job) || p.tried >= trials {
		return place{}, false
	}
	if p.waiting >= depth {
		p.tried++
	}
	now := place{firm: true}
	if now.picks = p.pick(job, now, p.open); now.picks == nil {
		p.closed.refused[shape{job.Need, job.Nodes}] = job.runs()
		return place{}, false
	}
	return now, true
}

// later finds the first place for a job: without counting on the end of jobs that have no limit, if there ever is one.
func (p *plan) later(job Queued) place {
	later := place{at: p.earliest(job, 0, true), firm: true}
	if later.at == forever {
		later = place{at: p.earliest(job, p.assumed, false)}
		p.horizon = min(p.horizon, later.at)
	}
	all := make([]int, len(p.hosts))
	for i := range all {
		all[i] = i
	}
	later.picks = p.pick(job, later, all)
	return later
}

// pick picks the first of some hosts that have room for a job; nil when they have not.
func (p *plan) pick(job Queued, at place, hosts []int) []pick {
	var picks []pick
	nodes, w := job.Nodes, window{need: job.Need, from: at.at, until: after(at.at, job.runs()), firm: at.firm}
	for _, i := range hosts {
		n := p.hosts[i].room(w, nodes)
		if n == 0 {
			continue
		}
		picks = append(picks, pick{host: i, nodes: n})
		if nodes -= n; nodes == 0 {
			return picks
		}
	}
	return nil
}

// take takes a place out of the plan.
func (p *plan) take(job Queued, place place) {
	runs := job.Walltime
	if runs == 0 {
		runs = p.assumed
	}
	for _, pick := range place.picks {
		p.hosts[pick.host].take(job.Need.Times(pick.nodes), place.at, after(place.at, runs), job.Walltime > 0)
	}
	if place.at > 0 {
		return
	}
	for _, pick := range place.picks {
		if p.hosts[pick.host].steps[0].free.Fits(p.closed.least) {
			continue
		}
		if i, found := slices.BinarySearch(p.open, pick.host); found {
			p.open = slices.Delete(p.open, i, i+1)
		}
	}
	p.closed.full = len(p.open) == 0
}

// names are the hosts of a place, one for each node.
func (p *plan) names(place place) []string {
	var names []string
	for _, pick := range place.picks {
		for range pick.nodes {
			names = append(names, p.hosts[pick.host].name)
		}
	}
	return names
}
