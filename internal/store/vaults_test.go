package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

func objectVault(owner, name string) berth.Vault {
	return berth.Vault{
		Owner: owner, Name: name, Kind: berth.VaultObject,
		Bucket: berth.Bucket{Endpoint: "https://s3.example.org", Name: "b", Prefix: "p/", Region: "r", PathStyle: true, Trusted: true},
	}
}

var secret = berth.Credentials{AccessKey: "access", SecretKey: "secret"}

func createVault(t *testing.T, s *store.Store, v berth.Vault) {
	t.Helper()
	if err := s.CreateVault(t.Context(), v, secret, store.VaultLimits{}, acted(berth.ActVaultAdded, v.Name)); err != nil {
		t.Fatal(err)
	}
}

func TestVaultsOfAllKinds(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		data := berth.Vault{Owner: "alice", Name: "data", Kind: berth.VaultFile, Path: "/vaults/alice/data"}
		createUser(t, s, berth.User{Name: "alice"}, data)
		createUser(t, s, berth.User{Name: "bob"})
		createTeam(t, s, "red", "alice")
		bucket := objectVault("alice", "bucket")
		bucket.Default = true
		createVault(t, s, bucket)
		if all, err := s.Vaults(t.Context(), "alice"); err != nil || cmp.Diff([]berth.Vault{bucket, data}, all) != "" {
			t.Errorf("vaults: %v\n%s", err, cmp.Diff([]berth.Vault{bucket, data}, all))
		}
		wantDefault(t, s, "bucket")
		data.Default, data.Team, data.TeamReadOnly = true, "red", true
		if err := s.ChangeVault(t.Context(), data, nil, acted(berth.ActVaultChanged, "data")); err != nil {
			t.Fatal(err)
		}
		wantDefault(t, s, "data")
		shared, err := s.TeamVaults(t.Context(), "red", "bob")
		if diff := cmp.Diff([]berth.Vault{data}, shared); diff != "" || err != nil {
			t.Errorf("vaults of the team: %v\n%s", err, diff)
		}
		if own, err := s.TeamVaults(t.Context(), "red", "alice"); err != nil || len(own) != 0 {
			t.Errorf("vaults of the team without those of alice: %v, %v", own, err)
		}
		if err := s.RemoveTeam(t.Context(), "red", acted(berth.ActTeamRemoved, "red")); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Vault(t.Context(), "alice", "data"); err != nil || got.Team != "" || got.TeamReadOnly {
			t.Errorf("the vault of a team that is gone: %+v, %v", got, err)
		}
	})
}

// TestVaultsOfWhoLeavesATeam are not shared with it any more, nor with the next one; those of others are, and those of who stays.
func TestVaultsOfWhoLeavesATeam(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := openWithUsers(t, dsn)
		createTeam(t, s, "red", "bob")
		createTeam(t, s, "blue", "carol")
		join(t, s, "alice", "red")
		inRed := map[string]berth.Vault{}
		for _, owner := range []string{"alice", "bob"} {
			vault := objectVault(owner, "bucket")
			vault.Team, vault.TeamReadOnly = "red", true
			createVault(t, s, vault)
			inRed[owner] = vault
		}
		for _, next := range []string{"", "blue"} {
			join(t, s, "alice", "red")
			if err := s.ChangeVault(t.Context(), inRed["alice"], nil, acted(berth.ActVaultChanged, "bucket")); err != nil {
				t.Fatal(err)
			}
			if _, err := s.ChangeUser(t.Context(), "alice", berth.UserChange{Email: new("a@x")}, acted(berth.ActUserChanged, "alice")); err != nil {
				t.Fatal(err)
			}
			wantShared(t, s, "red", inRed["alice"], inRed["bob"])
			join(t, s, "alice", next)
			wantShared(t, s, "red", inRed["bob"])
			wantShared(t, s, "blue")
			// A change by somebody who looked before does not bring it back.
			if err := s.ChangeVault(t.Context(), inRed["alice"], nil, acted(berth.ActVaultChanged, "bucket")); berth.KindOf(err) != berth.Conflict {
				t.Errorf("a change of what was shared before: %v", err)
			}
			if got, err := s.Vault(t.Context(), "alice", "bucket"); err != nil || got.Team != "" || got.TeamReadOnly {
				t.Errorf("%+v, %v", got, err)
			}
		}
	})
}

