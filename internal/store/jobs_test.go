package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

var submitted = time.Date(2026, 5, 4, 12, 30, 0, 123456789, time.UTC)

// newJob is a job with a name that ends in unique.
func newJob(owner, unique string) store.NewJob {
	return store.NewJob{Job: berth.Job{
		Name: "20260504123000-" + unique + "-jarvice-batch-" + owner + "_s1", Owner: owner, Payer: owner, Wait: berth.WaitResources,
		Application: berth.BatchApplication, Command: berth.BatchCommand,
		Submission: berth.Submission{
			Container: berth.Container{Image: "alpine", JobScript: "echo <&> \u00e9"},
			Machine:   berth.MachineRequest{Type: "n0", Nodes: 1}, Vault: berth.VaultRequest{Name: "ephemeral"},
			Walltime: time.Hour,
		},
		Image: "docker.io/library/alpine:latest", Need: berth.Capacity{Cores: 2, RAM: 1 << 40, Slots: 1},
		Submitted: submitted,
	}}
}

func create(t testing.TB, s *store.Store, job store.NewJob) berth.Job {
	t.Helper()
	created, isNew, err := s.CreateJob(t.Context(), job)
	if err != nil || !isNew {
		t.Fatalf("CreateJob: new %v, error %v", isNew, err)
	}
	return created
}

func TestCreateJob(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		first := newJob("alice", "AAAAA")
		first.From, first.Job.Team, first.Job.Payer, first.Job.Grace = "192.0.2.1", "red", "bob", 5*time.Second
		first.Job.Price = 0.1
		want := first.Job
		want.Number, want.Version, want.State = 1, 1, berth.StateQueued
		want.Submitted = submitted.Truncate(time.Microsecond)

		got := create(t, s, first)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("created job (-want +got):\n%s", diff)
		}
		byNumber, err := s.Job(t.Context(), 1)
		if diff := cmp.Diff(want, byNumber); diff != "" || err != nil {
			t.Errorf("job by number: %v (-want +got):\n%s", err, diff)
		}
		byName, err := s.JobByName(t.Context(), want.Name)
		if diff := cmp.Diff(want, byName); diff != "" || err != nil {
			t.Errorf("job by name: %v (-want +got):\n%s", err, diff)
		}
		events, err := s.Events(t.Context(), 1, 0, 1000)
		wantEvents := []berth.Record{{
			ID: 1, Number: 1, Version: 1, State: berth.StateQueued,
			Event: berth.Event{Kind: berth.EventSubmitted, At: want.Submitted, By: "alice", From: "192.0.2.1"},
		}}
		if diff := cmp.Diff(wantEvents, events); diff != "" || err != nil {
			t.Errorf("events: %v (-want +got):\n%s", err, diff)
		}

		if second := create(t, s, newJob("bob", "BBBBB")); second.Number != 2 {
			t.Errorf("second job has number %d", second.Number)
		}
	})
}

func TestAbsentJob(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		_, byNumber := s.Job(t.Context(), 1)
		_, byName := s.JobByName(t.Context(), "x\x00\xff")
		_, applied := s.Apply(t.Context(), 1, berth.Event{Kind: berth.EventStopRequested, At: submitted, By: "alice"})
		for what, err := range map[string]error{"Job": byNumber, "JobByName": byName, "Apply": applied} {
			if berth.KindOf(err) != berth.NotFound {
				t.Errorf("%s: %v, want NotFound", what, err)
			}
		}
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Job(canceled, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("a canceled read says %v: not read is not absent", err)
		}
	})
}

