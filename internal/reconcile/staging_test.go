package reconcile

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/staging"
	"github.com/berth-hpc/berth/internal/store"
)

// scriptedStager does as it is told.
type scriptedStager struct {
	in  func(context.Context, staging.Transfer) error
	out func(context.Context, staging.Transfer) (string, error)
}

func (s scriptedStager) In(ctx context.Context, t staging.Transfer) error { return s.in(ctx, t) }

func (s scriptedStager) Out(ctx context.Context, t staging.Transfer) (string, error) {
	return s.out(ctx, t)
}

// untilEnded waits for the end of ctx.
func untilEnded(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// newStagingBench has an object vault of ada, and a stager that moves nothing and is content.
func newStagingBench(t *testing.T) (*bench, *scriptedStager) {
	t.Helper()
	b := newBench(t)
	err := b.store.CreateVault(t.Context(), berth.Vault{
		Owner: "ada", Name: "bucket", Kind: berth.VaultObject, Bucket: berth.Bucket{Endpoint: "https://s3.example.org", Prefix: "p/"},
	}, berth.Credentials{AccessKey: "access", SecretKey: "secret"}, store.VaultLimits{}, berth.Act{Kind: berth.ActVaultAdded, By: berth.ByServer})
	if err != nil {
		t.Fatal(err)
	}
	s := &scriptedStager{
		in:  func(context.Context, staging.Transfer) error { return nil },
		out: func(context.Context, staging.Transfer) (string, error) { return "", nil },
	}
	b.cfg.Stager = s
	return b, s
}

func inBucket(job *berth.Job) {
	job.Submission.Vault = berth.VaultRequest{Name: "bucket", Bucket: "results", Objects: []string{"a", "b/"}}
}

func TestDataIsBroughtAndCopiedBack(t *testing.T) {
	b, s := newStagingBench(t)
	var brought, back staging.Transfer
	s.in = func(_ context.Context, t staging.Transfer) error {
		brought = t
		t.Tell("halfway")
		return os.WriteFile(t.Manifest, nil, 0o600)
	}
	s.out = func(_ context.Context, t staging.Transfer) (string, error) {
		back = t
		t.Tell("nearly")
		return "", nil
	}
	defer b.run(t)()
	job := b.place(t, "exit 0", inBucket, func(job *berth.Job) { job.Submission.Identity = &berth.Identity{UID: 7, GID: 8} })
	b.until(t, job.Number, func(job berth.Job) bool { return job.Wait == berth.WaitStagingIn && job.WaitDetail == "halfway" })
	staged := b.until(t, job.Number, func(job berth.Job) bool { return job.WaitDetail == "nearly" })
	if staged.State != berth.StateStagingOut || staged.Wait != berth.WaitStagingOut || staged.End.Reason != berth.EndExited {
		t.Errorf("while it was copied back: %+v", staged)
	}
	job = b.until(t, job.Number, ended)
	if job.State != berth.StateCompleted {
		t.Errorf("state %s, end %+v", job.State, job.End)
	}
	b.checkClean(t, job)
	want := staging.Transfer{
		Bucket:      berth.Bucket{Endpoint: "https://s3.example.org", Name: "results", Prefix: "p/"},
		Credentials: berth.Credentials{AccessKey: "access", SecretKey: "secret"}, Objects: []string{"a", "b/"},
		Data: filepath.Join(b.vaults.Scratch, job.Attempt), Manifest: filepath.Join(b.files.Dir(job.Number), manifestFile), UID: 7, GID: 8,
	}
	for _, got := range []staging.Transfer{brought, back} {
		got.Tell = nil
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("transfer (-want +got):\n%s", diff)
		}
	}
}

