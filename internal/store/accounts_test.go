package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

// acted is an act of the administrator.
func acted(kind berth.ActKind, subject string) berth.Act {
	return berth.Act{Kind: kind, At: submitted, By: "root", From: "192.0.2.7", Subject: subject}
}

// keyOf is a key of a user, whose hash is the ID with "hash-" before it.
func keyOf(user, id string) berth.Key {
	return berth.Key{ID: id, User: user, Created: submitted.Truncate(time.Microsecond)}
}

// createUser stores a user with the key of its name.
func createUser(t testing.TB, s *store.Store, u berth.User, vaults ...berth.Vault) {
	t.Helper()
	user := store.NewUser{User: u, Key: keyOf(u.Name, u.Name), KeyHash: "hash-" + u.Name, Vaults: vaults}
	if err := s.CreateUser(t.Context(), user, acted(berth.ActUserAdded, u.Name)); err != nil {
		t.Fatal(err)
	}
}

func TestUsers(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		alice := berth.User{Name: "alice", Email: "alice@example.org", Admin: true, Billing: true}
		bob := berth.User{Name: "bob", Disabled: true}
		createUser(t, s, bob)
		createUser(t, s, alice)
		byName, err := s.User(t.Context(), "alice")
		if diff := cmp.Diff(alice, byName); diff != "" || err != nil {
			t.Errorf("user: %v\n%s", err, diff)
		}
		byKey, key, err := s.UserByKey(t.Context(), "hash-bob")
		if diff := cmp.Diff(bob, byKey) + cmp.Diff(keyOf("bob", "bob"), key); diff != "" || err != nil {
			t.Errorf("user by key: %v\n%s", err, diff)
		}
		byID, key, err := s.UserByKeyID(t.Context(), "bob")
		if diff := cmp.Diff(bob, byID) + cmp.Diff(keyOf("bob", "bob"), key); diff != "" || err != nil {
			t.Errorf("user by the ID of a key: %v\n%s", err, diff)
		}
		if _, _, err := s.UserByKeyID(t.Context(), "hash-bob"); berth.KindOf(err) != berth.NotFound {
			t.Errorf("the ID of no key: %v", err)
		}
		users, err := s.Users(t.Context(), "")
		if diff := cmp.Diff([]berth.User{alice, bob}, users); diff != "" || err != nil {
			t.Errorf("users: %v\n%s", err, diff)
		}
	})
}

// TestUserConflict holds that a user is stored with everything or not at all.
func TestUserConflict(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		createUser(t, s, berth.User{Name: "alice"})
		before := lastRecord(t, s)
		for what, test := range map[string]struct {
			user store.NewUser
			want berth.Kind
		}{
			"same name": {store.NewUser{User: berth.User{Name: "alice"}, Key: keyOf("", "c"), KeyHash: "hash-c"}, berth.Conflict},
			"same key":  {store.NewUser{User: berth.User{Name: "carol"}, Key: keyOf("", "c"), KeyHash: "hash-alice"}, berth.Conflict},
			"same id":   {store.NewUser{User: berth.User{Name: "carol"}, Key: keyOf("", "alice"), KeyHash: "hash-c"}, berth.Conflict},
			"no team":   {store.NewUser{User: berth.User{Name: "carol", Team: "absent"}, Key: keyOf("", "c"), KeyHash: "hash-c"}, berth.Invalid},
		} {
			err := s.CreateUser(t.Context(), test.user, acted(berth.ActUserAdded, "carol"))
			if berth.KindOf(err) != test.want {
				t.Errorf("%s: %v, want %s", what, err, test.want)
			}
		}
		if _, err := s.User(t.Context(), "carol"); berth.KindOf(err) != berth.NotFound {
			t.Errorf("the user of a refused key: %v, want NotFound", err)
		}
		if _, _, err := s.UserByKey(t.Context(), "hash-c"); berth.KindOf(err) != berth.NotFound {
			t.Errorf("the key of a refused user: %v, want NotFound", err)
		}
		if after := lastRecord(t, s); after != before {
			t.Errorf("the log went from %d to %d by what was refused", before, after)
		}
	})
}