func wantShared(t *testing.T, s *store.Store, team string, want ...berth.Vault) {
	t.Helper()
	got, err := s.TeamVaults(t.Context(), team, "")
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("vaults of %s: %v (-want +got):\n%s", team, err, diff)
	}
}

func TestChangedVaults(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		createUser(t, s, berth.User{Name: "alice"})
		bucket := objectVault("alice", "bucket")
		createVault(t, s, bucket)
		bucket.Bucket.Prefix = ""
		for _, want := range []berth.Credentials{secret, {AccessKey: "other"}} {
			if err := s.ChangeVault(t.Context(), bucket, &want, acted(berth.ActVaultChanged, "bucket")); err != nil {
				t.Fatal(err)
			}
			if got, err := s.VaultCredentials(t.Context(), "alice", "bucket"); err != nil || got != want {
				t.Errorf("credentials %v, %v", got, err)
			}
		}
		if got, err := s.Vault(t.Context(), "alice", "bucket"); err != nil || cmp.Diff(bucket, got) != "" {
			t.Errorf("vault: %v\n%s", err, cmp.Diff(bucket, got))
		}
	})
}

func wantDefault(t *testing.T, s *store.Store, want string) {
	t.Helper()
	if name, err := s.DefaultVault(t.Context(), "alice"); err != nil || name != want {
		t.Errorf("default vault %q, %v; want %s", name, err, want)
	}
}

func TestVaultsRefused(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		createUser(t, s, berth.User{Name: "alice"}, berth.Vault{Name: berth.EphemeralVault, Kind: berth.VaultEphemeral})
		wantDefault(t, s, berth.EphemeralVault)
		createVault(t, s, objectVault("alice", "bucket"))
		before := lastRecord(t, s)
		inTeam := objectVault("alice", "new")
		inTeam.Team = "absent"
		act := acted(berth.ActVaultAdded, "x")
		for what, test := range map[string]struct {
			err  error
			want berth.Kind
		}{
			"the same name":          {s.CreateVault(t.Context(), objectVault("alice", "bucket"), secret, store.VaultLimits{}, act), berth.Conflict},
			"of nobody":              {s.CreateVault(t.Context(), objectVault("carol", "bucket"), secret, store.VaultLimits{}, act), berth.NotFound},
			"for no team":            {s.CreateVault(t.Context(), inTeam, secret, store.VaultLimits{}, act), berth.Conflict},
			"too many":               {s.CreateVault(t.Context(), objectVault("alice", "new"), secret, store.VaultLimits{Vaults: 2}, act), berth.LimitReached},
			"a change of none":       {s.ChangeVault(t.Context(), objectVault("alice", "new"), nil, act), berth.NotFound},
			"the removal of none":    {s.RemoveVault(t.Context(), "alice", "new", act), berth.NotFound},
			"a change for no team":   {s.ChangeVault(t.Context(), berth.Vault{Owner: "alice", Name: "bucket", Team: "absent"}, nil, act), berth.Conflict},
			"the credentials of one": {second(s.VaultCredentials(t.Context(), "alice", "new")), berth.NotFound},
		} {
			if berth.KindOf(test.err) != test.want {
				t.Errorf("%s: %v, want %s", what, test.err, test.want)
			}
		}
		if after := lastRecord(t, s); after != before {
			t.Errorf("a refusal is in the log: %d", after)
		}
	})
}

