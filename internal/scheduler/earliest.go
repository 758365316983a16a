package scheduler

import (
	"container/heap"
	"time"
)

// shift says that at a time a host has room for more nodes, or from then on for fewer.
type shift struct {
	at time.Duration
	by int
}

// shifts is a heap of them, the first in front. More comes before fewer: at the time itself both are there.
type shifts []shift

func (s shifts) Len() int { return len(s) }
func (s shifts) Less(i, j int) bool {
	if s[i].at != s[j].at {
		return s[i].at < s[j].at
	}
	return s[i].by > s[j].by
}
func (s shifts) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *shifts) Push(x any)   { *s = append(*s, x.(shift)) }
func (s *shifts) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}

// earliest is the first time from one on at which there is room for all nodes of a job for as long as it runs; forever when there is
// none. With firm that is room which nobody without a limit holds. Without, there is a time for every job that empty hosts can hold.
func (p *plan) earliest(job Queued, from time.Duration, firm bool) time.Duration {
	s := search{job: job, firm: firm, shifts: p.shifts[:0], bound: forever}
	for i := range p.hosts {
		s.add(&p.hosts[i], from)
	}
	p.shifts = s.shifts
	heap.Init(&s.shifts)
	at := from
	for s.nodes < job.Nodes && len(s.shifts) > 0 && at < s.bound {
		next := heap.Pop(&s.shifts).(shift)
		at = next.at
		s.nodes += next.by
	}
	if s.nodes < job.Nodes {
		return s.bound
	}
	return min(at, s.bound)
}

// search is how the room for a job changes with the time at which it starts.
type search struct {
	job  Queued
	firm bool
	// nodes is the room at the first time.
	nodes  int
	shifts shifts
	// bound is when the job can start at the latest, because one host has room for all of it. What comes later is left out.
	bound time.Duration
}

// add adds what a host has from a time on.
func (s *search) add(h *hostPlan, from time.Duration) {
	s.measure(h)
	runs := s.job.runs()
	// The job overlaps the steps from first to before end.
	first, end, steps := 0, 1, len(h.rooms)
	for first+1 < steps && h.steps[first+1].at <= from {
		first++
	}
	for end <= first || end < steps && h.steps[end].at < after(from, runs) {
		end++
	}
	nodes := least(h.rooms[first:end])
	s.nodes += nodes
	if nodes == s.job.Nodes {
		s.bound = min(s.bound, from)
	}
	for nodes < s.job.Nodes && (first+1 < steps || end < steps) {
		var at time.Duration
		if end == steps || first+1 < steps && h.steps[first+1].at <= h.steps[end].at-runs {
			first++
			at = h.steps[first].at
		} else {
			at = h.steps[end].at - runs
			end++
		}
		if at > s.bound {
			return
		}
		n := least(h.rooms[first:max(end, first+1)])
		if n != nodes {
			s.shifts = append(s.shifts, shift{at: at, by: n - nodes})
		}
		if nodes = n; nodes == s.job.Nodes {
			s.bound = at
		}
	}
}

// measure finds the room in each step of a host, as far as a job sees it that starts before the bound.
func (s *search) measure(h *hostPlan) {
	end := after(s.bound, s.job.runs())
	h.rooms = h.rooms[:0]
	for i := range h.steps {
		if h.steps[i].at > end {
			return
		}
		h.rooms = append(h.rooms, room(h.steps[i].left(s.firm), &s.job.Need, s.job.Nodes))
	}
}

func least(rooms []int) int {
	n := rooms[0]
	for _, room := range rooms[1:] {
		n = min(n, room)
	}
	return n
}
