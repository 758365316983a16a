package scheduler

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

type fixedHost berth.Capacity

func (h fixedHost) Hosts(context.Context) ([]berth.Host, error) {
	return []berth.Host{{Name: "a", Capacity: berth.Capacity(h)}}, nil
}

type bench struct {
	*Scheduler
	store *store.Store
	// placed gets the number of every job that was placed.
	placed chan int64
}

func newBench(t *testing.T, capacity berth.Capacity) *bench {
	t.Helper()
	b := &bench{placed: make(chan int64, 1000)}
	st, err := store.Open(t.Context(), store.Config{
		DSN: "sqlite:" + filepath.Join(t.TempDir(), "berth.db"), Log: slog.New(slog.DiscardHandler),
		OnChange: func(job berth.Job, record berth.Record) {
			if record.Event.Kind == berth.EventPlaced {
				b.placed <- job.Number
			}
			b.Notify(job, record.Event)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	b.store = st
	b.Scheduler = New(Config{
		Store: st, Hosts: fixedHost(capacity), Random: func() string { return "r" }, Now: time.Now, Tick: time.Hour,
		Assumed: assumed, Log: slog.New(slog.DiscardHandler),
	})
	if err := st.CreateUser(t.Context(), store.NewUser{User: berth.User{Name: "ada", Billing: true}}, berth.Act{Kind: berth.ActUserAdded, By: berth.ByServer}); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) submit(t *testing.T, cores int) int64 {
	t.Helper()
	j := job(0, cores)
	j.Owner, j.Payer, j.Submitted, j.Wait = "ada", "ada", time.Now(), berth.WaitResources
	j.Name = fmt.Sprintf("20260101000000-%05d-x-ada_s1", time.Now().UnixNano())
	created, _, err := b.store.CreateJob(t.Context(), store.NewJob{Job: j})
	if err != nil {
		t.Fatal(err)
	}
	return created.Number
}

func (b *bench) end(t *testing.T, number int64) {
	t.Helper()
	for _, ev := range []berth.Event{
		{Kind: berth.EventStarted, At: time.Now()},
		{Kind: berth.EventEnded, At: time.Now(), Exit: berth.Exit{Known: true, Ran: true}},
	} {
		if _, err := b.store.Apply(t.Context(), number, ev); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRunPlacesInOrder submits more than fits while the loop runs: every job is placed, first in, first out, never too many at a
// time, with the slow tick out of reach.
func TestRunPlacesInOrder(t *testing.T) {
	b := newBench(t, berth.Capacity{Cores: 2, RAM: 64 << 30, Slots: 2})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	var want, got []int64
	for i := range 40 {
		want = append(want, b.submit(t, 1+i%2))
	}
	for range want {
		number := <-b.placed
		got = append(got, number)
		active, err := b.store.Jobs(t.Context(), store.Filter{States: []berth.State{berth.StateStarting}})
		if err != nil {
			t.Fatal(err)
		}
		used := 0
		for _, j := range active {
			used += j.Need.Cores
		}
		if used > 2 {
			t.Fatalf("%d cores of 2 are given out", used)
		}
		b.end(t, number)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order of placements (-submitted +placed):\n%s", diff)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestALongHeadOfImpossibleJobs: more jobs than get a reservation that can never run here hold back nobody and say why they wait.
func TestALongHeadOfImpossibleJobs(t *testing.T) {
	b := newBench(t, berth.Capacity{Cores: 2, RAM: 64 << 30, Slots: 2})
	first := b.submit(t, 9)
	for range 2 * depth {
		b.submit(t, 9)
	}
	possible := b.submit(t, 1)
	if err := b.runOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-b.placed; got != possible {
		t.Errorf("placed job %d, want %d", got, possible)
	}
	waiting, err := b.store.Job(t.Context(), first)
	if err != nil || waiting.WaitDetail == "" {
		t.Errorf("the impossible job does not say why it waits: %+v, %v", waiting, err)
	}
}

// TestACanceledJobIsNotPlaced: a decision that comes too late changes nothing.
func TestACanceledJobIsNotPlaced(t *testing.T) {
	b := newBench(t, four)
	number := b.submit(t, 1)
	if _, err := b.store.Apply(t.Context(), number, berth.Event{Kind: berth.EventStopRequested, At: time.Now(), By: "ada"}); err != nil {
		t.Fatal(err)
	}
	if err := b.carryOut(t.Context(), on(number, "a")); err != nil {
		t.Fatal(err)
	}
	if got, err := b.store.Job(t.Context(), number); err != nil || got.State != berth.StateCanceled {
		t.Errorf("state %v, %v; want canceled", got.State, err)
	}
}

// TestWhoCannotStartWakesNobody keeps a burst of submissions from costing a pass each.
func TestWhoCannotStartWakesNobody(t *testing.T) {
	b := newBench(t, berth.Capacity{Cores: 2, RAM: 64 << 30, Slots: 2})
	running := b.submit(t, 1)
	b.submit(t, 2)
	if err := b.runOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	woken := func() bool {
		select {
		case <-b.wake:
			return true
		default:
			return false
		}
	}
	woken()
	b.submit(t, 2)
	if woken() {
		t.Error("a submission that cannot start woke the scheduler")
	}
	b.submit(t, 1)
	if !woken() {
		t.Error("a submission that may start did not wake the scheduler")
	}
	b.end(t, running)
	if !woken() {
		t.Error("a freed machine did not wake the scheduler")
	}
	for range manyChanges {
		b.jobs.note(job(1, 1))
	}
	b.submit(t, 2)
	if !woken() {
		t.Error("many changes did not wake the scheduler")
	}
}

// TestOpenJobsAreThoseOfTheStore lets jobs live through everything, before and after they were read for the first time: what is
// known of them is always what reading them anew finds.
func TestOpenJobsAreThoseOfTheStore(t *testing.T) {
	b := newBench(t, four)
	check := func() {
		t.Helper()
		got, err := b.jobs.snapshot(t.Context(), b.store)
		if err != nil {
			t.Fatal(err)
		}
		want, err := newOpenJobs(false).snapshot(t.Context(), b.store)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.SortSlices(func(a, b Active) bool { return a.Number < b.Number })); diff != "" {
			t.Errorf("open jobs (-stored +known):\n%s", diff)
		}
	}
	check()
	var numbers []int64
	for range 8 {
		numbers = append(numbers, b.submit(t, 1))
	}
	check()
	for i, number := range []int64{numbers[1], numbers[6], numbers[7]} {
		placed := berth.Event{Kind: berth.EventPlaced, At: time.Now(), Hosts: []string{"a"}, Attempt: fmt.Sprint("berth-", number, "-r")}
		for _, ev := range []berth.Event{placed, {Kind: berth.EventStarted, At: time.Now()}, {Kind: berth.EventEnded, At: time.Now()}}[:i+1] {
			if _, err := b.store.Apply(t.Context(), number, ev); err != nil {
				t.Fatal(err)
			}
			check()
		}
	}
	for _, ev := range []berth.Event{{Kind: berth.EventStopRequested, At: time.Now(), By: "ada"}} {
		if _, err := b.store.Apply(t.Context(), numbers[0], ev); err != nil {
			t.Fatal(err)
		}
	}
	waiting := berth.Event{Kind: berth.EventWaiting, At: time.Now(), Wait: berth.WaitResources, Detail: "d"}
	if _, err := b.store.Apply(t.Context(), numbers[3], waiting); err != nil {
		t.Fatal(err)
	}
	check()
}

// TestDoubtFindsWhatNobodyTold: a change that was not told is found by the slow tick.
func TestDoubtFindsWhatNobodyTold(t *testing.T) {
	b := newBench(t, four)
	b.submit(t, 9)
	if _, err := b.jobs.snapshot(t.Context(), b.store); err != nil {
		t.Fatal(err)
	}
	b.submit(t, 9)
	b.jobs.changes = nil // lost
	count := func() int {
		snapshot, err := b.jobs.snapshot(t.Context(), b.store)
		if err != nil {
			t.Fatal(err)
		}
		return len(snapshot.Queued)
	}
	if got := count(); got != 1 {
		t.Errorf("%d jobs are known, want 1: without a doubt nothing is read", got)
	}
	b.jobs.doubt()
	if got := count(); got != 2 {
		t.Errorf("%d jobs are known after a doubt, want 2", got)
	}
	b.jobs.forget()
	b.jobs.queued = nil
	if got := count(); got != 2 {
		t.Errorf("%d jobs are known after all was forgotten, want 2", got)
	}
}

// TestForecastOfAQueuedJob reads the queue: what is in front of the job, and what runs.
func TestForecastOfAQueuedJob(t *testing.T) {
	b := newBench(t, berth.Capacity{Cores: 1, RAM: 64 << 30, Slots: 1})
	running := b.submit(t, 1)
	if err := b.runOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	first, second := b.submit(t, 1), b.submit(t, 1)
	b.submit(t, 1) // behind both, and of no interest to them
	forecast := func(number int64) berth.Forecast {
		job, err := b.store.Job(t.Context(), number)
		if err != nil {
			t.Fatal(err)
		}
		forecast, err := b.Forecast(t.Context(), job)
		if err != nil {
			t.Fatal(err)
		}
		return forecast
	}
	want := berth.Forecast{Position: 2, Blockers: []berth.Blocker{
		{Kind: berth.BlockerQueue, Number: first, Detail: fmt.Sprintf("job %d was submitted earlier and goes first", first)},
		{Kind: berth.BlockerResources, Detail: "cores: 1 needed, 0 free; slots: 1 needed, 0 free"},
		{Kind: berth.BlockerJob, Number: running, Detail: fmt.Sprintf("job %d runs and has no walltime limit", running)},
	}}
	if diff := cmp.Diff(want, forecast(second)); diff != "" {
		t.Errorf("forecast (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(berth.Forecast{}, forecast(running)); diff != "" {
		t.Errorf("a job that is not queued has a forecast: %s", diff)
	}
}