func TestNameTaken(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		create(t, s, newJob("alice", "AAAAA"))
		_, _, err := s.CreateJob(t.Context(), newJob("alice", "AAAAA"))
		if berth.KindOf(err) != berth.Conflict || !errors.Is(err, store.ErrNameTaken) {
			t.Errorf("same name: %v, want Conflict and ErrNameTaken", err)
		}
		if next := create(t, s, newJob("alice", "BBBBB")); next.Number != 2 {
			t.Errorf("the refused job has used a number: the next one is %d", next.Number)
		}
	})
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		keyed := func(owner, unique, key, hash string) store.NewJob {
			job := newJob(owner, unique)
			job.Idempotency = store.Idempotency{Key: key, Hash: hash}
			return job
		}
		first := create(t, s, keyed("alice", "AAAAA", "k", "h"))

		again, created, err := s.CreateJob(t.Context(), keyed("alice", "BBBBB", "k", "h"))
		if diff := cmp.Diff(first, again); err != nil || created || diff != "" {
			t.Errorf("repeated: created %v, error %v (-want +got):\n%s", created, err, diff)
		}
		if _, _, err := s.CreateJob(t.Context(), keyed("alice", "CCCCC", "k", "other")); berth.KindOf(err) != berth.Conflict {
			t.Errorf("same key, other request: %v, want Conflict", err)
		}
		create(t, s, keyed("bob", "DDDDD", "k", "h")) // keys are the owner's

		found, ok, err := s.JobByIdempotencyKey(t.Context(), "alice", store.Idempotency{Key: "k", Hash: "h"})
		if err != nil || !ok || found.Number != first.Number {
			t.Errorf("by key: job %d, %v, %v", found.Number, ok, err)
		}
		if _, ok, err := s.JobByIdempotencyKey(t.Context(), "alice", store.Idempotency{Key: "absent"}); ok || err != nil {
			t.Errorf("by an absent key: %v, %v", ok, err)
		}
		if _, _, err := s.JobByIdempotencyKey(t.Context(), "alice", store.Idempotency{Key: "k", Hash: "x"}); berth.KindOf(err) != berth.Conflict {
			t.Errorf("by key with another hash: %v, want Conflict", err)
		}

		deleteKeys(t, s, submitted, 0)
		deleteKeys(t, s, submitted.Add(time.Hour), 1, 1, 0)
		create(t, s, keyed("alice", "EEEEE", "k", "other"))
	})
}

// deleteKeys deletes one key at a time, and holds that so many were.
func deleteKeys(t *testing.T, s *store.Store, before time.Time, want ...int) {
	t.Helper()
	for _, want := range want {
		if n, err := s.DeleteIdempotencyKeys(t.Context(), before, 1); n != want || err != nil {
			t.Errorf("deleted %d keys of before %v, %v; want %d", n, before, err, want)
		}
	}
}

func TestIdempotencyConcurrent(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		numbers := make([]int64, 32)
		err := concurrently(len(numbers), func(i int) error {
			job := newJob("alice", fmt.Sprintf("A%04d", i))
			job.Idempotency = store.Idempotency{Key: "k", Hash: "h"}
			created, _, err := s.CreateJob(t.Context(), job)
			numbers[i] = created.Number
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range numbers {
			if n != 1 {
				t.Fatalf("jobs %v, want 1 only", numbers)
			}
		}
	})
}

func TestPullSecret(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		job := newJob("alice", "AAAAA")
		job.PullSecret = "geheim"
		number := create(t, s, job).Number
		if secret, err := s.PullSecret(t.Context(), number); secret != "geheim" || err != nil {
			t.Errorf("secret %q, %v", secret, err)
		}
		if _, err := s.Apply(t.Context(), number, berth.Event{Kind: berth.EventRefused, At: submitted, Detail: "no"}); err != nil {
			t.Fatal(err)
		}
		if secret, err := s.PullSecret(t.Context(), number); secret != "" || err != nil {
			t.Errorf("secret %q, %v after the end", secret, err)
		}
	})
}

