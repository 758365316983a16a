package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

// model is what the store should hold, in memory.
type model struct {
	jobs   []berth.Job // by number - 1
	events [][]berth.Event
}

func (m *model) counts() map[berth.State]int {
	counts := map[berth.State]int{}
	for _, state := range berth.States() {
		counts[state] = 0
	}
	for _, job := range m.jobs {
		counts[job.State]++
	}
	return counts
}

// TestModel does random things to a store and to a model of it. The store and the model live as long as the test, each check goes
// on where the last one ended.
func TestModel(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		m := &model{}
		rapid.Check(t, func(r *rapid.T) {
			steps := rapid.IntRange(1, 20).Draw(r, "steps")
			for range steps {
				if len(m.jobs) == 0 || rapid.IntRange(0, 4).Draw(r, "create") == 0 {
					m.create(t, r, s)
				} else {
					m.apply(t, r, s)
				}
			}
			m.compare(t, r, s)
		})
	})
}

func (m *model) create(t *testing.T, r *rapid.T, s *store.Store) {
	job := newJob(rapid.SampledFrom([]string{"alice", "bob"}).Draw(r, "owner"), fmt.Sprintf("M%06d", len(m.jobs)))
	job.Job.Submission.Label = rapid.SampledFrom([]string{"", "a", "ab"}).Draw(r, "label")
	created, _, err := s.CreateJob(t.Context(), job)
	if err != nil || created.Number != int64(len(m.jobs)+1) {
		r.Fatalf("job %d, %v", created.Number, err)
	}
	m.jobs = append(m.jobs, created)
	m.events = append(m.events, []berth.Event{{Kind: berth.EventSubmitted, At: created.Submitted, By: created.Owner}})
}

func (m *model) apply(t *testing.T, r *rapid.T, s *store.Store) {
	// Mostly young jobs, which have not ended.
	i := max(0, len(m.jobs)-1-rapid.IntRange(0, 7).Draw(r, "back"))
	ev := drawEvent(r)
	want, wantErr := berth.Apply(m.jobs[i], ev)
	got, err := s.Apply(t.Context(), m.jobs[i].Number, ev)
	if wantErr != nil {
		var refused, wantRefused *berth.StateError
		if !errors.As(err, &refused) || !errors.As(wantErr, &wantRefused) || *refused != *wantRefused {
			r.Fatalf("error %v, want %v", err, wantErr)
		}
		return
	}
	want.Version++
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		r.Fatalf("%s on job %d: %v (-want +got):\n%s", ev.Kind, want.Number, err, diff)
	}
	m.jobs[i] = got
	m.events[i] = append(m.events[i], ev)
}

// drawEvent draws an event with what its kind carries.
func drawEvent(r *rapid.T) berth.Event {
	at := time.UnixMicro(rapid.Int64Range(1, 4e15).Draw(r, "at")).UTC()
	ev := berth.Event{Kind: rapid.SampledFrom(berth.EventKinds()).Draw(r, "kind"), At: at}
	switch ev.Kind {
	case berth.EventPlaced:
		ev.Attempt, ev.Host = "attempt", "host"
	case berth.EventWaiting:
		ev.Wait = rapid.SampledFrom([]berth.Wait{berth.WaitNone, berth.WaitImage, berth.WaitResources}).Draw(r, "wait")
		ev.Detail = rapid.StringMatching(`[a-z' %"]{0,8}`).Draw(r, "detail")
	case berth.EventStopRequested, berth.EventTerminateRequested:
		ev.By = rapid.SampledFrom([]string{"alice", berth.WishByWalltime}).Draw(r, "by")
	case berth.EventEnded:
		ev.Exit = berth.Exit{
			Known: rapid.Bool().Draw(r, "known"), Ran: rapid.Bool().Draw(r, "ran"), OutOfMemory: rapid.Bool().Draw(r, "oom"),
			Code: rapid.IntRange(0, 255).Draw(r, "code"), Signal: rapid.SampledFrom([]int{0, 9, 15}).Draw(r, "signal"),
		}
	case berth.EventRefused:
		ev.Detail = "no such image"
	default: // nothing
	}
	return ev
}

func (m *model) compare(t *testing.T, r *rapid.T, s *store.Store) {
	counts, err := s.CountByState(t.Context())
	if diff := cmp.Diff(m.counts(), counts); diff != "" || err != nil {
		r.Fatalf("counts: %v (-want +got):\n%s", err, diff)
	}
	i := rapid.IntRange(0, len(m.jobs)-1).Draw(r, "job")
	events, err := s.Events(t.Context(), m.jobs[i].Number)
	if diff := cmp.Diff(m.events[i], events); diff != "" || err != nil {
		r.Fatalf("events of job %d: %v (-want +got):\n%s", i+1, err, diff)
	}
	filter := store.Filter{
		Owner: rapid.SampledFrom([]string{"", "alice"}).Draw(r, "filter owner"), States: rapid.SliceOfNDistinct(
			rapid.SampledFrom(berth.States()), 0, 4, rapid.ID[berth.State]).Draw(r, "states"),
		Label:      rapid.SampledFrom([]string{"", "a"}).Draw(r, "filter label"),
		LabelExact: rapid.Bool().Draw(r, "exact"), Newest: rapid.Bool().Draw(r, "newest"),
		After: rapid.Int64Range(0, int64(len(m.jobs))).Draw(r, "after"), Limit: rapid.IntRange(0, 20).Draw(r, "limit"),
	}
	jobs, err := s.Jobs(t.Context(), filter)
	if err != nil {
		r.Fatal(err)
	}
	var want []berth.Job
	for _, number := range selects(filter, m.jobs) {
		want = append(want, m.jobs[number-1])
	}
	if diff := cmp.Diff(want, jobs); diff != "" {
		r.Fatalf("%+v (-want +got):\n%s", filter, diff)
	}
}
