package control

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/fake"
)

// agents asks others, or answers itself.
type agents func(ctx context.Context, id string, req agentapi.Request) (agentapi.Answer, error)

func (a agents) Ask(ctx context.Context, id string, req agentapi.Request) (agentapi.Answer, error) {
	return a(ctx, id, req)
}

func (a agents) OpenShell(context.Context, string, agentapi.ShellRequest) (*agentapi.Terminal, error) {
	return nil, errors.New("these agents have no shells")
}

func (a agents) OpenDisplay(context.Context, string) (io.ReadWriteCloser, error) {
	return nil, errors.New("these agents have no displays")
}

// stuck is a store that cannot store some events.
type stuck struct {
	Store
	broken atomic.Bool
}

func (s *stuck) Apply(ctx context.Context, number int64, ev berth.Event) (berth.Job, error) {
	if s.broken.Load() {
		return berth.Job{}, &berth.Error{Kind: berth.Unavailable, Msg: "The database cannot answer now"}
	}
	return s.Store.Apply(ctx, number, ev)
}

func TestSignal(t *testing.T) {
	b := newBench(t)
	ref := b.run(t, "trap 'echo one' USR1\nsleep 1000")
	got, err := b.Signal(t.Context(), b.tess, ref, berth.SignalSuspend)
	if err != nil || got.Signal != berth.SignalSuspend || got.PID == 0 {
		t.Fatalf("Signal = %+v, %v", got, err)
	}
	job, err := b.Job(t.Context(), b.ada, ref)
	if err != nil || job.Suspended.IsZero() {
		t.Errorf("a suspended job: %+v, %v", job, err)
	}
	record := b.lastRecord(t)
	want := berth.Event{Kind: berth.EventSignaled, At: record.Event.At, By: "tess", From: "192.0.2.7", Signal: berth.SignalSuspend}
	if diff := cmp.Diff(want, record.Event); diff != "" || record.Number != ref.Number {
		t.Errorf("record of job %d:\n%s", record.Number, diff)
	}
	if _, err := b.Signal(t.Context(), b.ada, ref, berth.SignalContinue); err != nil {
		t.Fatal(err)
	}
	if job, err = b.Job(t.Context(), b.ada, ref); err != nil || !job.Suspended.IsZero() {
		t.Errorf("a job that goes on: %+v, %v", job, err)
	}
}

func TestSignalIsCheckedBeforeItsJob(t *testing.T) {
	b := newBench(t)
	for _, signal := range []int{-1, 0, 65} {
		_, err := b.Signal(t.Context(), b.ada, JobRef{Number: 999}, signal)
		wantError(t, err, berth.Invalid, "Invalid parameter(s): signal: ")
	}
}

// TestOrdersNeedARunningJob: one that waits for its image is none.
func TestOrdersNeedARunningJob(t *testing.T) {
	b := newBench(t)
	ref := JobRef{Number: b.submit(t).Number}
	check := func() {
		t.Helper()
		_, err := b.Signal(t.Context(), b.ada, ref, 15)
		wantError(t, err, berth.NotFound, "Running job is not found")
		wantError(t, b.Action(t.Context(), b.ada, ref, "hello"), berth.NotFound, "Running job is not found")
		_, err = b.Info(t.Context(), b.ada, ref)
		wantError(t, err, berth.NotFound, "Running job is not found")
		_, err = b.Metrics(t.Context(), b.ada, ref)
		wantError(t, err, berth.NotFound, "Running job is not found")
	}
	check()
	b.apply(t, ref.Number, berth.EventPlaced, berth.EventWaiting)
	check()
	b.apply(t, ref.Number, berth.EventEnded)
	check()
}