func lastRecord(t testing.TB, s *store.Store) int64 {
	t.Helper()
	id, err := s.LastRecord(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestChangeUser(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		for _, name := range []string{"alice", "bob"} {
			createUser(t, s, berth.User{Name: name, Billing: true})
		}
		createUser(t, s, berth.User{Name: "root", Admin: true}) // so that bob is not the last one
		createTeam(t, s, "red", "alice")
		mail, yes, no, red, none := "b@example.org", true, false, "red", ""
		steps := []struct {
			name   string
			change berth.UserChange
			want   berth.User
		}{
			{"bob", berth.UserChange{}, berth.User{Name: "bob", Billing: true}},
			{"bob", berth.UserChange{Email: &mail, Admin: &yes}, berth.User{Name: "bob", Email: mail, Admin: true, Billing: true}},
			{
				"bob",
				berth.UserChange{Team: &red, TeamAdmin: &yes, Admin: &no},
				berth.User{Name: "bob", Email: mail, Billing: true, Team: "red", TeamAdmin: true, Payer: "alice"},
			},
			{
				"alice",
				berth.UserChange{Billing: &no, Team: &red},
				berth.User{Name: "alice", Team: "red", Payer: "alice", PayerStopped: true},
			},
			{
				"alice",
				berth.UserChange{Billing: &yes, Disabled: &yes},
				berth.User{Name: "alice", Billing: true, Disabled: true, Team: "red", Payer: "alice", PayerStopped: true},
			},
			{
				"bob",
				berth.UserChange{Email: &none},
				berth.User{Name: "bob", Billing: true, Team: "red", TeamAdmin: true, Payer: "alice", PayerStopped: true},
			},
			{"bob", berth.UserChange{Team: &none}, berth.User{Name: "bob", Billing: true}},
		}
		for i, step := range steps {
			got, err := s.ChangeUser(t.Context(), step.name, step.change, acted(berth.ActUserChanged, step.name))
			if diff := cmp.Diff(step.want, got); diff != "" || err != nil {
				t.Errorf("step %d: %v (-want +got):\n%s", i, err, diff)
			}
			byName, err := s.User(t.Context(), step.name)
			byKey, _, keyErr := s.UserByKey(t.Context(), "hash-"+step.name)
			if diff := cmp.Diff(step.want, byName) + cmp.Diff(step.want, byKey); diff != "" || err != nil || keyErr != nil {
				t.Errorf("step %d stored: %v, %v (-want +got):\n%s", i, err, keyErr, diff)
			}
		}
	})
}

func TestChangeUserRefuses(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		for _, name := range []string{"alice", "bob"} {
			createUser(t, s, berth.User{Name: name})
		}
		createTeam(t, s, "red", "alice")
		before := lastRecord(t, s)
		yes, absent, none := true, "absent", ""
		for what, test := range map[string]struct {
			user   string
			change berth.UserChange
			want   berth.Kind
		}{
			"no such user":          {"carol", berth.UserChange{Admin: &yes}, berth.NotFound},
			"no such team":          {"bob", berth.UserChange{Team: &absent, Admin: &yes}, berth.Invalid},
			"administrator of none": {"bob", berth.UserChange{TeamAdmin: &yes, Admin: &yes}, berth.Invalid},
			"the payer leaves":      {"alice", berth.UserChange{Team: &none, Admin: &yes}, berth.Conflict},
		} {
			_, err := s.ChangeUser(t.Context(), test.user, test.change, acted(berth.ActUserChanged, test.user))
			if berth.KindOf(err) != test.want {
				t.Errorf("%s: %v, want %s", what, err, test.want)
			}
		}
		for _, name := range []string{"alice", "bob"} {
			if u, err := s.User(t.Context(), name); err != nil || u.Admin {
				t.Errorf("a refused change has changed %+v, %v", u, err)
			}
		}
		if after := lastRecord(t, s); after != before {
			t.Errorf("the log went from %d to %d by what was refused", before, after)
		}
	})
}

