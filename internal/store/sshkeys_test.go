package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

func sshKeyOf(user, name string, after time.Duration) berth.SSHKey {
	return berth.SSHKey{
		User: user, Fingerprint: "SHA256:" + name, Line: "ssh-ed25519 " + name, Comment: name + "@laptop",
		Added: submitted.Add(after).Truncate(time.Microsecond),
	}
}

// TestSSHKeysMigrated: users of before are there, and can have keys.
func TestSSHKeysMigrated(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		err := store.MigrateTo(t.Context(), dsn, 3,
			`INSERT INTO users (name, email, admin, disabled, billing) VALUES ('ada', 'ada@example.org', FALSE, FALSE, TRUE)`)
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, store.Config{DSN: dsn})
		want := sshKeyOf("ada", "a", 0)
		if err := s.AddSSHKey(t.Context(), want, 1, acted(berth.ActSSHKeyAdded, "ada")); err != nil {
			t.Fatal(err)
		}
		user, err := s.User(t.Context(), "ada")
		if err != nil || user.Email != "ada@example.org" || !user.Billing {
			t.Errorf("the user is %+v, %v", user, err)
		}
		keys, err := s.SSHKeys(t.Context(), "ada")
		if diff := cmp.Diff([]berth.SSHKey{want}, keys); diff != "" || err != nil {
			t.Errorf("keys: %v (-want +got):\n%s", err, diff)
		}
	})
}

func TestSSHKeys(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		createUser(t, s, berth.User{Name: "alice"})
		createUser(t, s, berth.User{Name: "bob"})
		const limit = 2
		add := func(key berth.SSHKey) error {
			return s.AddSSHKey(t.Context(), key, limit, acted(berth.ActSSHKeyAdded, key.User))
		}
		remove := func(user, name string) error {
			return s.RemoveSSHKey(t.Context(), user, "SHA256:"+name, acted(berth.ActSSHKeyRemoved, user))
		}
		first, second := sshKeyOf("alice", "z", 0), sshKeyOf("alice", "a", time.Hour)
		for _, test := range []struct {
			what string
			do   func() error
			want berth.Kind
		}{
			{"first", func() error { return add(first) }, ""},
			{"again", func() error { return add(first) }, berth.Conflict},
			{"second", func() error { return add(second) }, ""},
			{"too many", func() error { return add(sshKeyOf("alice", "c", 0)) }, berth.LimitReached},
			{"another's", func() error { return add(sshKeyOf("bob", "z", 0)) }, ""},
			{"nobody's", func() error { return add(sshKeyOf("carol", "z", 0)) }, berth.NotFound},
			{"removed", func() error { return remove("bob", "z") }, ""},
			{"removed again", func() error { return remove("bob", "z") }, berth.NotFound},
			{"odd bytes", func() error { return remove("b\x00\xff", "\x00") }, berth.NotFound},
		} {
			before := lastRecord(t, s)
			err := test.do()
			if berth.KindOf(err) != test.want {
				t.Errorf("%s: %v, want %q", test.what, err, test.want)
			}
			if logged := lastRecord(t, s) != before; logged != (err == nil) {
				t.Errorf("%s: %v, and the log has it: %v", test.what, err, logged)
			}
		}
		for user, want := range map[string][]berth.SSHKey{"alice": {first, second}, "bob": nil, "carol": nil} {
			keys, err := s.SSHKeys(t.Context(), user)
			if diff := cmp.Diff(want, keys); diff != "" || err != nil {
				t.Errorf("keys of %s: %v (-want +got):\n%s", user, err, diff)
			}
		}
	})
}

// TestSSHKeysOfADisabledUser: they are kept, and nobody gets them before the user is let in again.
func TestSSHKeysOfADisabledUser(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		createUser(t, s, berth.User{Name: "alice"})
		key := sshKeyOf("alice", "a", 0)
		if err := s.AddSSHKey(t.Context(), key, 1, acted(berth.ActSSHKeyAdded, "alice")); err != nil {
			t.Fatal(err)
		}
		for _, disabled := range []bool{true, false} {
			change := berth.UserChange{Disabled: &disabled}
			if _, err := s.ChangeUser(t.Context(), "alice", change, acted(berth.ActUserChanged, "alice")); err != nil {
				t.Fatal(err)
			}
			keys, err := s.SSHKeys(t.Context(), "alice")
			if err != nil || slices.Contains(keys, key) == disabled {
				t.Errorf("disabled %t: %+v, %v", disabled, keys, err)
			}
		}
	})
}
