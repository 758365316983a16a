package control

import (
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

func TestOthersJobsDoNotExist(t *testing.T) {
	b := newBench(t)
	job := b.submit(t)
	ref := JobRef{Number: job.Number}
	for name, use := range map[string]func(berth.Caller) error{
		"job":       func(c berth.Caller) error { _, err := b.Job(t.Context(), c, ref); return err },
		"by name":   func(c berth.Caller) error { _, err := b.Job(t.Context(), c, JobRef{Name: job.Name}); return err },
		"tail":      func(c berth.Caller) error { _, err := b.Tail(t.Context(), c, ref, 0); return err },
		"output":    func(c berth.Caller) error { _, err := b.Output(t.Context(), c, ref, 0); return err },
		"follow":    func(c berth.Caller) error { _, err := b.OpenOutput(t.Context(), c, ref, 0, true); return err },
		"wait":      func(c berth.Caller) error { _, err := b.Wait(t.Context(), c, ref); return err },
		"shutdown":  func(c berth.Caller) error { return b.Shutdown(t.Context(), c, ref) },
		"terminate": func(c berth.Caller) error { return b.Terminate(t.Context(), c, ref) },
	} {
		wantError(t, use(b.bob), berth.NotFound, "Not found")
		if t.Failed() {
			t.Fatalf("%s by another user", name)
		}
	}
	if _, err := b.Job(t.Context(), b.admin, ref); err != nil {
		t.Errorf("an administrator: %v", err)
	}
	if jobs, err := listed(b.Jobs(t.Context(), b.bob, JobsFilter{All: true, Team: true})); err != nil || len(jobs) != 0 {
		t.Errorf("bob sees %d jobs, %v", len(jobs), err)
	}
	if jobs, err := listed(b.Jobs(t.Context(), b.admin, JobsFilter{Team: true})); err != nil || len(jobs) != 1 {
		t.Errorf("the administrator sees %d jobs, %v", len(jobs), err)
	}
}

func TestJobReferences(t *testing.T) {
	b := newBench(t)
	first, second := b.submit(t), b.submit(t)
	if job, err := b.Job(t.Context(), b.ada, JobRef{Number: first.Number, Name: first.Name}); err != nil || job.Number != first.Number {
		t.Errorf("both of one job: %v", err)
	}
	_, err := b.Job(t.Context(), b.ada, JobRef{Number: first.Number, Name: second.Name})
	wantError(t, err, berth.Invalid, "Bad Request")
	_, err = b.Job(t.Context(), b.ada, JobRef{})
	wantError(t, err, berth.Invalid, "No job specified")
	_, err = b.Job(t.Context(), b.ada, JobRef{Number: 99})
	wantError(t, err, berth.NotFound, "Not found")
}

func TestWishes(t *testing.T) {
	b := newBench(t)
	queued := JobRef{Number: b.submit(t).Number}
	if err := b.Shutdown(t.Context(), b.ada, queued); err != nil {
		t.Fatal(err)
	}
	job, err := b.Job(t.Context(), b.ada, queued)
	if err != nil || job.State != berth.StateCanceled || job.End.By != "ada" {
		t.Errorf("a queued job after shutdown: %+v, %v", job, err)
	}
	wantError(t, b.Shutdown(t.Context(), b.ada, queued), berth.NotFound, "Running job is not found")
	wantError(t, b.Terminate(t.Context(), b.ada, queued), berth.NotFound, "Running job is not found")

	running := JobRef{Number: b.submit(t).Number}
	b.apply(t, running.Number, berth.EventPlaced, berth.EventStarted)
	for range 2 { // safe to repeat
		if err := b.Terminate(t.Context(), b.ada, running); err != nil {
			t.Fatal(err)
		}
	}
	job, err = b.Job(t.Context(), b.ada, running)
	if err != nil || job.State != berth.StateRunning || job.Wish != berth.WishTerminate {
		t.Errorf("a running job after terminate: %+v, %v", job, err)
	}
}

func (b *bench) write(t *testing.T, number int64, text string) {
	t.Helper()
	if err := os.MkdirAll(b.files.Dir(number), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.files.Dir(number), "output"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTailAndOutputByState(t *testing.T) {
	b := newBench(t)
	job := b.submit(t)
	ref := JobRef{Number: job.Number}
	_, err := b.Tail(t.Context(), b.ada, ref, 0)
	wantError(t, err, berth.NotFound, "Running job is not found")
	b.apply(t, job.Number, berth.EventPlaced)
	if got, err := readAll(b.Tail(t.Context(), b.ada, ref, 0)); err != nil || got != "" {
		t.Errorf("tail of a job that begins: %q, %v", got, err)
	}
	b.apply(t, job.Number, berth.EventWaiting)
	_, err = b.Tail(t.Context(), b.ada, ref, 0)
	wantError(t, err, berth.NotFound, "Running job is not found")
	b.apply(t, job.Number, berth.EventStarted)
	b.write(t, job.Number, "one\ntwo\n")
	if got, err := readAll(b.Tail(t.Context(), b.ada, ref, 1)); err != nil || got != "two\n" {
		t.Errorf("tail %q, %v", got, err)
	}
	_, err = b.Output(t.Context(), b.ada, ref, 0)
	wantError(t, err, berth.NotFound, "Finished job is not found")
	b.apply(t, job.Number, berth.EventEnded)
	if got, err := readAll(b.Output(t.Context(), b.ada, ref, 0)); err != nil || got != "one\ntwo\n" {
		t.Errorf("output %q, %v", got, err)
	}
	_, err = b.Tail(t.Context(), b.ada, ref, 1)
	wantError(t, err, berth.NotFound, "Running job is not found")
}

// TestFollowFromBeforeTheStart opens the output of a queued job: the reader gets all of it and ends with the job.
func TestFollowFromBeforeTheStart(t *testing.T) {
	b := newBench(t)
	job := b.submit(t)
	r, err := b.OpenOutput(t.Context(), b.ada, JobRef{Number: job.Number}, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := make(chan string, 1)
	go func() {
		text, err := io.ReadAll(r)
		got <- fmt.Sprintf("%s %v", text, err)
	}()
	b.write(t, job.Number, "text")
	b.apply(t, job.Number, berth.EventPlaced, berth.EventStarted, berth.EventEnded)
	if text := <-got; text != "text <nil>" {
		t.Errorf("followed %q", text)
	}
}

func TestWait(t *testing.T) {
	b := newBench(t)
	job := b.submit(t)
	ended := make(chan berth.Job, 1)
	go func() {
		job, err := b.Wait(t.Context(), b.ada, JobRef{Number: job.Number})
		if err != nil {
			t.Error(err)
		}
		ended <- job
	}()
	b.apply(t, job.Number, berth.EventPlaced, berth.EventStarted, berth.EventEnded)
	if job := <-ended; job.State != berth.StateCompleted {
		t.Errorf("Wait returned a job that is %s", job.State)
	}
	other := b.submit(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if job, err := b.Wait(ctx, b.ada, JobRef{Number: other.Number}); err == nil && job.State != berth.StateQueued {
		t.Errorf("a Wait that ends early: %+v, %v", job, err)
	}
}

func TestJobsByState(t *testing.T) {
	b := newBench(t)
	queued, running, done, later := b.submit(t), b.submit(t), b.submit(t), b.submit(t)
	b.apply(t, running.Number, berth.EventPlaced, berth.EventStarted)
	b.apply(t, done.Number, berth.EventPlaced, berth.EventStarted, berth.EventEnded)
	b.apply(t, later.Number, berth.EventTerminateRequested)
	for name, test := range map[string]struct {
		filter JobsFilter
		want   []int64
	}{
		"by default what has not ended": {JobsFilter{}, []int64{queued.Number, running.Number}},
		"ended":                         {JobsFilter{Ended: true}, []int64{done.Number, later.Number}},
		"all":                           {JobsFilter{All: true}, []int64{queued.Number, running.Number, done.Number, later.Number}},
	} {
		t.Run(name, func(t *testing.T) {
			jobs, err := listed(b.Jobs(t.Context(), b.ada, test.filter))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, numbers(jobs)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// listed is a whole listing.
func listed(jobs iter.Seq2[berth.Job, error]) (all []berth.Job, err error) {
	for job, err := range jobs {
		if err != nil {
			return all, err
		}
		all = append(all, job)
	}
	return all, nil
}

// ending is a store in which something happens whenever jobs were listed.
type ending struct {
	Store
	end func(filter store.Filter)
}

func (e *ending) Jobs(ctx context.Context, filter store.Filter) ([]berth.Job, error) {
	jobs, err := e.Store.Jobs(ctx, filter)
	e.end(filter)
	return jobs, err
}

// TestJobsThatEndWhileTheyAreListed are there once, and no more of them are read together than fit into memory many times.
func TestJobsThatEndWhileTheyAreListed(t *testing.T) {
	e := &ending{end: func(store.Filter) {}}
	b := newBench(t, func(c *Config) { e.Store, c.Store = c.Store, e })
	var want []int64
	for range maxEnded + 2*jobsPage {
		want = append(want, b.submit(t).Number)
	}
	reads := 0
	e.end = func(filter store.Filter) {
		if filter.Limit < 1 || filter.Limit > jobsPage {
			t.Errorf("%d jobs are read together", filter.Limit)
		}
		for _, number := range []int64{filter.After, filter.After + 1, filter.After + jobsPage + 1} {
			if err := b.Terminate(t.Context(), b.ada, JobRef{Number: number}); err != nil && berth.KindOf(err) == "" {
				t.Error(err)
			}
		}
		reads++
	}
	jobs, err := listed(b.Jobs(t.Context(), b.ada, JobsFilter{All: true}))
	if diff := cmp.Diff(want, numbers(jobs)); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if pages := len(want)/jobsPage + 2; reads > pages {
		t.Errorf("%d reads, want at most %d", reads, pages)
	}
}

// TestEndedJobsOfLongAgo are not listed.
func TestEndedJobsOfLongAgo(t *testing.T) {
	b := newBench(t)
	waiting := b.submit(t)
	var ended []int64
	for range maxEnded + 1 {
		job := b.submit(t)
		b.apply(t, job.Number, berth.EventTerminateRequested)
		ended = append(ended, job.Number)
	}
	for name, test := range map[string]struct {
		filter JobsFilter
		want   []int64
	}{
		"ended": {JobsFilter{Ended: true}, ended[1:]},
		"all":   {JobsFilter{All: true}, append([]int64{waiting.Number}, ended[1:]...)},
	} {
		jobs, err := listed(b.Jobs(t.Context(), b.ada, test.filter))
		if diff := cmp.Diff(test.want, numbers(jobs)); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func numbers(jobs []berth.Job) (all []int64) {
	for _, job := range jobs {
		all = append(all, job.Number)
	}
	return all
}
