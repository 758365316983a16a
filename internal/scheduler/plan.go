package scheduler

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/berth-hpc/berth"
)

const (
	// forever is later than every end in a plan.
	forever = time.Duration(math.MaxInt64)
	// overdue is how much longer a job is expected to run whose limit is over: it holds what it has, but not for long.
	overdue = time.Second
)

// plan is what every host has free from now on. Times in it are counted from now.
type plan struct {
	// hosts are in the order in which nodes go to them: small ones and those without GPUs first, which keeps the others whole.
	hosts []hostPlan
	sizes []hostSize
	// open are the indexes of the hosts that may have room for a node now, in their order.
	open []int
	// assumed is how long a job without a limit is expected to run.
	assumed time.Duration
	// horizon is until when the plan is made of limits alone: the first reservation that counts on what is assumed.
	horizon time.Duration
	// waiting counts the jobs with a reservation, tried those that were tried behind them.
	waiting, tried int
	leases         leases
	closed         closed
	shifts         []shift // those of the last search, for their memory
}

// hostPlan is what one host has free over time.
type hostPlan struct {
	name string
	// steps are in the order of their times; the first is now, and the last holds forever.
	steps []step
	rooms []int // of the last search, for its memory
}

// step is what is free from a time to that of the next step.
type step struct {
	at   time.Duration
	free berth.Capacity
	// firm is what is free although nobody without a limit ever ends.
	firm berth.Capacity
}

// hostSize is how many hosts have the same capacity.
type hostSize struct {
	capacity berth.Capacity
	hosts    int
}

// newPlan lets jobs run to their limits.
func newPlan(hosts []berth.Host, active []Active, now time.Time, assumed time.Duration) *plan {
	p := &plan{
		assumed: max(overdue, assumed), horizon: forever, leases: newLeases(active), closed: closed{refused: make(map[shape]time.Duration)},
	}
	order := slices.Clone(hosts)
	slices.SortFunc(order, func(a, b berth.Host) int {
		return cmp.Or(cmp.Compare(a.Capacity.GPUs, b.Capacity.GPUs), cmp.Compare(a.Capacity.Cores, b.Capacity.Cores),
			cmp.Compare(a.Capacity.RAM, b.Capacity.RAM), strings.Compare(a.Name, b.Name))
	})
	index := make(map[string]int, len(order))
	p.hosts, p.open = make([]hostPlan, len(order)), make([]int, len(order))
	for i, host := range order {
		p.hosts[i] = hostPlan{name: host.Name, steps: []step{{free: host.Capacity, firm: host.Capacity}}}
		p.open[i], index[host.Name] = i, i
		if i == 0 || order[i-1].Capacity != host.Capacity {
			p.sizes = append(p.sizes, hostSize{capacity: host.Capacity})
		}
		p.sizes[len(p.sizes)-1].hosts++
	}
	p.run(active, now, index)
	return p
}

// run takes what the jobs that run hold until their ends.
func (p *plan) run(active []Active, now time.Time, index map[string]int) {
	type ending struct {
		left  time.Duration
		known bool
		job   *Active
	}
	endings := make([]ending, len(active))
	for i := range active {
		left, known := left(&active[i], now, p.assumed)
		endings[i] = ending{left, known, &active[i]}
	}
	// The steps of a host grow at their end only.
	slices.SortFunc(endings, func(a, b ending) int { return cmp.Compare(a.left, b.left) })
	for _, e := range endings {
		for _, host := range e.job.Hosts {
			if i, ok := index[host]; ok { // one that is gone has nothing to give
				p.hosts[i].hold(e.job.Need, e.left, e.known)
			}
		}
	}
}

// left is how much longer a job that runs does so at most; for one of which nobody knows, what is assumed.
func left(job *Active, now time.Time, assumed time.Duration) (left time.Duration, known bool) {
	switch {
	case !job.Deadline.IsZero():
		return max(overdue, job.Deadline.Sub(now)), true
	case job.Walltime > 0:
		return job.Walltime, true
	default:
		return assumed, false
	}
}

// hold takes something from now until an end that is not before those held already; known is false when it may never come.
func (h *hostPlan) hold(need berth.Capacity, end time.Duration, known bool) {
	last := len(h.steps) - 1
	if h.steps[last].at < end {
		h.steps = append(h.steps, step{at: end, free: h.steps[last].free, firm: h.steps[last].firm})
		last++
	}
	for i := range h.steps[:last] {
		h.steps[i].free = h.steps[i].free.Minus(need)
		h.steps[i].firm = h.steps[i].firm.Minus(need)
	}
	if !known {
		h.steps[last].firm = h.steps[last].firm.Minus(need)
	}
}

// take takes something for some time; known is false when its end may never come.
func (h *hostPlan) take(need berth.Capacity, from, until time.Duration, known bool) {
	first := h.cut(from)
	end := len(h.steps)
	if until != forever {
		end = h.cut(until)
	}
	for i := first; i < len(h.steps); i++ {
		if i < end {
			h.steps[i].free = h.steps[i].free.Minus(need)
		}
		if i < end || !known {
			h.steps[i].firm = h.steps[i].firm.Minus(need)
		}
	}
}

// cut makes a step begin at a time, and returns its index.
func (h *hostPlan) cut(at time.Duration) int {
	i, found := slices.BinarySearchFunc(h.steps, at, func(s step, at time.Duration) int { return cmp.Compare(s.at, at) })
	if !found {
		h.steps = slices.Insert(h.steps, i, step{at: at, free: h.steps[i-1].free, firm: h.steps[i-1].firm})
	}
	return i
}

// room is for how many nodes there is room from one time to another, up to limit.
func (h *hostPlan) room(w window, limit int) int {
	for i := range h.steps {
		switch {
		case i+1 < len(h.steps) && h.steps[i+1].at <= w.from:
			continue
		case h.steps[i].at >= w.until:
			return limit
		}
		if limit = room(h.steps[i].left(w.firm), &w.need, limit); limit == 0 {
			return 0
		}
	}
	return limit
}

// window is what a node needs, from when until when, and whether it counts on firm room only.
type window struct {
	need        berth.Capacity
	from, until time.Duration
	firm        bool
}

func (s *step) left(firm bool) *berth.Capacity {
	if firm {
		return &s.firm
	}
	return &s.free
}

// room is for how many nodes there is room in what is free, up to limit.
func room(free, need *berth.Capacity, limit int) int {
	if need.Cores > free.Cores || need.RAM > free.RAM || need.GPUs > free.GPUs || need.Slots > free.Slots {
		return 0
	}
	if limit == 1 { // most jobs have one node, and divisions are slow
		return 1
	}
	if need.Cores > 0 {
		limit = min(limit, free.Cores/need.Cores)
	}
	if need.RAM > 0 {
		limit = int(min(int64(limit), free.RAM/need.RAM))
	}
	if need.GPUs > 0 {
		limit = min(limit, free.GPUs/need.GPUs)
	}
	if need.Slots > 0 {
		limit = min(limit, free.Slots/need.Slots)
	}
	return limit
}

// after is some time after another.
func after(at, more time.Duration) time.Duration {
	if more >= forever-at {
		return forever
	}
	return at + more
}
