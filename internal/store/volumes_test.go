package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

func blockVault(owner, name string, size int64) berth.Vault {
	return berth.Vault{
		Owner: owner, Name: name, Kind: berth.VaultBlock, Path: "/volumes/" + name,
		Volume: berth.Volume{Size: size, Images: 1, Encrypted: true},
	}
}

func TestBlockVaults(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		createUser(t, s, berth.User{Name: "alice"})
		createUser(t, s, berth.User{Name: "bob"})
		createVault(t, s, objectVault("alice", "bucket"))
		act, limits := acted(berth.ActVaultAdded, "x"), store.VaultLimits{Size: 8 << 30}
		first, array, other := blockVault("alice", "a", 5<<30), blockVault("alice", "b", 3<<30), blockVault("bob", "c", 8<<30)
		array.Kind, array.Volume.Images, array.Volume.Encrypted = berth.VaultBlockArray, 4, false
		for _, v := range []berth.Vault{first, array, other} {
			if err := s.CreateVault(t.Context(), v, berth.Credentials{}, limits, act); err != nil {
				t.Fatal(err)
			}
		}
		for _, v := range []berth.Vault{blockVault("alice", "d", 1), blockVault("bob", "d", 1<<62)} {
			created, allowed := s.CreateVault(t.Context(), v, berth.Credentials{}, limits, act), s.VaultAllowed(t.Context(), v, limits)
			if berth.KindOf(created) != berth.LimitReached || berth.KindOf(allowed) != berth.LimitReached {
				t.Errorf("%d bytes more of %s: %v, %v", v.Volume.Size, v.Owner, created, allowed)
			}
		}
		if err := s.CreateVault(t.Context(), objectVault("bob", "bucket"), secret, store.VaultLimits{Size: 1}, act); err != nil {
			t.Errorf("a bucket of who has large block vaults: %v", err)
		}
		if err := s.VaultAllowed(t.Context(), first, store.VaultLimits{}); berth.KindOf(err) != berth.Conflict {
			t.Errorf("the same name: %v", err)
		}
		got, err := s.BlockVaults(t.Context())
		if diff := cmp.Diff([]berth.Vault{first, array, other}, got); diff != "" || err != nil {
			t.Errorf("block vaults: %v (-want +got):\n%s", err, diff)
		}
	})
}

// TestTheSchemaOfBlockVaults: what is no whole vault of its kind is not stored.
func TestTheSchemaOfBlockVaults(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		createUser(t, s, berth.User{Name: "alice"})
		pathless, sizeless, imageless := blockVault("alice", "a", 1), blockVault("alice", "a", 0), blockVault("alice", "a", 1)
		pathless.Path, imageless.Volume.Images = "", 0
		file := berth.Vault{Owner: "alice", Name: "a", Kind: berth.VaultFile, Path: "/a"}
		sized, encrypted := file, file
		sized.Volume, encrypted.Volume = berth.Volume{Size: 1, Images: 1}, berth.Volume{Encrypted: true}
		for what, v := range map[string]berth.Vault{
			"a block vault without path": pathless, "one without size": sizeless, "one without images": imageless,
			"a file vault with a size": sized, "a file vault that is encrypted": encrypted,
		} {
			if err := s.CreateVault(t.Context(), v, berth.Credentials{}, store.VaultLimits{}, acted(berth.ActVaultAdded, "a")); err == nil {
				t.Errorf("stored: %s", what)
			}
		}
		if err := s.CreateVault(t.Context(), file, berth.Credentials{}, store.VaultLimits{}, acted(berth.ActVaultAdded, "a")); err != nil {
			t.Errorf("a file vault: %v", err)
		}
	})
}

func TestVaultUnused(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		newJob := newJob("alice", "A")
		newJob.Job.Submission.Vault.Name = "home"
		job := create(t, s, newJob)
		if err := s.VaultUnused(t.Context(), "alice", "home"); berth.KindOf(err) != berth.Conflict {
			t.Errorf("with a job: %v", err)
		}
		if err := s.VaultUnused(t.Context(), "bob", "home"); err != nil {
			t.Errorf("somebody else's: %v", err)
		}
		lifeTo(t, s, job.Number, berth.StateCompleted)
		if err := s.VaultUnused(t.Context(), "alice", "home"); err != nil {
			t.Errorf("after the job: %v", err)
		}
	})
}

// TestVaultPassword: it is there until the job has started or ended, and not a moment longer.
func TestVaultPassword(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		want := func(number int64, want string) {
			t.Helper()
			if sealed, err := s.VaultPassword(t.Context(), number); sealed != want || err != nil {
				t.Errorf("password %q, %v; want %q", sealed, err, want)
			}
		}
		withPassword := func(name string) int64 {
			newJob := newJob("alice", name)
			newJob.Job.Submission.Vault = berth.VaultRequest{Name: "home", Kind: berth.VaultBlock}
			newJob.VaultPassword = "sealed " + name
			return create(t, s, newJob).Number
		}
		starts, refused := withPassword("A"), withPassword("B")
		lifeTo(t, s, starts, berth.StateStarting)
		want(starts, "sealed A")
		apply(t, s, starts, berth.Event{Kind: berth.EventStarted, At: submitted})
		want(starts, "")
		want(refused, "sealed B")
		apply(t, s, refused, berth.Event{Kind: berth.EventRefused, At: submitted, Detail: "no"})
		want(refused, "")
	})
}