// TestAnAdministratorStays: whoever is the last one that can log in and act cannot be shut out.
func TestAnAdministratorStays(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		for _, user := range []berth.User{{Name: "root", Admin: true}, {Name: "off", Admin: true, Disabled: true}, {Name: "bob"}} {
			createUser(t, s, user)
		}
		keyless := store.NewUser{User: berth.User{Name: "keyless", Admin: true}}
		if err := s.CreateUser(t.Context(), keyless, acted(berth.ActUserAdded, "keyless")); err != nil {
			t.Fatal(err)
		}
		reads, expired := keyOf("root", "reads"), keyOf("root", "expired")
		reads.ReadOnly, expired.Expires = true, submitted
		for _, key := range []berth.Key{reads, expired} {
			if err := s.AddKey(t.Context(), key, "hash-"+key.ID, acted(berth.ActKeyAdded, "root")); err != nil {
				t.Fatal(err)
			}
		}
		yes, no := true, false
		change := func(name string, change berth.UserChange) error {
			return second(s.ChangeUser(t.Context(), name, change, acted(berth.ActUserChanged, name)))
		}
		revoke := func(user, id string) error {
			return s.RevokeKey(t.Context(), user, id, acted(berth.ActKeyRevoked, user))
		}
		check := func(what string, err error, want berth.Kind) {
			t.Helper()
			if berth.KindOf(err) != want {
				t.Errorf("%s: %v, want %q", what, err, want)
			}
		}
		before := lastRecord(t, s)
		check("the last key is revoked", revoke("root", "root"), berth.Conflict)
		check("the last one is disabled", change("root", berth.UserChange{Disabled: &yes}), berth.Conflict)
		check("the last one is demoted", change("root", berth.UserChange{Admin: &no}), berth.Conflict)
		if after := lastRecord(t, s); after != before {
			t.Errorf("the log went from %d to %d by what was refused", before, after)
		}
		check("one without a key is demoted", change("keyless", berth.UserChange{Admin: &no}), "")
		check("a key for reading is revoked", revoke("root", "reads"), "")
		check("a user's only key is revoked", revoke("bob", "bob"), "")
		check("another can log in", change("off", berth.UserChange{Disabled: &no}), "")
		check("a key of one of two", revoke("root", "root"), "")
		check("the last key of the other", revoke("off", "off"), berth.Conflict)
	})
}

func TestKeys(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		createUser(t, s, berth.User{Name: "alice"})
		createUser(t, s, berth.User{Name: "bob"})
		second := berth.Key{
			ID: "second", User: "alice", Label: "laptop", ReadOnly: true,
			Created: submitted.Add(time.Hour).Truncate(time.Microsecond), Expires: submitted.Add(-time.Hour).Truncate(time.Microsecond),
		}
		if err := s.AddKey(t.Context(), second, "hash-second", acted(berth.ActKeyAdded, "alice")); err != nil {
			t.Fatal(err)
		}
		// Whether a key has expired is not for the store to say.
		user, key, err := s.UserByKey(t.Context(), "hash-second")
		if diff := cmp.Diff(second, key); diff != "" || err != nil || user.Name != "alice" {
			t.Errorf("user %q, %v (-want +got):\n%s", user.Name, err, diff)
		}
		checkKeys(t, s, keyOf("alice", "alice"), second)
		added, revoked := acted(berth.ActKeyAdded, "bob"), acted(berth.ActKeyRevoked, "alice")
		for _, test := range []struct {
			what string
			err  error
			want berth.Kind
		}{
			{"key is there", s.AddKey(t.Context(), keyOf("bob", "new"), "hash-alice", added), berth.Conflict},
			{"id is there", s.AddKey(t.Context(), keyOf("bob", "alice"), "hash-new", added), berth.Conflict},
			{"no such user", s.AddKey(t.Context(), keyOf("carol", "new"), "hash-new", added), berth.NotFound},
			{"no such key", s.RevokeKey(t.Context(), "alice", "absent", revoked), berth.NotFound},
			{"another's key", s.RevokeKey(t.Context(), "bob", "second", revoked), berth.NotFound},
			{"odd bytes", s.RevokeKey(t.Context(), "b\x00\xff", "\x00", revoked), berth.NotFound},
			{"revoked", s.RevokeKey(t.Context(), "alice", "alice", revoked), ""},
			{"revoked again", s.RevokeKey(t.Context(), "alice", "alice", revoked), berth.NotFound},
		} {
			if berth.KindOf(test.err) != test.want {
				t.Errorf("%s: %v, want %s", test.what, test.err, test.want)
			}
		}
		checkKeys(t, s, second)
		if _, _, err := s.UserByKey(t.Context(), "hash-alice"); berth.KindOf(err) != berth.NotFound {
			t.Errorf("a revoked key: %v, want NotFound", err)
		}
	})
}