func TestAction(t *testing.T) {
	b := newBench(t)
	ref := b.run(t, "sleep 1000")
	if err := b.Action(t.Context(), b.ada, ref, "hello"); err != nil {
		t.Fatal(err)
	}
	if ev := b.lastRecord(t).Event; ev.Kind != berth.EventActionRequested || ev.Detail != "hello" || ev.By != "ada" {
		t.Errorf("recorded %+v", ev)
	}
	err := b.Action(t.Context(), b.ada, ref, "bye")
	wantError(t, err, berth.Invalid, `Invalid parameter(s): action: "bye" is not one of hello`)
	err = b.Action(t.Context(), b.ada, ref, strings.Repeat("x", 257))
	wantError(t, err, berth.Invalid, "Invalid parameter(s): action: 257 bytes were sent, at most 256 are allowed")
}

func TestInfoAndMetrics(t *testing.T) {
	b := newBench(t)
	ref := b.run(t, "sleep 1000")
	info, err := b.Info(t.Context(), b.reader, ref)
	if diff := cmp.Diff(JobInfo{Actions: map[string]string{"hello": "Say hello"}}, info); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	metrics, err := b.Metrics(t.Context(), b.reader, ref)
	want := JobMetrics{Nodes: []NodeMetrics{{CPU: 97, MemoryUsed: 1 << 20, MemoryTotal: 1 << 30, Sampled: time.Unix(1, 0)}}}
	if diff := cmp.Diff(want, metrics); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	b.cfg.Usage = sampled{none: true}
	_, err = b.Metrics(t.Context(), b.ada, ref)
	wantError(t, err, berth.NotFound, "Metrics are not available yet")
}

func TestWhatAgentsRefuse(t *testing.T) {
	failed := &agentapi.Error{Code: agentapi.CodeFailed, Text: "the program says no"}
	b := newBench(t, func(c *Config) {
		c.Agents = agents(func(context.Context, string, agentapi.Request) (agentapi.Answer, error) {
			return agentapi.Answer{Error: failed}, nil
		})
	})
	ref := b.run(t, "sleep 1000")
	_, err := b.Signal(t.Context(), b.ada, ref, 20)
	wantError(t, err, berth.Unavailable, "Signal not delivered: the program says no")
	wantError(t, b.Action(t.Context(), b.ada, ref, "hello"), berth.Unavailable, "Action not started: the program says no")
	if job, err := b.Job(t.Context(), b.ada, ref); err != nil || !job.Suspended.IsZero() {
		t.Errorf("a signal that was not delivered is stored: %+v, %v", job, err)
	}
	b.cfg.Agents = b.engine
	b.engine.Fail(fake.Ask, errors.New("does not answer"))
	_, err = b.Signal(t.Context(), b.ada, ref, 20)
	wantError(t, err, berth.Unavailable, "Signal not delivered")
}

// TestASignalThatIsNotStored is answered with an error, and can be repeated.
func TestASignalThatIsNotStored(t *testing.T) {
	broken := &stuck{}
	b := newBench(t, func(c *Config) { broken.Store, c.Store = c.Store, broken })
	ref := b.run(t, "sleep 1000")
	broken.broken.Store(true)
	_, err := b.Signal(t.Context(), b.ada, ref, berth.SignalSuspend)
	wantError(t, err, berth.Unavailable, "The database cannot answer now")
	broken.broken.Store(false)
	if _, err := b.Signal(t.Context(), b.ada, ref, berth.SignalSuspend); err != nil {
		t.Fatal(err)
	}
	if job, err := b.Job(t.Context(), b.ada, ref); err != nil || job.Suspended.IsZero() {
		t.Errorf("job %+v, %v", job, err)
	}
}

// end stores that a job has ended.
func (b *bench) end(ctx context.Context, ref JobRef) error {
	ended := berth.Event{Kind: berth.EventEnded, At: time.Now(), Exit: berth.Exit{Known: true, Ran: true}}
	return second(b.store.Apply(ctx, ref.Number, ended))
}

// TestAnEndBetweenDeliveryAndStoring: the signal was delivered, whatever came of it.
func TestAnEndBetweenDeliveryAndStoring(t *testing.T) {
	b := newBench(t)
	ref := b.run(t, "sleep 1000")
	b.cfg.Agents = agents(func(ctx context.Context, id string, req agentapi.Request) (agentapi.Answer, error) {
		answer, err := b.engine.Ask(ctx, id, req)
		return answer, errors.Join(err, b.end(ctx, ref))
	})
	if got, err := b.Signal(t.Context(), b.ada, ref, 23); err != nil || got.Signal != 23 {
		t.Errorf("Signal = %+v, %v", got, err)
	}
}