func TestUnstorableText(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		odd := newJob("alice", "AAAAA")
		odd.Job.Submission.Label = "a\x00b\xffc"
		odd.Job.Submission.Container.JobScript = "printf '\x00'"
		job := create(t, s, odd)
		got, err := s.Job(t.Context(), job.Number)
		if diff := cmp.Diff(job, got); diff != "" || err != nil {
			t.Errorf("%v (-returned +stored):\n%s", err, diff)
		}
		if got.Label() != "a\uFFFDb\uFFFDc" {
			t.Errorf("label %q", got.Label())
		}
		apply(t, s, job.Number, berth.Event{Kind: berth.EventPlaced, At: submitted, Attempt: "a", Hosts: []string{"h"}})
		ended := apply(t, s, job.Number, berth.Event{Kind: berth.EventEnded, At: submitted, Exit: berth.Exit{Known: true, Ran: true, Detail: "\xfe\x00"}})
		got, err = s.Job(t.Context(), job.Number)
		if diff := cmp.Diff(ended, got); diff != "" || err != nil {
			t.Errorf("%v (-returned +stored):\n%s", err, diff)
		}
	})
}

func apply(t testing.TB, s *store.Store, number int64, ev berth.Event) berth.Job {
	t.Helper()
	job, err := s.Apply(t.Context(), number, ev)
	if err != nil {
		t.Fatalf("apply %s to job %d: %v", ev.Kind, number, err)
	}
	return job
}

// lifeTo takes a new job to a state.
func lifeTo(t testing.TB, s *store.Store, number int64, state berth.State) {
	t.Helper()
	at := submitted
	next := func(ev berth.Event) {
		at = at.Add(time.Second)
		ev.At = at
		apply(t, s, number, ev)
	}
	if state == berth.StateCanceled {
		next(berth.Event{Kind: berth.EventStopRequested, By: "alice"})
	}
	if state == berth.StateQueued || state == berth.StateCanceled {
		return
	}
	next(berth.Event{Kind: berth.EventPlaced, Attempt: fmt.Sprintf("berth-%d-x", number), Hosts: []string{"host"}})
	if state == berth.StateStarting {
		return
	}
	next(berth.Event{Kind: berth.EventStarted})
	switch state {
	case berth.StateStopping:
		next(berth.Event{Kind: berth.EventStopping})
	case berth.StateStagingOut:
		next(berth.Event{Kind: berth.EventStaging, Exit: berth.Exit{Known: true, Ran: true}})
	case berth.StateCompleted:
		next(berth.Event{Kind: berth.EventEnded, Exit: berth.Exit{Known: true, Ran: true}})
	case berth.StateFailed:
		next(berth.Event{Kind: berth.EventEnded, Exit: berth.Exit{Known: true, Ran: true, Code: 3}})
	case berth.StateTerminated:
		next(berth.Event{Kind: berth.EventTerminateRequested, By: "alice"})
		next(berth.Event{Kind: berth.EventEnded, Exit: berth.Exit{Known: true, Ran: true, Code: 137, Signal: 9}})
	default: // running, and those above
	}
}

