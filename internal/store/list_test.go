package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

// selects is what a filter means, in the plainest way.
func selects(f store.Filter, jobs []berth.Job) []int64 {
	var numbers []int64
	for _, job := range jobs {
		owner := (f.Owner == "" || job.Owner == f.Owner) && (f.Team == "" || job.Team == f.Team)
		state := len(f.States) == 0 || slices.Contains(f.States, job.State)
		label := strings.Contains(job.Label(), f.Label)
		if f.LabelExact && f.Label != "" {
			label = job.Label() == f.Label
		}
		after := f.After == 0 || job.Number > f.After && !f.Newest || job.Number < f.After && f.Newest
		listed := !job.State.Final() || job.Number >= f.EndedFrom
		if owner && state && label && after && listed {
			numbers = append(numbers, job.Number)
		}
	}
	slices.Sort(numbers)
	if f.Newest {
		slices.Reverse(numbers)
	}
	numbers = numbers[min(f.Skip, len(numbers)):]
	if f.Limit > 0 && len(numbers) > f.Limit {
		numbers = numbers[:f.Limit]
	}
	return numbers
}

func TestJobs(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		all := everyKind(t, s)
		for name, filter := range filters() {
			t.Run(name, func(t *testing.T) {
				jobs, err := s.Jobs(t.Context(), filter)
				if err != nil {
					t.Fatal(err)
				}
				var want []berth.Job
				for _, number := range selects(filter, all) {
					want = append(want, all[number-1])
				}
				if diff := cmp.Diff(want, jobs); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if len(want) == 0 && !strings.HasPrefix(name, "none") {
					t.Error("this case selects nothing and shows nothing")
				}
			})
		}
	})
}

// everyKind stores jobs of several owners in every state, with several labels, and returns them by number.
func everyKind(t *testing.T, s *store.Store) []berth.Job {
	t.Helper()
	var all []berth.Job
	labels := []string{"", "sim", "Sim", "sim_1", "simx1", "100%"}
	for i := range 3 * len(berth.States()) {
		state := berth.States()[i%len(berth.States())]
		job := newJob([]string{"alice", "bob", "carol"}[i%3], fmt.Sprintf("A%04d", i))
		job.Job.Submission.Label = labels[i%len(labels)]
		job.Job.Team = []string{"", "red", "red", "blue"}[i%4]
		number := create(t, s, job).Number
		lifeTo(t, s, number, state)
		stored, err := s.Job(t.Context(), number)
		if err != nil || stored.State != state {
			t.Fatalf("job %d is %s, %v", number, stored.State, err)
		}
		all = append(all, stored)
	}
	return all
}

func filters() map[string]store.Filter {
	queued := []berth.State{berth.StateQueued}
	ended := []berth.State{berth.StateCompleted, berth.StateFailed, berth.StateTerminated, berth.StateCanceled}
	active := []berth.State{berth.StateStarting, berth.StateRunning, berth.StateStopping}
	return map[string]store.Filter{
		"everything":          {},
		"newest":              {Newest: true, Limit: 5},
		"page":                {After: 4, Limit: 3},
		"page, newest":        {After: 20, Newest: true, Limit: 3},
		"queued":              {States: queued},
		"active":              {States: active},
		"active, limited":     {States: active, Limit: 2},
		"ended, newest":       {States: ended, Newest: true, Limit: 4},
		"ended, skipped":      {States: ended, Newest: true, Skip: 3, Limit: 1},
		"ended, from":         {EndedFrom: 15},
		"owner":               {Owner: "bob"},
		"owner, active":       {Owner: "bob", States: active},
		"owner, ended page":   {Owner: "bob", States: ended, Newest: true, After: 20, Limit: 2},
		"team":                {Team: "red"},
		"team, ended page":    {Team: "red", States: ended, Newest: true, After: 20, Limit: 2},
		"team, owner":         {Team: "red", Owner: "bob"},
		"team, label":         {Team: "red", Label: "im"},
		"label":               {Label: "sim"},
		"label has no wilds":  {Label: "m_1"},
		"label has no wilds%": {Label: "0%"},
		"label, exact":        {Label: "sim", LabelExact: true},
		"label, owner, state": {Label: "im", Owner: "bob", States: ended},
		"exact without label": {LabelExact: true, Limit: 3},
		"none: label":         {Label: "absent"},
		"none: owner":         {Owner: "dora"},
		"none: team":          {Team: "re"},
		"none: after":         {After: 1000},
	}
}

func TestQueuePosition(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		for i, state := range []berth.State{berth.StateQueued, berth.StateRunning, berth.StateQueued, berth.StateCanceled, berth.StateQueued} {
			lifeTo(t, s, create(t, s, newJob("alice", fmt.Sprintf("A%04d", i))).Number, state)
		}
		for number, want := range map[int64]int{1: 0, 3: 1, 5: 2, 6: 3} {
			if ahead, err := s.QueuePosition(t.Context(), number); err != nil || ahead != want {
				t.Errorf("%d jobs are ahead of job %d, %v; want %d", ahead, number, err, want)
			}
		}
	})
}

func TestCountByState(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		want := map[berth.State]int{}
		for i, state := range berth.States() {
			want[state] = i
			for j := range i {
				job := create(t, s, newJob("alice", fmt.Sprintf("%d%04d", i, j)))
				lifeTo(t, s, job.Number, state)
			}
		}
		got, err := s.CountByState(t.Context())
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	})
}