// TestAVaultThatAJobUses stays until the job has ended.
func TestAVaultThatAJobUses(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		createUser(t, s, berth.User{Name: "alice"})
		createUser(t, s, berth.User{Name: "bob"})
		for i, called := range []string{"bucket", "bucket@alice"} {
			createVault(t, s, objectVault("alice", "bucket"))
			newJob := newJob([]string{"alice", "bob"}[i], called)
			newJob.Job.Submission.Vault.Name = called
			job := create(t, s, newJob)
			act := acted(berth.ActVaultRemoved, "bucket")
			if err := s.RemoveVault(t.Context(), "alice", "bucket", act); berth.KindOf(err) != berth.Conflict {
				t.Errorf("removed while %s of a job: %v", called, err)
			}
			lifeTo(t, s, job.Number, berth.StateCompleted)
			if err := s.RemoveVault(t.Context(), "alice", "bucket", act); err != nil {
				t.Errorf("not removed after the end: %v", err)
			}
		}
	})
}

func TestKeptData(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		createUser(t, s, berth.User{Name: "alice"})
		terminated, saved, failed := create(t, s, newJob("alice", "A")), create(t, s, newJob("alice", "B")), create(t, s, newJob("alice", "C"))
		for _, job := range []berth.Job{terminated, saved, failed} {
			lifeTo(t, s, job.Number, berth.StateStagingOut)
		}
		apply(t, s, terminated.Number, berth.Event{Kind: berth.EventTerminateRequested, At: submitted, By: "alice"})
		apply(t, s, terminated.Number, berth.Event{Kind: berth.EventStaged, At: submitted, Detail: "everything"})
		apply(t, s, saved.Number, berth.Event{Kind: berth.EventStaged, At: submitted})
		apply(t, s, failed.Number, berth.Event{Kind: berth.EventStaged, At: submitted, Detail: "two files"})
		kept := berth.Kept{Number: failed.Number, Owner: "alice", Detail: "two files"}
		wantKept(t, s, "", kept)
		wishKept(t, s, failed.Number, berth.KeptWishSave)
		kept.Wish = berth.KeptWishSave
		wantKept(t, s, "", kept)
		setKept(t, s, berth.Kept{Number: failed.Number, Detail: "one file"})
		kept.Wish, kept.Detail = berth.KeptWishNone, "one file"
		wantKept(t, s, "", kept)
		wishKept(t, s, failed.Number, berth.KeptWishDrop)
		setKept(t, s, berth.Kept{Number: failed.Number, Detail: "no file"}) // of a wish that is another one by now
		kept.Wish = berth.KeptWishDrop
		wantKept(t, s, "alice", kept)
		wantKept(t, s, "bob")
		if got, found, err := s.Kept(t.Context(), failed.Number); err != nil || !found || got != kept {
			t.Errorf("kept %+v, %v, %v", got, found, err)
		}
		for range 2 {
			if err := s.DeleteKept(t.Context(), failed.Number); err != nil {
				t.Fatal(err)
			}
		}
		if _, found, err := s.Kept(t.Context(), failed.Number); err != nil || found {
			t.Errorf("kept after all: %v, %v", found, err)
		}
		err := s.WishKept(t.Context(), failed.Number, berth.KeptWishSave, acted(berth.ActKeptWished, "3"))
		if berth.KindOf(err) != berth.NotFound {
			t.Errorf("a wish for what is gone: %v", err)
		}
	})
}

func wishKept(t *testing.T, s *store.Store, number int64, wish berth.KeptWish) {
	t.Helper()
	if err := s.WishKept(t.Context(), number, wish, acted(berth.ActKeptWished, "3")); err != nil {
		t.Fatal(err)
	}
}

func setKept(t *testing.T, s *store.Store, kept berth.Kept) {
	t.Helper()
	if err := s.SetKept(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
}

func wantKept(t *testing.T, s *store.Store, owner string, want ...berth.Kept) {
	t.Helper()
	got, err := s.AllKept(t.Context(), owner)
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" || err != nil {
		t.Errorf("kept data of %q: %v (-want +got):\n%s", owner, err, diff)
	}
}
