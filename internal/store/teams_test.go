package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

func createTeam(t testing.TB, s *store.Store, name, payer string) {
	t.Helper()
	if err := s.CreateTeam(t.Context(), berth.Team{Name: name, Payer: payer}, acted(berth.ActTeamAdded, name)); err != nil {
		t.Fatal(err)
	}
}

// join brings a user to a team.
func join(t testing.TB, s *store.Store, user, team string) {
	t.Helper()
	if _, err := s.ChangeUser(t.Context(), user, berth.UserChange{Team: &team}, acted(berth.ActUserChanged, user)); err != nil {
		t.Fatal(err)
	}
}

// openWithUsers opens a store with users in no team, all of whom may submit but carol.
func openWithUsers(t *testing.T, dsn string) *store.Store {
	t.Helper()
	s := open(t, store.Config{DSN: dsn})
	for _, name := range []string{"alice", "bob", "carol"} {
		createUser(t, s, berth.User{Name: name, Billing: name != "carol"})
	}
	return s
}

func checkUser(t *testing.T, s *store.Store, want berth.User) {
	t.Helper()
	got, err := s.User(t.Context(), want.Name)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestTeams(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := openWithUsers(t, dsn)
		createTeam(t, s, "red", "bob")
		join(t, s, "alice", "red")
		createTeam(t, s, "blue", "carol")
		checkMembers(t, s, "red", "alice", "bob")
		checkUser(t, s, berth.User{Name: "alice", Billing: true, Team: "red", Payer: "bob"})
		checkUser(t, s, berth.User{Name: "carol", Team: "blue", Payer: "carol", PayerStopped: true})
		checkTeams(t, s, berth.Team{Name: "blue", Payer: "carol"}, berth.Team{Name: "red", Payer: "bob"})
	})
}

func TestTeamEnds(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := openWithUsers(t, dsn)
		createTeam(t, s, "red", "bob")
		join(t, s, "alice", "red")
		if err := s.ChangeTeam(t.Context(), berth.Team{Name: "red", Payer: "alice"}, acted(berth.ActTeamChanged, "red")); err != nil {
			t.Fatal(err)
		}
		join(t, s, "bob", "") // it does not pay any more
		checkMembers(t, s, "red", "alice")
		checkTeams(t, s, berth.Team{Name: "red", Payer: "alice"})
		if err := s.RemoveTeam(t.Context(), "red", acted(berth.ActTeamRemoved, "red")); err != nil {
			t.Fatal(err)
		}
		checkMembers(t, s, "red")
		checkUser(t, s, berth.User{Name: "alice", Billing: true})
		if _, err := s.Team(t.Context(), "red"); berth.KindOf(err) != berth.NotFound {
			t.Errorf("a removed team: %v, want NotFound", err)
		}
		createTeam(t, s, "red", "bob")
		if err := s.RemoveTeam(t.Context(), "red", acted(berth.ActTeamRemoved, "red")); err != nil {
			t.Fatal(err)
		}
		// Who leads a new team of that name would get the job.
		job := newJob("alice", "AAAAA")
		job.Job.Team = "red"
		create(t, s, job)
		before := lastRecord(t, s)
		err := s.CreateTeam(t.Context(), berth.Team{Name: "red", Payer: "bob"}, acted(berth.ActTeamAdded, "red"))
		if berth.KindOf(err) != berth.Conflict || lastRecord(t, s) != before {
			t.Errorf("a team that inherits a job: %v, want Conflict", err)
		}
	})
}

// checkTeams holds that there are these teams and no others.
func checkTeams(t *testing.T, s *store.Store, want ...berth.Team) {
	t.Helper()
	teams, err := s.Teams(t.Context())
	if diff := cmp.Diff(want, teams); diff != "" || err != nil {
		t.Errorf("teams: %v (-want +got):\n%s", err, diff)
	}
	for _, team := range want {
		if got, err := s.Team(t.Context(), team.Name); err != nil || got != team {
			t.Errorf("team %+v, %v; want %+v", got, err, team)
		}
	}
}

func checkMembers(t *testing.T, s *store.Store, team string, want ...string) {
	t.Helper()
	users, err := s.Users(t.Context(), team)
	var names []string
	for _, u := range users {
		names = append(names, u.Name)
	}
	if diff := cmp.Diff(want, names); diff != "" || err != nil {
		t.Errorf("members of %s: %v (-want +got):\n%s", team, err, diff)
	}
}

func TestTeamsRefuse(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := openWithUsers(t, dsn)
		createTeam(t, s, "red", "alice")
		join(t, s, "bob", "red")
		before := lastRecord(t, s)
		act := acted(berth.ActTeamChanged, "red")
		for what, test := range map[string]struct {
			err  error
			want berth.Kind
		}{
			"create: the name":        {s.CreateTeam(t.Context(), berth.Team{Name: "red", Payer: "carol"}, act), berth.Conflict},
			"create: no such payer":   {s.CreateTeam(t.Context(), berth.Team{Name: "blue", Payer: "dora"}, act), berth.Invalid},
			"create: other team":      {s.CreateTeam(t.Context(), berth.Team{Name: "blue", Payer: "bob"}, act), berth.Conflict},
			"change: no such team":    {s.ChangeTeam(t.Context(), berth.Team{Name: "blue", Payer: "bob"}, act), berth.NotFound},
			"change: no such payer":   {s.ChangeTeam(t.Context(), berth.Team{Name: "red", Payer: "dora"}, act), berth.Invalid},
			"change: no member":       {s.ChangeTeam(t.Context(), berth.Team{Name: "red", Payer: "carol"}, act), berth.Invalid},
			"remove: no such team":    {s.RemoveTeam(t.Context(), "blue", act), berth.NotFound},
			"remove: bob is in it":    {s.RemoveTeam(t.Context(), "red", act), berth.Conflict},
			"remove: odd bytes":       {s.RemoveTeam(t.Context(), "r\x00\xff", act), berth.NotFound},
			"read: no such team, odd": {second(s.Team(t.Context(), "r\x00\xff")), berth.NotFound},
		} {
			if berth.KindOf(test.err) != test.want {
				t.Errorf("%s: %v, want %s", what, test.err, test.want)
			}
		}
		if team, err := s.Team(t.Context(), "red"); err != nil || team.Payer != "alice" {
			t.Errorf("%+v, %v", team, err)
		}
		checkMembers(t, s, "red", "alice", "bob")
		if after := lastRecord(t, s); after != before {
			t.Errorf("the log went from %d to %d by what was refused", before, after)
		}
	})
}

func second[T any](_ T, err error) error { return err }
