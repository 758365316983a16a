package store_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

// appJob is the job of an application with a run and a token of the hash.
func appJob(owner, suffix, hash string) store.NewJob {
	job := newJob(owner, suffix)
	job.Job.Submission.App, job.Job.Submission.Command = "app", "Run"
	job.Run = &berth.Run{
		Argv: []string{"/bin/echo", "a b"}, Variables: []berth.Setting{{Key: "B", Value: "2"}, {Key: "A", Value: "1"}},
		Env: map[string]string{"E": "e"}, Files: []berth.File{{Path: "/opt/x", Data: []byte{0, 255, 'x'}, Executable: true}},
		Init: true, VerboseInit: true, Interactive: true, URL: "http://x", Password: "geheim", Random: "zufall", Token: "schein",
	}
	if hash != "" {
		job.Token = store.NewToken{Key: berth.Key{ID: "id" + hash, Label: "token", Created: submitted.Truncate(time.Microsecond)}, Hash: hash}
	}
	return job
}

// TestRunEndsWithTheJob: what a job runs and its token are there until its end, whatever the end is, and not a moment longer.
func TestRunEndsWithTheJob(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		createUser(t, s, berth.User{Name: "alice", Billing: true})
		ends := map[string][]berth.EventKind{
			"canceled":  {berth.EventTerminateRequested},
			"completed": {berth.EventPlaced, berth.EventStarted, berth.EventEnded},
			"refused":   {berth.EventPlaced, berth.EventRefused},
		}
		for name, kinds := range ends {
			newJob := appJob("alice", name, "hash-of-"+name)
			job, _, err := s.CreateJob(t.Context(), newJob)
			if err != nil {
				t.Fatal(err)
			}
			for _, kind := range kinds {
				wantRun(t, s, job, newJob)
				happen(t, s, job.Number, kind)
			}
			if run, found, err := s.Run(t.Context(), job.Number); found || err != nil {
				t.Errorf("%s: the run outlives the job: %+v, %v", name, run, err)
			}
			if _, _, err := s.UserByKey(t.Context(), "hash-of-"+name); berth.KindOf(err) != berth.NotFound {
				t.Errorf("%s: the token outlives the job: %v", name, err)
			}
		}
		if _, key, err := s.UserByKey(t.Context(), "hash-alice"); key.Job != 0 || err != nil {
			t.Errorf("the key of a person: %+v, %v", key, err)
		}
	})
}

// wantRun checks that what a job runs and its token are there.
func wantRun(t *testing.T, s *store.Store, job berth.Job, want store.NewJob) {
	t.Helper()
	run, found, err := s.Run(t.Context(), job.Number)
	if diff := cmp.Diff(*want.Run, run); diff != "" || !found || err != nil {
		t.Errorf("run of %s: %v, %v\n%s", job.Name, found, err, diff)
	}
	user, key, err := s.UserByKey(t.Context(), want.Token.Hash)
	if user.Name != job.Owner || key.Job != job.Number || key.User != job.Owner || err != nil {
		t.Errorf("the token of %s is %+v of %s, %v", job.Name, key, user.Name, err)
	}
}

func happen(t *testing.T, s *store.Store, number int64, kind berth.EventKind) {
	t.Helper()
	_, err := s.Apply(t.Context(), number, berth.Event{
		Kind: kind, At: submitted, By: "alice", Attempt: berth.NewAttempt(number, "x"), Hosts: []string{"h"},
		Exit: berth.Exit{Known: true, Ran: true},
	})
	if err != nil {
		t.Fatal(kind, err)
	}
}

// TestTokensAreNobodysKeys: tokens are in no listing and end with their job only.
func TestTokensAreNobodysKeys(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		createUser(t, s, berth.User{Name: "alice"})
		for _, suffix := range []string{"AAAAA", "BBBBB"} {
			if _, _, err := s.CreateJob(t.Context(), appJob("alice", suffix, "hash-of-"+suffix)); err != nil {
				t.Fatal(err)
			}
		}
		keys, err := s.Keys(t.Context(), "alice")
		if err != nil || len(keys) != 1 || keys[0].ID != "alice" {
			t.Errorf("keys %+v, %v", keys, err)
		}
		err = s.RevokeKey(t.Context(), "alice", "idhash-of-AAAAA", acted(berth.ActKeyRevoked, "alice"))
		wantKind(t, "revoking a token", err, berth.NotFound)
		forged := keyOf("alice", "forged")
		forged.Job = 1
		if err := s.AddKey(t.Context(), forged, "hash-forged", acted(berth.ActKeyAdded, "alice")); err != nil {
			t.Fatal(err)
		}
		happen(t, s, 1, berth.EventTerminateRequested)
		if _, key, err := s.UserByKey(t.Context(), "hash-forged"); err != nil || key.Job != 0 {
			t.Errorf("a person's key is that of job %d, %v", key.Job, err)
		}
		if _, _, err := s.UserByKey(t.Context(), "hash-of-BBBBB"); err != nil {
			t.Error("the end of a job took the token of another:", err)
		}
	})
}

// TestRunOrNothing: a job that is refused leaves no run and no token behind, and a repeated one gets no second.
func TestRunOrNothing(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		createUser(t, s, berth.User{Name: "alice"})
		first := appJob("alice", "AAAAA", "first")
		first.Idempotency = store.Idempotency{Key: "k", Hash: "h"}
		job, _, err := s.CreateJob(t.Context(), first)
		if err != nil {
			t.Fatal(err)
		}
		again := appJob("alice", "BBBBB", "again")
		again.Idempotency = first.Idempotency
		if repeated, created, err := s.CreateJob(t.Context(), again); created || repeated.Number != job.Number || err != nil {
			t.Errorf("the repetition is job %d, %v, %v", repeated.Number, created, err)
		}
		_, _, err = s.CreateJob(t.Context(), appJob("alice", "AAAAA", "taken"))
		wantKind(t, "a name that is taken", err, berth.Conflict)
		_, _, err = s.CreateJob(t.Context(), appJob("alice", "CCCCC", "first"))
		wantKind(t, "a token that is there", err, berth.Conflict)
		batch := newJob("alice", "DDDDD")
		batch.Run = first.Run
		if _, _, err = s.CreateJob(t.Context(), batch); err == nil {
			t.Error("a batch job takes a run, which nothing would delete")
		}
		for _, hash := range []string{"again", "taken"} {
			if _, _, err := s.UserByKey(t.Context(), hash); berth.KindOf(err) != berth.NotFound {
				t.Errorf("there is a token of a job that is not: %v", err)
			}
		}
		if _, found, err := s.Run(t.Context(), job.Number+1); found || err != nil {
			t.Errorf("there is a run of a job that is not: %v", err)
		}
	})
}

// TestParametersOfAnyBytes: both databases take parameters that are no UTF-8.
func TestParametersOfAnyBytes(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		createUser(t, s, berth.User{Name: "alice"})
		job := appJob("alice", "AAAAA", "")
		job.Job.Submission.Parameters = map[string]json.RawMessage{"a\xff": json.RawMessage("\"\xff\\u0000\""), "n": json.RawMessage(" 1 ")}
		created, _, err := s.CreateJob(t.Context(), job)
		if err != nil {
			t.Fatal(err)
		}
		read, err := s.Job(t.Context(), created.Number)
		want := map[string]json.RawMessage{"a\uFFFD": json.RawMessage("\"\uFFFD\\u0000\""), "n": json.RawMessage("1")}
		if diff := cmp.Diff(want, read.Submission.Parameters); diff != "" || err != nil {
			t.Errorf("%v\n%s", err, diff)
		}
	})
}
