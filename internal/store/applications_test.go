package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

func application(id, owner string) berth.Application {
	return berth.Application{
		ID: id, Owner: owner, Team: "red", Public: true, Certified: true, Image: "docker.io/library/alpine:latest",
		AppDef: `{"name":"Wasser & Eis"}`, Price: 1.5,
		Created: submitted.Truncate(time.Microsecond), Updated: submitted.Add(time.Hour).Truncate(time.Microsecond),
	}
}

func TestApplications(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		createUser(t, s, berth.User{Name: "alice"})
		first, second := application("b-app", "alice"), application("a-app", "alice")
		for _, app := range []berth.Application{first, second} {
			if err := s.CreateApplication(t.Context(), app, acted(berth.ActAppAdded, app.ID)); err != nil {
				t.Fatal(err)
			}
		}
		err := s.CreateApplication(t.Context(), first, acted(berth.ActAppAdded, first.ID))
		wantKind(t, "the same ID", err, berth.Conflict)
		err = s.CreateApplication(t.Context(), application("c", "nobody"), acted(berth.ActAppAdded, "c"))
		wantKind(t, "no such owner", err, berth.NotFound)
		all, err := s.Applications(t.Context())
		if diff := cmp.Diff([]berth.Application{second, first}, all); diff != "" || err != nil {
			t.Errorf("applications: %v\n%s", err, diff)
		}
		first.Public, first.Certified, first.Team, first.Price = false, false, "", 0
		first.Image, first.AppDef, first.Updated = "docker.io/library/other:1", `{}`, first.Updated.Add(time.Microsecond)
		if err := s.ChangeApplication(t.Context(), first, acted(berth.ActAppChanged, first.ID)); err != nil {
			t.Fatal(err)
		}
		got, err := s.Application(t.Context(), first.ID)
		if diff := cmp.Diff(first, got); diff != "" || err != nil {
			t.Errorf("changed application: %v\n%s", err, diff)
		}
		if err := s.RemoveApplication(t.Context(), first.ID, acted(berth.ActAppRemoved, first.ID)); err != nil {
			t.Fatal(err)
		}
		before := lastRecord(t, s)
		_, err = s.Application(t.Context(), first.ID)
		wantKind(t, "reading a removed one", err, berth.NotFound)
		wantKind(t, "changing it", s.ChangeApplication(t.Context(), first, acted(berth.ActAppChanged, first.ID)), berth.NotFound)
		wantKind(t, "removing it", s.RemoveApplication(t.Context(), first.ID, acted(berth.ActAppRemoved, first.ID)), berth.NotFound)
		if after := lastRecord(t, s); after != before {
			t.Errorf("the log went from %d to %d by what was refused", before, after)
		}
	})
}

func TestQueues(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		createUser(t, s, berth.User{Name: "alice"})
		app := application("app", "alice")
		if err := s.CreateApplication(t.Context(), app, acted(berth.ActAppAdded, app.ID)); err != nil {
			t.Fatal(err)
		}
		set := func(q berth.Queue) error { return s.SetQueue(t.Context(), q, acted(berth.ActQueueSet, q.Name)) }
		small, large := berth.Queue{Name: "small", Machine: "n0", Size: 1}, berth.Queue{Name: "large", Application: "app", Machine: "n1", Size: 4}
		for _, q := range []berth.Queue{{Name: "small", Application: "app", Machine: "n9", Size: 9}, small, large} {
			if err := set(q); err != nil {
				t.Fatal(err)
			}
		}
		wantKind(t, "a queue of no application", set(berth.Queue{Name: "x", Application: "absent", Machine: "n0", Size: 1}), berth.Invalid)
		all, err := s.Queues(t.Context())
		if diff := cmp.Diff([]berth.Queue{large, small}, all); diff != "" || err != nil {
			t.Errorf("queues: %v\n%s", err, diff)
		}
		one, err := s.Queue(t.Context(), "large")
		if diff := cmp.Diff(large, one); diff != "" || err != nil {
			t.Errorf("queue: %v\n%s", err, diff)
		}
		remove := func() error { return s.RemoveApplication(t.Context(), "app", acted(berth.ActAppRemoved, "app")) }
		wantKind(t, "removing the application of a queue", remove(), berth.Conflict)
		if err := s.RemoveQueue(t.Context(), "large", acted(berth.ActQueueRemoved, "large")); err != nil {
			t.Error(err)
		}
		if err := remove(); err != nil {
			t.Error("removing it when the queue is gone:", err)
		}
		_, err = s.Queue(t.Context(), "large")
		wantKind(t, "reading a removed queue", err, berth.NotFound)
		wantKind(t, "removing it", s.RemoveQueue(t.Context(), "large", acted(berth.ActQueueRemoved, "large")), berth.NotFound)
	})
}

func TestVariables(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		createUser(t, s, berth.User{Name: "alice"})
		createUser(t, s, berth.User{Name: "bob"})
		set := func(user, key, value string) error {
			return s.SetVariable(t.Context(), user, key, value, acted(berth.ActVariableSet, user))
		}
		for _, v := range [][3]string{
			{"alice", "A", "1"},
			{"alice", "B", "x"},
			{"alice", "B", "zwei\n\x00\xff"},
			{"alice", "C", "3"},
			{"alice", "C", ""},
			{"alice", "D", ""},
			{"bob", "A", "b"},
		} {
			if err := set(v[0], v[1], v[2]); err != nil {
				t.Fatal(err)
			}
		}
		wantKind(t, "a variable of nobody", set("nobody", "A", "1"), berth.NotFound)
		wantKind(t, "removing one of nobody", set("nobody", "A", ""), berth.NotFound)
		for user, want := range map[string]map[string]string{
			"alice": {"A": "1", "B": "zwei\n\uFFFD\uFFFD"}, "bob": {"A": "b"}, "nobody": {},
		} {
			got, err := s.Variables(t.Context(), user)
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("variables of %s: %v\n%s", user, err, diff)
			}
		}
	})
}

func wantKind(t *testing.T, what string, err error, kind berth.Kind) {
	t.Helper()
	if berth.KindOf(err) != kind {
		t.Errorf("%s: %v (%s), want %s", what, err, berth.KindOf(err), kind)
	}
}
