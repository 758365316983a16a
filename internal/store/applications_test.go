package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

func application(id, owner string) berth.Application {
	return berth.Application{
		ID: id, Owner: owner, Team: "red", Public: true, Certified: true, Image: "docker.io/library/alpine:latest",
		AppDef: `{"name":"Wasser & Eis"}`, Commands: []string{"Run", "B&t"}, AppDefVersion: 2, Price: 1.5,
		Created: submitted.Truncate(time.Microsecond), Updated: submitted.Add(time.Hour).Truncate(time.Microsecond),
	}
}

// addApplications adds applications, without a limit of their number.
func addApplications(t *testing.T, s *store.Store, apps ...berth.Application) {
	t.Helper()
	for _, app := range apps {
		if err := s.CreateApplication(t.Context(), app, 0, acted(berth.ActAppAdded, app.ID)); err != nil {
			t.Fatal(err)
		}
	}
}

func changeApplication(t *testing.T, s *store.Store, app berth.Application, guard store.ApplicationGuard) error {
	t.Helper()
	return s.ChangeApplication(t.Context(), app, guard, acted(berth.ActAppChanged, app.ID))
}

// heads are applications as listings have them.
func heads(apps ...berth.Application) []berth.Application {
	for i := range apps {
		apps[i].AppDef = ""
	}
	return apps
}

func TestApplications(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := openWithUsers(t, dsn)
		createTeam(t, s, "red", "bob")
		first, second := application("b-app", "alice"), application("a-app", "alice")
		addApplications(t, s, first, second)
		err := s.CreateApplication(t.Context(), first, 0, acted(berth.ActAppAdded, first.ID))
		wantKind(t, "the same ID", err, berth.Conflict)
		err = s.CreateApplication(t.Context(), application("c", "nobody"), 0, acted(berth.ActAppAdded, "c"))
		wantKind(t, "no such owner", err, berth.NotFound)
		wrong := application("c", "alice")
		wrong.Team = "blue"
		wantKind(t, "no such team", s.CreateApplication(t.Context(), wrong, 0, acted(berth.ActAppAdded, "c")), berth.Invalid)
		err = s.CreateApplication(t.Context(), application("c", "alice"), 2, acted(berth.ActAppAdded, "c"))
		wantKind(t, "one too many", err, berth.LimitReached)
		all, err := s.Applications(t.Context(), berth.User{Admin: true})
		if diff := cmp.Diff(heads(second, first), all); diff != "" || err != nil {
			t.Errorf("applications: %v\n%s", err, diff)
		}
		read := store.ApplicationGuard{Updated: first.Updated}
		first.Public, first.Certified, first.Team, first.Price = false, false, "", 0
		first.Commands, first.AppDefVersion = nil, 1
		first.Image, first.AppDef, first.Updated = "docker.io/library/other:1", `{}`, first.Updated.Add(time.Microsecond)
		if err := changeApplication(t, s, first, read); err != nil {
			t.Fatal(err)
		}
		wantKind(t, "a change of what is older", changeApplication(t, s, first, read), berth.Conflict)
		read.Updated, wrong.ID = first.Updated, first.ID
		wantKind(t, "a change to no team", changeApplication(t, s, wrong, read), berth.Invalid)
		first.Commands = []string{}
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
		wantKind(t, "changing it", changeApplication(t, s, first, read), berth.NotFound)
		wantKind(t, "removing it", s.RemoveApplication(t.Context(), first.ID, acted(berth.ActAppRemoved, first.ID)), berth.NotFound)
		if after := lastRecord(t, s); after != before {
			t.Errorf("the log went from %d to %d by what was refused", before, after)
		}
	})
}

// TestVisibleApplications holds that the selection is that of berth.Application.VisibleTo.
func TestVisibleApplications(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := openWithUsers(t, dsn)
		createTeam(t, s, "red", "bob")
		all := make([]berth.Application, 12)
		for i := range all {
			all[i] = application(fmt.Sprintf("app-%02d", i), []string{"alice", "bob", "carol"}[i%3])
			all[i].Team, all[i].Public = []string{"", "red"}[i/3%2], i >= 6
		}
		addApplications(t, s, all...)
		for _, user := range []berth.User{
			{}, {Name: "alice"}, {Name: "alice", Team: "red"}, {Name: "carol", Team: "blue"}, {Name: "nobody"}, {Name: "root", Admin: true},
		} {
			want := slices.DeleteFunc(slices.Clone(all), func(app berth.Application) bool { return !app.VisibleTo(user) })
			got, err := s.Applications(t.Context(), user)
			if diff := cmp.Diff(heads(want...), got); diff != "" || err != nil {
				t.Errorf("for %+v: %v\n%s", user, err, diff)
			}
		}
	})
}

