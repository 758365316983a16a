package store_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

// witness collects what OnChange is told.
type witness struct {
	mu      sync.Mutex
	events  map[int64][]berth.Record
	last    int64 // ID
	jobs    map[int64]berth.Job
	numbers []int64 // of new jobs
	wrong   []string
}

func (w *witness) onChange(job berth.Job, record berth.Record) {
	if !w.mu.TryLock() {
		panic("OnChange was called twice at a time")
	}
	defer w.mu.Unlock()
	if w.events == nil {
		w.events, w.jobs = map[int64][]berth.Record{}, map[int64]berth.Job{}
	}
	if record.Event.Kind == berth.EventSubmitted {
		w.numbers = append(w.numbers, job.Number)
	}
	if before := w.jobs[job.Number]; job.Version != before.Version+1 {
		w.wrong = append(w.wrong, fmt.Sprintf("job %d: version %d came after %d", job.Number, job.Version, before.Version))
	}
	if record.ID != w.last+1 || record.Number != job.Number || record.Version != job.Version || record.State != job.State {
		w.wrong = append(w.wrong, fmt.Sprintf("record %+v of job %d came after %d", record, job.Number, w.last))
	}
	w.last = record.ID
	w.jobs[job.Number] = job
	w.events[job.Number] = append(w.events[job.Number], record)
}

func TestConcurrentLives(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		var seen witness
		s := open(t, store.Config{DSN: dsn, OnChange: seen.onChange})
		err := concurrently(16, func(caller int) error { return disturbedLives(t, s, caller) })
		// A job that somebody canceled refuses the rest of its life; that is the only error.
		for _, err := range unjoin(err) {
			if _, refused := errors.AsType[*berth.StateError](err); !refused {
				t.Error(err)
			}
		}
		seen.compare(t, s)
	})
}

// disturbedLives takes jobs through their lives and terminates those of others.
func disturbedLives(t *testing.T, s *store.Store, caller int) error {
	for i := range 8 {
		job, _, err := s.CreateJob(t.Context(), newJob("alice", fmt.Sprintf("%d-%d", caller, i)))
		if err != nil {
			return err
		}
		if err := live(t.Context(), s, job.Number); err != nil {
			return err
		}
		// Somebody else's job, in whatever state it is: refused or not, it must not disturb.
		_, err = s.Apply(t.Context(), 1+job.Number/2, berth.Event{Kind: berth.EventTerminateRequested, At: submitted, By: "bob"})
		if _, refused := errors.AsType[*berth.StateError](err); err != nil && !refused {
			return err
		}
	}
	return nil
}

// compare holds that what OnChange was told is what is stored.
func (w *witness) compare(t *testing.T, s *store.Store) {
	t.Helper()
	for _, wrong := range w.wrong {
		t.Error(wrong)
	}
	if !slices.IsSorted(w.numbers) {
		t.Errorf("new jobs were told in the order %v", w.numbers)
	}
	for number, job := range w.jobs {
		stored, err := s.Job(t.Context(), number)
		if diff := cmp.Diff(job, stored); diff != "" || err != nil {
			t.Errorf("job %d: %v (-last told +stored):\n%s", number, err, diff)
		}
		events, err := s.Events(t.Context(), number, 0, 1000)
		if diff := cmp.Diff(w.events[number], events); diff != "" || err != nil {
			t.Errorf("events of job %d: %v (-told +stored):\n%s", number, err, diff)
		}
	}
}

func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, unjoin(e)...)
		}
		return all
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// TestTwoServers has two stores write to one database: the version guard and the row of totals keep them apart.
func TestTwoServers(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		stores := []*store.Store{open(t, store.Config{DSN: dsn}), open(t, store.Config{DSN: dsn})}
		create(t, stores[0], newJob("alice", "shared"))
		const callers, each = 8, 10
		err := concurrently(callers, func(caller int) error {
			for i := range each {
				if err := createAndChange(t, stores[caller%2], fmt.Sprintf("%d-%d", caller, i)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		jobs, err := stores[0].Jobs(t.Context(), store.Filter{})
		if err != nil || len(jobs) != 1+callers*each || jobs[len(jobs)-1].Number != int64(len(jobs)) {
			t.Fatalf("%d jobs, %v", len(jobs), err)
		}
		counts, err := stores[1].CountByState(t.Context())
		if err != nil || counts[berth.StateQueued] != len(jobs) {
			t.Errorf("counted %v, %v", counts, err)
		}
		events, err := stores[1].Events(t.Context(), 1, 0, 1000)
		if err != nil || len(events) != 1+callers*each || jobs[0].Version != int64(len(events)) {
			t.Errorf("%d events, version %d, %v", len(events), jobs[0].Version, err)
		}
	})
}

// createAndChange creates a job and changes job 1.
func createAndChange(t *testing.T, s *store.Store, unique string) error {
	if _, _, err := s.CreateJob(t.Context(), newJob("alice", unique)); err != nil {
		return err
	}
	_, err := s.Apply(t.Context(), 1, berth.Event{Kind: berth.EventWaiting, At: submitted, Wait: berth.WaitResources, Detail: unique})
	return err
}