// TestWhatIsNotCopiedBack: nothing when the job was terminated, or may not write, or nobody knows how it ended.
func TestWhatIsNotCopiedBack(t *testing.T) {
	tests := map[string]struct {
		script string
		change func(*berth.Job)
		wish   berth.EventKind
		reason berth.EndReason
		kept   bool
	}{
		"terminated":         {"sleep 1000", nil, berth.EventTerminateRequested, berth.EndTerminated, false},
		"the walltime":       {"sleep 1000", func(job *berth.Job) { job.Submission.Walltime = time.Millisecond }, "", berth.EndWalltime, false},
		"read-only":          {"exit 0", func(job *berth.Job) { job.Submission.Vault.ReadOnly = true }, "", berth.EndExited, false},
		"an end not known":   {"# fake: unknown-exit\nexit 0", nil, "", berth.EndLost, true},
		"an ephemeral vault": {"exit 0", func(job *berth.Job) { job.Submission.Vault.Name = berth.EphemeralVault }, "", berth.EndExited, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b, s := newStagingBench(t)
			s.out = func(context.Context, staging.Transfer) (string, error) {
				t.Error("something was copied back")
				return "", nil
			}
			defer b.run(t)()
			job := b.place(t, test.script, inBucket, func(job *berth.Job) {
				if test.change != nil {
					test.change(job)
				}
			})
			if test.wish != "" {
				b.until(t, job.Number, in(berth.StateRunning))
				b.apply(t, job.Number, berth.Event{Kind: test.wish, By: "ada"})
			}
			job = b.until(t, job.Number, ended)
			if job.End.Reason != test.reason {
				t.Errorf("end %+v, want %s", job.End, test.reason)
			}
			if _, kept, err := b.store.Kept(t.Context(), job.Number); err != nil || kept != test.kept {
				t.Errorf("kept %v, %v", kept, err)
			}
			if !test.kept {
				b.checkClean(t, job)
			}
		})
	}
}

// TestWhatCouldNotBeCopiedBackIsKept until somebody has it saved or dropped.
func TestWhatCouldNotBeCopiedBackIsKept(t *testing.T) {
	for _, wish := range []berth.KeptWish{berth.KeptWishSave, berth.KeptWishDrop} {
		t.Run(string(wish), func(t *testing.T) {
			b, s := newStagingBench(t)
			results := make(chan string, 3)
			var judged []bool
			s.out = func(_ context.Context, t staging.Transfer) (string, error) {
				judged = append(judged, t.Judged)
				return <-results, nil
			}
			results <- "2 files could not be copied: a, b"
			stop := b.run(t)
			job := b.until(t, b.place(t, "exit 0", inBucket).Number, ended)
			stop()
			if job.State != berth.StateFailed || job.End.Reason != berth.EndNotSaved || job.End.ExitCode != 0 ||
				!strings.HasPrefix(job.End.Detail, "2 files could not be copied: a, b; it is kept on the server: berth vault save 1") {
				t.Errorf("state %s, end %+v", job.State, job.End)
			}
			b.renew() // a server that comes again keeps it, too
			b.cfg.Stager = s
			stop = b.run(t)
			kept := berth.Kept{Number: job.Number, Wish: berth.KeptWishSave}
			results <- "1 file could not be copied: b"
			b.wish(t, kept)
			b.awaitKept(t, job, func(kept berth.Kept, found bool) bool { return found && kept.Detail == "1 file could not be copied: b" })
			if _, err := os.Stat(filepath.Join(b.vaults.Scratch, job.Attempt)); err != nil {
				t.Errorf("the data is gone: %v", err)
			}
			kept.Wish = wish
			if wish == berth.KeptWishSave {
				results <- ""
			}
			b.wish(t, kept)
			b.awaitKept(t, job, func(_ berth.Kept, found bool) bool { return !found })
			b.checkClean(t, job)
			stop()
			if judged[0] || slices.Contains(judged[1:], false) {
				t.Errorf("judged %v; want it when somebody wishes it, and else not", judged)
			}
		})
	}
}

func (b *bench) wish(t *testing.T, kept berth.Kept) {
	t.Helper()
	if err := b.store.WishKept(t.Context(), kept.Number, kept.Wish, berth.Act{Kind: berth.ActKeptWished, By: "ada"}); err != nil {
		t.Fatal(err)
	}
	b.Look(kept.Number)
}

// awaitKept waits until the kept data of a job is as wanted.
func (b *bench) awaitKept(t *testing.T, job berth.Job, wanted func(berth.Kept, bool) bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) { // nothing tells of it
		kept, found, err := b.store.Kept(t.Context(), job.Number)
		if err != nil {
			t.Fatal(err)
		}
		if wanted(kept, found) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("kept %+v, %v", kept, found)
		}
	}
}