func checkKeys(t *testing.T, s *store.Store, want ...berth.Key) {
	t.Helper()
	keys, err := s.Keys(t.Context(), "alice")
	if diff := cmp.Diff(want, keys); diff != "" || err != nil {
		t.Errorf("keys: %v (-want +got):\n%s", err, diff)
	}
}

func TestVaults(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		vaults := []berth.Vault{
			{Name: "ephemeral", Owner: "alice", Kind: berth.VaultEphemeral},
			{Name: "home", Owner: "alice", Kind: berth.VaultFile, Path: "/srv/alice"},
		}
		createUser(t, s, berth.User{Name: "alice"}, vaults...)
		createUser(t, s, berth.User{Name: "bob"})
		got, err := s.Vaults(t.Context(), "alice")
		if diff := cmp.Diff(vaults, got); diff != "" || err != nil {
			t.Errorf("vaults: %v\n%s", err, diff)
		}
		home, err := s.Vault(t.Context(), "alice", "home")
		if diff := cmp.Diff(vaults[1], home); diff != "" || err != nil {
			t.Errorf("vault: %v\n%s", err, diff)
		}
		if _, err := s.Vault(t.Context(), "bob", "home"); berth.KindOf(err) != berth.NotFound {
			t.Errorf("somebody else's vault: %v, want NotFound", err)
		}
	})
}

func TestMachines(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		n0 := berth.Machine{
			Name: "n0", Description: "small", Cores: 1, RAM: 1 << 40, GPUs: 1, ScaleMin: 1, ScaleMax: 2,
			Grace: 90 * time.Second, Scratch: 1 << 41, Personal: true, Price: 0.25, Position: 1,
		}
		n1 := berth.Machine{Name: "n1", Cores: 2, RAM: 2, ScaleMin: 1, ScaleMax: 1}
		if err := s.SetMachines(t.Context(), []berth.Machine{n0, n1}, acted(berth.ActMachineSet, "")); err != nil {
			t.Fatal(err)
		}
		n1.Cores, n1.Position, n1.Grace, n1.Scratch = 4, 2, time.Microsecond, 1
		if err := s.SetMachine(t.Context(), n1, acted(berth.ActMachineSet, "n1")); err != nil {
			t.Fatal(err)
		}
		bad := berth.Machine{Name: "n2", Cores: -1}
		if err := s.SetMachines(t.Context(), []berth.Machine{{Name: "n3", Cores: 1, RAM: 1, ScaleMin: 1, ScaleMax: 1}, bad}, acted(berth.ActMachineSet, "")); err == nil {
			t.Error("a machine type without cores was stored")
		}
		got, err := s.Machines(t.Context())
		if diff := cmp.Diff([]berth.Machine{n0, n1}, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		if err := s.RemoveMachine(t.Context(), "n0", acted(berth.ActMachineRemoved, "n0")); err != nil {
			t.Error(err)
		}
		if err := s.RemoveMachine(t.Context(), "n0", acted(berth.ActMachineRemoved, "n0")); berth.KindOf(err) != berth.NotFound {
			t.Errorf("removed again: %v, want NotFound", err)
		}
		if got, err := s.Machines(t.Context()); err != nil || len(got) != 1 || got[0].Name != "n1" {
			t.Errorf("left are %v, %v", got, err)
		}
		if got, want := acts(t, s), []string{"machine-removed n0", "machine-set n1", "machine-set n1", "machine-set n0"}; !cmp.Equal(got, want) {
			t.Errorf("acts %v, want %v", got, want)
		}
	})
}

// acts returns what was done, newest first.
func acts(t *testing.T, s *store.Store) []string {
	t.Helper()
	records, err := s.Audit(t.Context(), store.AuditFilter{})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, r := range records {
		all = append(all, fmt.Sprintf("%s %s", r.Act.Kind, r.Act.Subject))
	}
	return all
}
