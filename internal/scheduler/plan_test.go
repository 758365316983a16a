package scheduler

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/berth-hpc/berth"
)

// randomPlan draws a plan with jobs that run, and its order of hosts.
func randomPlan(t *rapid.T) *plan {
	all := make([]berth.Host, rapid.IntRange(1, 4).Draw(t, "hosts"))
	var active []Active
	for i := range all {
		all[i] = berth.Host{Name: string(rune('a' + i)), Capacity: berth.Capacity{
			Cores: rapid.IntRange(1, 6).Draw(t, "cores"), RAM: rapid.Int64Range(1, 6).Draw(t, "ram"), Slots: 4,
		}}
		free := all[i].Capacity
		for range rapid.IntRange(0, 3).Draw(t, "active") {
			job := randomQueued(t)
			if free.Fits(job.Need) {
				free = free.Minus(job.Need)
				active = append(active, Active{Need: job.Need, Hosts: []string{all[i].Name}, Walltime: job.Walltime})
			}
		}
	}
	return newPlan(all, active, now, 4*time.Hour)
}

func randomQueued(t *rapid.T) Queued {
	return Queued{
		Need:  berth.Capacity{Cores: rapid.IntRange(1, 4).Draw(t, "cores"), RAM: rapid.Int64Range(0, 4).Draw(t, "ram"), Slots: 1},
		Nodes: rapid.IntRange(1, 4).Draw(t, "nodes"), Walltime: rapid.SampledFrom([]time.Duration{0, 1, 2, 3, 5, 8}).Draw(t, "limit") * time.Hour,
	}
}

// TestAPlanNeverOversubscribes: whatever is given a place, all nodes have theirs, and no host has more than it has, at any time.
func TestAPlanNeverOversubscribes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := randomPlan(t)
		for range rapid.IntRange(1, 12).Draw(t, "queued") {
			job := randomQueued(t)
			place, v := p.admit(job)
			if v == starting || v == reserved {
				if got := len(p.names(place)); got != job.Nodes {
					t.Fatalf("%d of %d nodes have a place", got, job.Nodes)
				}
			}
			checkNothingOwed(t, p)
		}
	})
}

func checkNothingOwed(t *rapid.T, p *plan) {
	for _, host := range p.hosts {
		for _, step := range host.steps {
			if !step.free.Fits(berth.Capacity{}) {
				t.Fatalf("host %s has %+v left after %v", host.name, step.free, step.at)
			}
		}
	}
}

// TestThePlaceIsTheEarliest compares the search with trying every time at which something changes.
func TestThePlaceIsTheEarliest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := randomPlan(t)
		for range rapid.IntRange(0, 8).Draw(t, "queued") {
			p.admit(randomQueued(t))
		}
		job := randomQueued(t)
		if p.capacity(job) < job.Nodes {
			return
		}
		firm := rapid.Bool().Draw(t, "firm")
		from := rapid.SampledFrom([]time.Duration{0, 0, 2}).Draw(t, "from") * time.Hour
		times := []time.Duration{from}
		all := make([]int, len(p.hosts))
		for i, host := range p.hosts {
			all[i] = i
			for _, step := range host.steps {
				times = append(times, max(from, step.at))
			}
		}
		slices.Sort(times)
		want := forever
		if i := slices.IndexFunc(times, func(at time.Duration) bool { return p.pick(job, place{at: at, firm: firm}, all) != nil }); i >= 0 {
			want = times[i]
		}
		if got := p.earliest(job, from, firm); got != want {
			t.Fatalf("%+v starts at %v, want %v", job, got, want)
		}
	})
}