// TestWhoEndsAJobEndsItsTransfers, and drops what was not copied back.
func TestWhoEndsAJobEndsItsTransfers(t *testing.T) {
	tests := map[string]struct {
		script func(*scriptedStager)
		wait   berth.Wait
		state  berth.State
	}{
		"in": {func(s *scriptedStager) {
			s.in = func(ctx context.Context, t staging.Transfer) error {
				t.Tell("waiting")
				return untilEnded(ctx)
			}
		}, berth.WaitStagingIn, berth.StateCanceled},
		"out": {func(s *scriptedStager) {
			s.out = func(ctx context.Context, t staging.Transfer) (string, error) {
				t.Tell("waiting")
				return "", untilEnded(ctx)
			}
		}, berth.WaitStagingOut, berth.StateTerminated},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b, s := newStagingBench(t)
			test.script(s)
			defer b.run(t)()
			job := b.place(t, "exit 0", inBucket)
			b.until(t, job.Number, func(job berth.Job) bool { return job.Wait == test.wait && job.WaitDetail == "waiting" })
			b.apply(t, job.Number, berth.Event{Kind: berth.EventTerminateRequested, By: "ada"})
			if job = b.until(t, job.Number, ended); job.State != test.state || job.End.By != "ada" {
				t.Errorf("state %s, end %+v", job.State, job.End)
			}
			b.checkClean(t, job)
		})
	}
}

// TestAServerThatStopsGoesOnLater with what it was moving.
func TestAServerThatStopsGoesOnLater(t *testing.T) {
	b, s := newStagingBench(t)
	s.out = func(ctx context.Context, t staging.Transfer) (string, error) {
		t.Tell("waiting")
		return "", untilEnded(ctx)
	}
	stop := b.run(t)
	job := b.place(t, "exit 3", inBucket)
	b.until(t, job.Number, func(job berth.Job) bool { return job.WaitDetail == "waiting" })
	stop()
	s.out = func(context.Context, staging.Transfer) (string, error) { return "", nil }
	b.renew()
	b.cfg.Stager = s
	defer b.run(t)()
	if job = b.until(t, job.Number, ended); job.State != berth.StateFailed || job.End.Reason != berth.EndExited || job.End.ExitCode != 3 {
		t.Errorf("state %s, end %+v", job.State, job.End)
	}
	b.checkClean(t, job)
}

func TestAJobThatCannotHaveItsData(t *testing.T) {
	tests := map[string]struct {
		prepare func(*testing.T, *bench, *scriptedStager)
		vault   string
		want    string
	}{
		"a refusal": {func(_ *testing.T, _ *bench, s *scriptedStager) {
			s.in = func(context.Context, staging.Transfer) error { return &staging.Refused{Text: "no such object"} }
		}, "bucket", "no such object"},
		"no vault":   {func(*testing.T, *bench, *scriptedStager) {}, "gone", "the vault gone is not there any more"},
		"not shared": {shareNoMore, "bucket@bob", "the vault bucket@bob is not shared with the team of the job any more"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b, s := newStagingBench(t)
			test.prepare(t, b, s)
			defer b.run(t)()
			job := b.place(t, "exit 0", inBucket, func(job *berth.Job) { job.Submission.Vault.Name = test.vault })
			job = b.until(t, job.Number, ended)
			if job.State != berth.StateCanceled || job.End.Reason != berth.EndRefused || job.End.Detail != test.want {
				t.Errorf("state %s, end %+v", job.State, job.End)
			}
			b.checkClean(t, job)
		})
	}
}

// shareNoMore makes a vault of bob that nobody else may use.
func shareNoMore(t *testing.T, b *bench, _ *scriptedStager) {
	t.Helper()
	act := berth.Act{Kind: berth.ActUserAdded, By: berth.ByServer}
	err := b.store.CreateUser(t.Context(), store.NewUser{
		User: berth.User{Name: "bob"}, Vaults: []berth.Vault{{Name: "bucket", Kind: berth.VaultFile, Path: t.TempDir()}},
	}, act)
	if err != nil {
		t.Fatal(err)
	}
}
