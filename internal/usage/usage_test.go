package usage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/store"
)

// machine is a store with running jobs, and a meter that measures them.
type machine struct {
	mu    sync.Mutex
	jobs  []berth.Job
	used  map[string]engine.Usage
	fails map[string]error
	asked atomic.Int32
}

func (m *machine) Jobs(_ context.Context, filter store.Filter) ([]berth.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if diff := cmp.Diff([]berth.State{berth.StateRunning, berth.StateStopping}, filter.States); diff != "" {
		return nil, errors.New(diff)
	}
	return m.jobs, nil
}

func (m *machine) Usage(ctx context.Context, id string) ([]engine.Usage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked.Add(1)
	if err := m.fails[id]; err != nil {
		return nil, err
	}
	u, ok := m.used[id]
	if !ok {
		return nil, engine.ErrNotFound
	}
	u.At = time.Now()
	return []engine.Usage{u}, ctx.Err()
}

// runs adds a job with two cores that starts now.
func (m *machine) runs(number int64) berth.Job {
	m.mu.Lock()
	defer m.mu.Unlock()
	job := berth.Job{
		Number: number, State: berth.StateRunning, Attempt: fmt.Sprint("attempt", number), Started: time.Now(), Need: berth.Capacity{Cores: 2},
	}
	m.jobs = append(m.jobs, job)
	return job
}

// uses says how much CPU time a job has used since its start.
func (m *machine) uses(number int64, cpu time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used[fmt.Sprint("attempt", number)] = engine.Usage{CPU: cpu, Memory: 5, MemoryLimit: 10}
}

func newMachine() (*machine, *Sampler) {
	m := &machine{used: make(map[string]engine.Usage), fails: make(map[string]error)}
	return m, New(Config{Store: m, Meter: m, Every: 10 * time.Second, Log: slog.New(slog.DiscardHandler)})
}

// TestPercentOfTheCores is that between two samples; the first is that since the start.
func TestPercentOfTheCores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := newMachine()
		m.runs(1)
		if _, ok := s.Usage(1); ok {
			t.Error("a job that was never measured has a sample")
		}
		for _, step := range []struct {
			after, cpu time.Duration
			want       int
		}{
			{4 * time.Second, 2 * time.Second, 25},
			{time.Second, 4 * time.Second, 100},
			{10 * time.Second, 4 * time.Second, 0},
			{time.Second, 9 * time.Second, 100}, // more than there is: another clock
			{time.Second, 0, 0},                 // less than before
		} {
			time.Sleep(step.after)
			m.uses(1, step.cpu)
			if err := s.runOnce(t.Context(), false); err != nil {
				t.Fatal(err)
			}
			got, ok := s.Usage(1)
			if diff := cmp.Diff([]Sample{{At: time.Now(), CPU: step.want, Memory: 5, MemoryLimit: 10}}, got); diff != "" || !ok {
				t.Errorf("after %v (-want +got):\n%s", step, diff)
			}
		}
	})
}

// TestAJobThatCannotBeMeasured keeps what was known of it, and no other from being measured.
func TestAJobThatCannotBeMeasured(t *testing.T) {
	m, s := newMachine()
	for number := range int64(3) {
		m.runs(number)
		m.uses(number, time.Second)
	}
	if err := s.runOnce(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	first, _ := s.Usage(1)
	m.fails["attempt1"] = errors.New("broken")
	if err := s.runOnce(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if again, ok := s.Usage(1); !ok || !cmp.Equal(again, first) {
		t.Errorf("sample %+v, want the one before, %+v", again, first)
	}
	for _, number := range []int64{0, 2} {
		if again, ok := s.Usage(number); !ok || !again[0].At.After(first[0].At) {
			t.Errorf("job %d was not measured again: %+v", number, again)
		}
	}
}

func TestEndedJobsAreForgotten(t *testing.T) {
	m, s := newMachine()
	m.runs(1)
	m.uses(1, time.Second)
	if err := s.runOnce(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	m.jobs = nil
	if err := s.runOnce(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if sample, ok := s.Usage(1); ok {
		t.Errorf("sample %+v of a job that has ended", sample)
	}
}

// TestRun measures every job now and then, and new ones soon after their start.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := newMachine()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		time.Sleep(2 * time.Second)
		for number := range int64(20) {
			m.uses(number, time.Second)
			s.Notify(m.runs(number), berth.Event{Kind: berth.EventStarted})
		}
		synctest.Wait()
		if _, ok := s.Usage(0); ok {
			t.Error("a job was measured at its start, which says nothing")
		}
		time.Sleep(settle)
		synctest.Wait()
		if _, ok := s.Usage(19); !ok || m.asked.Load() != 20 {
			t.Errorf("%d measurements soon after the start of 20 jobs", m.asked.Load())
		}
		time.Sleep(8 * time.Second)
		synctest.Wait()
		if m.asked.Load() != 40 {
			t.Errorf("%d measurements of 20 jobs after a tick", m.asked.Load())
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