// TestAClientThatHangsUp after its signal was delivered: it is stored.
func TestAClientThatHangsUp(t *testing.T) {
	ctx, hangUp := context.WithCancel(t.Context())
	b := newBench(t, func(c *Config) {
		ask := c.Agents
		c.Agents = agents(func(ctx context.Context, id string, req agentapi.Request) (agentapi.Answer, error) {
			hangUp()
			return ask.Ask(ctx, id, req)
		})
	})
	ref := b.run(t, "sleep 1000")
	_, _ = b.Signal(ctx, b.ada, ref, berth.SignalSuspend)
	if job, err := b.Job(t.Context(), b.ada, ref); err != nil || job.Suspended.IsZero() {
		t.Errorf("job %+v, %v", job, err)
	}
}

// TestAJobThatIsAboutToListen runs for the store, and its command a moment later.
func TestAJobThatIsAboutToListen(t *testing.T) {
	asked := 0
	b := newBench(t, func(c *Config) {
		ask := c.Agents
		c.Agents = agents(func(ctx context.Context, id string, req agentapi.Request) (agentapi.Answer, error) {
			switch asked++; asked {
			case 1:
				return agentapi.Answer{}, engine.ErrNotFound
			case 2:
				return agentapi.Answer{Error: &agentapi.Error{Code: agentapi.CodeNotRunning}}, nil
			default:
				return ask.Ask(ctx, id, req)
			}
		})
	})
	ref := b.run(t, "sleep 1000")
	if _, err := b.Signal(t.Context(), b.ada, ref, 23); err != nil || asked != 3 {
		t.Errorf("after %d requests: %v", asked, err)
	}
}

// TestAJobThatEndsBeforeItListens is like one that has ended.
func TestAJobThatEndsBeforeItListens(t *testing.T) {
	b := newBench(t)
	ref := b.run(t, "sleep 1000")
	b.cfg.Agents = agents(func(ctx context.Context, _ string, _ agentapi.Request) (agentapi.Answer, error) {
		return agentapi.Answer{}, errors.Join(engine.ErrNotFound, b.end(ctx, ref))
	})
	_, err := b.Signal(t.Context(), b.ada, ref, 15)
	wantError(t, err, berth.NotFound, "Running job is not found")
}

// oneJob is a store with a job that is in a state for ever.
type oneJob struct {
	Store
	state berth.State
}

func (o oneJob) Job(context.Context, int64) (berth.Job, error) {
	return berth.Job{Number: 1, Owner: "ada", State: o.state}, nil
}

// TestAJobThatBegins runs for clients already, so they need not ask again.
func TestAJobThatBegins(t *testing.T) {
	b := newBench(t)
	ref := JobRef{Number: b.submit(t).Number}
	b.apply(t, ref.Number, berth.EventPlaced)
	began := false
	b.cfg.Agents = agents(func(context.Context, string, agentapi.Request) (agentapi.Answer, error) {
		if !began {
			t.Error("the agent was asked before the job ran")
		}
		return agentapi.Answer{Signal: &agentapi.SignalAnswer{Number: 15, PID: 7}}, nil
	})
	b.cfg.Store = beginning{b.cfg.Store, func() {
		if !began {
			began = true
			b.apply(t, ref.Number, berth.EventStarted)
		}
	}}
	if got, err := b.Signal(t.Context(), b.ada, ref, 15); err != nil || got.PID != 7 {
		t.Errorf("Signal = %+v, %v", got, err)
	}
}

// beginning is a store that has something happen after a job was read.
type beginning struct {
	Store
	then func()
}

func (s beginning) Job(ctx context.Context, number int64) (berth.Job, error) {
	defer s.then()
	return s.Store.Job(ctx, number)
}

