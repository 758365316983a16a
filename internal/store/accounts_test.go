package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

func TestUsers(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		alice := berth.User{Name: "alice", Admin: true, Billing: true}
		bob := berth.User{Name: "bob", Disabled: true}
		createUser(t, s, bob, "hash-b", nil)
		createUser(t, s, alice, "hash-a", nil)
		byName, err := s.User(t.Context(), "alice")
		if diff := cmp.Diff(alice, byName); diff != "" || err != nil {
			t.Errorf("user: %v\n%s", err, diff)
		}
		byKey, err := s.UserByKey(t.Context(), "hash-b")
		if diff := cmp.Diff(bob, byKey); diff != "" || err != nil {
			t.Errorf("user by key: %v\n%s", err, diff)
		}
		users, err := s.Users(t.Context())
		if diff := cmp.Diff([]berth.User{alice, bob}, users); diff != "" || err != nil {
			t.Errorf("users: %v\n%s", err, diff)
		}
	})
}

func createUser(t *testing.T, s *store.Store, u berth.User, keyHash string, vaults []berth.Vault) {
	t.Helper()
	if err := s.CreateUser(t.Context(), u, keyHash, vaults); err != nil {
		t.Fatal(err)
	}
}

// TestUserConflict holds that a user is stored with everything or not at all.
func TestUserConflict(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		createUser(t, s, berth.User{Name: "alice"}, "hash-a", nil)
		for what, err := range map[string]error{
			"same name": s.CreateUser(t.Context(), berth.User{Name: "alice"}, "hash-c", nil),
			"same key":  s.CreateUser(t.Context(), berth.User{Name: "carol"}, "hash-a", nil),
		} {
			if berth.KindOf(err) != berth.Conflict {
				t.Errorf("%s: %v, want Conflict", what, err)
			}
		}
		if _, err := s.User(t.Context(), "carol"); berth.KindOf(err) != berth.NotFound {
			t.Errorf("the user of a refused key: %v, want NotFound", err)
		}
		if _, err := s.UserByKey(t.Context(), "hash-c"); berth.KindOf(err) != berth.NotFound {
			t.Errorf("the key of a refused user: %v, want NotFound", err)
		}
	})
}

func TestVaults(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		vaults := []berth.Vault{
			{Name: "ephemeral", Owner: "alice", Kind: berth.VaultEphemeral},
			{Name: "home", Owner: "alice", Kind: berth.VaultFile, Path: "/srv/alice"},
		}
		createUser(t, s, berth.User{Name: "alice"}, "hash-a", vaults)
		createUser(t, s, berth.User{Name: "bob"}, "hash-b", nil)
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
		n0 := berth.Machine{Name: "n0", Description: "small", Cores: 1, RAM: 1 << 40, GPUs: 1, ScaleMin: 1, ScaleMax: 2, Price: 0.25, Position: 1}
		n1 := berth.Machine{Name: "n1", Cores: 2, RAM: 2, ScaleMin: 1, ScaleMax: 1}
		if err := s.SetMachines(t.Context(), []berth.Machine{n0, n1}); err != nil {
			t.Fatal(err)
		}
		n1.Cores, n1.Position = 4, 2
		if err := s.SetMachines(t.Context(), []berth.Machine{n1}); err != nil {
			t.Fatal(err)
		}
		got, err := s.Machines(t.Context())
		if diff := cmp.Diff([]berth.Machine{n0, n1}, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	})
}
