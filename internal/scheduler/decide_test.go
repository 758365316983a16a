package scheduler

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/berth-hpc/berth"
)

func job(number int64, cores int) berth.Job {
	return berth.Job{Number: number, State: berth.StateQueued, Need: berth.Capacity{Cores: cores, RAM: int64(cores) << 30, Slots: 1}}
}

var four = berth.Capacity{Cores: 4, RAM: 4 << 30, Slots: 4}

func TestDecide(t *testing.T) {
	known := job(1, 8)
	known.WaitDetail = tooLarge(known.Need, four)
	tests := map[string]struct {
		active, queued []berth.Job
		want           []Decision
		blocked        bool
	}{
		"nothing queued": {},
		"all fit":        {queued: []berth.Job{job(1, 2), job(2, 2)}, want: []Decision{{Number: 1, Place: true}, {Number: 2, Place: true}}},
		"the first that waits holds back those behind it": {
			active: []berth.Job{job(1, 2)}, queued: []berth.Job{job(2, 1), job(3, 2), job(4, 1)},
			want: []Decision{{Number: 2, Place: true}}, blocked: true,
		},
		"one that can never fit holds back nobody": {
			queued: []berth.Job{job(1, 8), job(2, 1)},
			want:   []Decision{{Number: 1, Detail: tooLarge(job(1, 8).Need, four)}, {Number: 2, Place: true}},
		},
		"it is told once": {queued: []berth.Job{known}},
		"a full machine":  {active: []berth.Job{job(1, 4)}, queued: []berth.Job{job(2, 1)}, blocked: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, blocked := Decide(Snapshot{Host: berth.Host{Capacity: four}, Active: test.active, Queued: test.queued})
			if diff := cmp.Diff(test.want, got); diff != "" || blocked != test.blocked {
				t.Errorf("blocked %v, want %v; decisions (-want +got):\n%s", blocked, test.blocked, diff)
			}
		})
	}
}

// randomSnapshot draws a machine, jobs that run on it and a queue with numbers from 0 on.
func randomSnapshot(t *rapid.T) (s Snapshot, free berth.Capacity) {
	need := rapid.Custom(func(t *rapid.T) berth.Capacity {
		return berth.Capacity{
			Cores: rapid.IntRange(1, 6).Draw(t, "cores"), RAM: rapid.Int64Range(1, 6).Draw(t, "ram"), Slots: 1,
		}
	})
	s = Snapshot{Host: berth.Host{Capacity: berth.Capacity{Cores: 4, RAM: 5, Slots: 3}}}
	free = s.Capacity
	for _, n := range rapid.SliceOfN(need, 0, 4).Draw(t, "active") {
		if free.Fits(n) {
			free = free.Minus(n)
			s.Active = append(s.Active, berth.Job{Need: n})
		}
	}
	for i, n := range rapid.SliceOfN(need, 0, 12).Draw(t, "queued") {
		s.Queued = append(s.Queued, berth.Job{Number: int64(i), Need: n})
	}
	return s, free
}

// TestDecideNeverOversubscribes: whatever the queue, what is placed fits with what runs, in the order of the queue, and as much
// as possible of it.
func TestDecideNeverOversubscribes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, free := randomSnapshot(t)
		decisions, blocked := Decide(s)
		last, placed := int64(-1), 0
		for _, d := range decisions {
			if d.Number <= last {
				t.Fatalf("job %d was decided after job %d", d.Number, last)
			}
			last = d.Number
			if d.Place {
				placed++
				free = free.Minus(s.Queued[d.Number].Need)
			}
		}
		if free.Cores < 0 || free.RAM < 0 || free.Slots < 0 {
			t.Fatalf("oversubscribed: %+v is left", free)
		}
		possible := slices.DeleteFunc(slices.Clone(s.Queued), func(j berth.Job) bool { return !s.Capacity.Fits(j.Need) })
		if blocked != (placed < len(possible)) {
			t.Fatalf("blocked = %v with %d of %d possible jobs placed", blocked, placed, len(possible))
		}
		if blocked && free.Fits(possible[placed].Need) {
			t.Fatalf("job %d waits although it fits", possible[placed].Number)
		}
	})
}