// TestApplicationsOfARemovedTeam holds that they are not those of a team that gets the name later.
func TestApplicationsOfARemovedTeam(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := openWithUsers(t, dsn)
		createTeam(t, s, "red", "bob")
		app, other := application("app", "alice"), application("other", "alice")
		other.Team = ""
		addApplications(t, s, app, other)
		if err := s.RemoveTeam(t.Context(), "red", acted(berth.ActTeamRemoved, "red")); err != nil {
			t.Fatal(err)
		}
		createTeam(t, s, "red", "carol")
		err := changeApplication(t, s, app, store.ApplicationGuard{Updated: app.Updated})
		wantKind(t, "a change by who has read it before", err, berth.Conflict)
		for _, want := range []berth.Application{app, other} {
			got, err := s.Application(t.Context(), want.ID)
			if want.Team != "" {
				want.Team, want.Updated = "", want.Updated.Add(time.Microsecond)
			}
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%v\n%s", err, diff)
			}
		}
	})
}

func TestQueues(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := openWithUsers(t, dsn)
		createTeam(t, s, "red", "bob")
		app := application("app", "alice")
		addApplications(t, s, app)
		setMachines(t, s, "n0", "n1", "n9")
		set := func(q berth.Queue) error { return s.SetQueue(t.Context(), q, acted(berth.ActQueueSet, q.Name)) }
		small, large := berth.Queue{Name: "small", Machine: "n0", Size: 1}, berth.Queue{Name: "large", Application: "app", Machine: "n1", Size: 4}
		for _, q := range []berth.Queue{{Name: "small", Application: "app", Machine: "n9", Size: 9}, small, large} {
			if err := set(q); err != nil {
				t.Fatal(err)
			}
		}
		wantKind(t, "a queue on no machine type", set(berth.Queue{Name: "x", Application: "app", Machine: "absent", Size: 1}), berth.Invalid)
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
		guard := store.ApplicationGuard{Updated: app.Updated, NoQueue: true}
		wantKind(t, "changing what a queue runs", changeApplication(t, s, app, guard), berth.Conflict)
		if err := s.RemoveQueue(t.Context(), "large", acted(berth.ActQueueRemoved, "large")); err != nil {
			t.Error(err)
		}
		if err := changeApplication(t, s, app, guard); err != nil {
			t.Error("changing it when the queue is gone:", err)
		}
		if err := remove(); err != nil {
			t.Error("removing it when the queue is gone:", err)
		}
		_, err = s.Queue(t.Context(), "large")
		wantKind(t, "reading a removed queue", err, berth.NotFound)
		wantKind(t, "removing it", s.RemoveQueue(t.Context(), "large", acted(berth.ActQueueRemoved, "large")), berth.NotFound)
	})
}

func setMachines(t *testing.T, s *store.Store, names ...string) {
	t.Helper()
	for _, name := range names {
		machine := berth.Machine{Name: name, Cores: 1, RAM: 1, ScaleMin: 1, ScaleMax: 1}
		if err := s.SetMachine(t.Context(), machine, acted(berth.ActMachineSet, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMachinesOfQueues holds that a queue always has its machine type.
func TestMachinesOfQueues(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		setMachines(t, s, "n1")
		queue := berth.Queue{Name: "work", Machine: "n1", Size: 1}
		if err := s.SetQueue(t.Context(), queue, acted(berth.ActQueueSet, queue.Name)); err != nil {
			t.Fatal(err)
		}
		remove := func() error { return s.RemoveMachine(t.Context(), "n1", acted(berth.ActMachineRemoved, "n1")) }
		wantKind(t, "removing the machine type of a queue", remove(), berth.Conflict)
		if err := s.RemoveQueue(t.Context(), queue.Name, acted(berth.ActQueueRemoved, queue.Name)); err != nil {
			t.Fatal(err)
		}
		if err := remove(); err != nil {
			t.Error("when the queue is gone:", err)
		}
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