func TestApplyLife(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		job := create(t, s, newJob("alice", "AAAAA"))
		want := []berth.Record{{
			ID: 1, Number: 1, Version: 1, State: job.State, Event: berth.Event{Kind: berth.EventSubmitted, At: job.Submitted, By: "alice"},
		}}
		at := submitted
		for _, ev := range []berth.Event{
			{Kind: berth.EventWaiting, Wait: berth.WaitResources, Detail: "two jobs are before it"},
			{Kind: berth.EventPlaced, Attempt: "berth-1-x", Hosts: []string{"host"}},
			{Kind: berth.EventWaiting, Wait: berth.WaitImage, Detail: "12 MB"},
			{Kind: berth.EventStarted},
			{Kind: berth.EventActionRequested, By: "alice", From: "192.0.2.1", Detail: "snapshot"},
			{Kind: berth.EventSignaled, By: "alice", From: "192.0.2.1", Signal: berth.SignalSuspend},
			{Kind: berth.EventSignaled, By: "alice", Signal: berth.SignalContinue},
			{Kind: berth.EventSignaled, By: "alice", Signal: berth.SignalSuspend},
			{Kind: berth.EventStopRequested, By: "bob"},
			{Kind: berth.EventTerminateRequested, By: berth.WishByWalltime},
			{Kind: berth.EventStopping},
			{Kind: berth.EventEnded, Exit: berth.Exit{Known: true, Ran: true, Code: 137, Signal: 9, OutOfMemory: true, Detail: "d"}},
		} {
			at = at.Add(time.Second)
			ev.At = at
			truncated := ev
			truncated.At = at.Truncate(time.Microsecond)
			after, err := berth.Apply(job, truncated)
			if err != nil {
				t.Fatal(err)
			}
			after.Version++
			job = apply(t, s, 1, ev)
			if diff := cmp.Diff(after, job); diff != "" {
				t.Errorf("%s returned (-want +got):\n%s", ev.Kind, diff)
			}
			stored, err := s.Job(t.Context(), 1)
			if diff := cmp.Diff(after, stored); diff != "" || err != nil {
				t.Errorf("%s stored, %v (-want +got):\n%s", ev.Kind, err, diff)
			}
			want = append(want, berth.Record{ID: job.Version, Number: 1, Version: job.Version, State: job.State, Event: truncated})
		}
		events, err := s.Events(t.Context(), 1, 0, 1000)
		if diff := cmp.Diff(want, events); diff != "" || err != nil {
			t.Errorf("events: %v (-want +got):\n%s", err, diff)
		}
		if job.State != berth.StateTerminated || job.End.Reason != berth.EndWalltime {
			t.Errorf("ended as %s, %s", job.State, job.End.Reason)
		}
	})
}

func TestImpossibleEvent(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		job := create(t, s, newJob("alice", "AAAAA"))
		_, err := s.Apply(t.Context(), 1, berth.Event{Kind: berth.EventStarted, At: submitted})
		var refused *berth.StateError
		if !errors.As(err, &refused) || *refused != (berth.StateError{Number: 1, State: berth.StateQueued, Event: berth.EventStarted}) {
			t.Errorf("started while queued: %v", err)
		}
		got, err := s.Job(t.Context(), 1)
		if diff := cmp.Diff(job, got); diff != "" || err != nil {
			t.Errorf("the job has changed: %v\n%s", err, diff)
		}
	})
}

func TestReopen(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s, err := openStore(t.Context(), store.Config{DSN: dsn})
		if err != nil {
			t.Fatal(err)
		}
		want := create(t, s, newJob("alice", "AAAAA"))
		for range 2 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := s.CreateJob(t.Context(), newJob("alice", "BBBBB")); berth.KindOf(err) != berth.Unavailable {
			t.Errorf("after Close: %v, want Unavailable", err)
		}
		s = open(t, store.Config{DSN: dsn})
		got, err := s.Job(t.Context(), 1)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		if next := create(t, s, newJob("alice", "BBBBB")); next.Number != 2 {
			t.Errorf("next number %d", next.Number)
		}
	})
}

func TestBadDSN(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{"", "sqlite:", "mysql://x", "postgres://%zz", "sqlite:" + t.TempDir() + "/absent/berth.db"} {
		if s, err := openStore(t.Context(), store.Config{DSN: dsn}); err == nil {
			_ = s.Close()
			t.Errorf("%q was opened", dsn)
		}
	}
}

func TestPathNeedsNoEscapes(t *testing.T) {
	t.Parallel()
	dsn := "sqlite:" + t.TempDir() + "/a b?c=d#e%20f&.db"
	create(t, open(t, store.Config{DSN: dsn}), newJob("alice", "AAAAA"))
	if job, err := open(t, store.Config{DSN: dsn}).Job(t.Context(), 1); err != nil || !strings.Contains(job.Name, "AAAAA") {
		t.Errorf("job %q, %v", job.Name, err)
	}
}