// TestAJobThatNeverBegins is no running job in the end.
func TestAJobThatNeverBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Store: oneJob{state: berth.StateStarting}, Changes: &Changes{}})
		_, err := s.Signal(t.Context(), berth.Caller{User: berth.User{Name: "ada"}}, JobRef{Number: 1}, 15)
		wantError(t, err, berth.NotFound, "Running job is not found")
	})
}

// TestAJobThatNeverListens is asked again for a while, and not in haste.
func TestAJobThatNeverListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		s := New(Config{Store: oneJob{state: berth.StateRunning}, Changes: &Changes{}, Agents: agents(
			func(context.Context, string, agentapi.Request) (agentapi.Answer, error) {
				asked++
				return agentapi.Answer{}, engine.ErrNotFound
			})})
		began := time.Now()
		_, err := s.Signal(t.Context(), berth.Caller{User: berth.User{Name: "ada"}}, JobRef{Number: 1}, 15)
		wantError(t, err, berth.Unavailable, "Signal not delivered: the command of the job does not run yet")
		if took := time.Since(began); took != listensWithin || asked < 5 || asked > 30 {
			t.Errorf("asked %d times in %s", asked, took)
		}
	})
}

// TestOrdersGoOneAfterTheOther: they are stored in the order in which they are delivered.
func TestOrdersGoOneAfterTheOther(t *testing.T) {
	var inside, most atomic.Int32
	b := newBench(t, func(c *Config) {
		ask := c.Agents
		c.Agents = agents(func(ctx context.Context, id string, req agentapi.Request) (agentapi.Answer, error) {
			most.Store(max(most.Load(), inside.Add(1)))
			defer inside.Add(-1)
			return ask.Ask(ctx, id, req)
		})
	})
	ref := b.run(t, "sleep 1000")
	const orders = 1 + maxWaiting
	done := make(chan error, orders)
	for range orders {
		go func() { done <- second(b.Signal(t.Context(), b.ada, ref, 23)) }()
	}
	for range orders {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if most.Load() != 1 || len(b.turns.queues) != 0 {
		t.Errorf("%d orders at a time, %d queues remembered", most.Load(), len(b.turns.queues))
	}
}

// TestOneJobIsNotAskedByEverybody: while its agent does not answer, few wait for it, and none of them for long.
func TestOneJobIsNotAskedByEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ada := berth.Caller{User: berth.User{Name: "ada"}}
		for name, tt := range map[string]struct {
			ask  func(*Service) error
			text string
		}{
			"signal": {func(s *Service) error { return second(s.Signal(t.Context(), ada, JobRef{Number: 1}, 15)) }, "Signal not delivered"},
			"action": {func(s *Service) error { return s.Action(t.Context(), ada, JobRef{Number: 1}, "x") }, "Action not started"},
			"info":   {func(s *Service) error { return second(s.Info(t.Context(), ada, JobRef{Number: 1})) }, "The job does not answer"},
		} {
			answer := make(chan struct{})
			s := New(Config{Store: oneJob{state: berth.StateRunning}, Changes: &Changes{}, Agents: agents(
				func(context.Context, string, agentapi.Request) (agentapi.Answer, error) {
					<-answer // longer than an agent may
					return agentapi.Answer{}, errors.New("no answer")
				})})
			began, done := time.Now(), make(chan error, 1+maxWaiting)
			for range cap(done) {
				go func() { done <- tt.ask(s) }()
			}
			synctest.Wait()
			wantError(t, tt.ask(s), berth.LimitReached, "Too many requests for this job")
			for range maxWaiting {
				wantError(t, <-done, berth.Unavailable, tt.text)
			}
			if took := time.Since(began); took != answerWithin {
				t.Errorf("%s: they waited for %s", name, took)
			}
			close(answer)
			wantError(t, <-done, berth.Unavailable, tt.text)
			if len(s.turns.queues) != 0 {
				t.Errorf("%s: %d queues remembered", name, len(s.turns.queues))
			}
		}
	})
}
