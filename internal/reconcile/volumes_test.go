package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/seal"
	"github.com/berth-hpc/berth/internal/store"
	"github.com/berth-hpc/berth/internal/volume"
)

// fakeVolumes attaches one volume, to one attempt that writes or to many that read.
type fakeVolumes struct {
	dir string

	mu       sync.Mutex
	attached map[string]volume.Request
	// before is called before each Attach, and its error returned; nil is nothing.
	before func(context.Context, volume.Request) error
	// used is how often Detach finds the mount still in use.
	used int
}

func (f *fakeVolumes) Attach(ctx context.Context, req volume.Request) (string, error) {
	if f.before != nil {
		if err := f.before(ctx, req); err != nil {
			return "", fmt.Errorf("attach: %w", err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for attempt, other := range f.attached {
		if attempt != req.Attempt && (!other.ReadOnly || !req.ReadOnly) {
			return "", fmt.Errorf("attach: %w", &volume.Busy{Attempts: []string{attempt}, Writer: !other.ReadOnly})
		}
	}
	f.attached[req.Attempt] = req
	return f.dir, nil
}

func (f *fakeVolumes) Detach(_ context.Context, attempt string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.used > 0 {
		f.used--
		return errors.New("target is busy")
	}
	delete(f.attached, attempt)
	return nil
}

func (f *fakeVolumes) Attempts() ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Keys(f.attached)), nil
}

// has says what an attempt has attached.
func (f *fakeVolumes) has(attempt string) (volume.Request, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	req, ok := f.attached[attempt]
	return req, ok
}

func (b *bench) unseal(sealed, purpose string) (string, error) {
	password, ok := strings.CutPrefix(sealed, "for "+purpose+": ")
	if !ok {
		return "", fmt.Errorf("unseal: %w", seal.ErrUnreadable)
	}
	return password, nil
}

// newVolumeBench has a block vault of ada, and an encrypted one.
func newVolumeBench(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	for _, name := range []string{"home", "secret"} {
		err := b.store.CreateVault(t.Context(), berth.Vault{
			Owner: "ada", Name: name, Kind: berth.VaultBlock, Path: "/volumes/" + name,
			Volume: berth.Volume{Size: 1 << 30, Images: 1, Encrypted: name == "secret"},
		}, berth.Credentials{}, store.VaultLimits{}, berth.Act{Kind: berth.ActVaultAdded, By: berth.ByServer})
		if err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// inBlock gives a job a block vault.
func inBlock(name string) func(*berth.Job) {
	return func(job *berth.Job) { job.Submission.Vault = berth.VaultRequest{Name: name, Kind: berth.VaultBlock} }
}

// placeWith places a job with a sealed password.
func (b *bench) placeWith(t *testing.T, sealed string) berth.Job {
	t.Helper()
	b.names++
	job := berth.Job{
		Name: fmt.Sprintf("20260101000000-%05d-x-ada_s1", b.names), Owner: "ada", Payer: "ada", Image: localImage,
		Need:       berth.Capacity{Cores: 1, RAM: 1 << 28, Slots: 1},
		Submission: berth.Submission{Container: berth.Container{Image: localImage, JobScript: "exit 0"}},
	}
	inBlock("secret")(&job)
	job.Submission.Vault.Force = true
	job, _, err := b.store.CreateJob(t.Context(), store.NewJob{Job: job, VaultPassword: sealed})
	if err != nil {
		t.Fatal(err)
	}
	return b.apply(t, job.Number, berth.Event{Kind: berth.EventPlaced, Attempt: berth.NewAttempt(job.Number, "x"), Hosts: []string{"host"}})
}

// recording tells what is started.
type recording struct {
	engine.Engine
	started chan<- engine.Attempt
}

func (r recording) Start(ctx context.Context, what engine.Attempt) error {
	r.started <- what
	return r.Engine.Start(ctx, what)
}

func TestABlockVaultIsAttached(t *testing.T) {
	b := newVolumeBench(t)
	started := make(chan engine.Attempt, 100)
	b.cfg.Engine = recording{b.engine, started}
	defer b.run(t)()
	job := b.place(t, "sleep 1000", inBlock("home"))
	b.until(t, job.Number, in(berth.StateRunning))
	want := volume.Request{Path: "/volumes/home", Attempt: job.Attempt}
	if got, ok := b.volumes.has(job.Attempt); !ok || got != want {
		t.Errorf("attached %+v, %v; want %+v", got, ok, want)
	}
	if diff := cmp.Diff([]engine.Mount{{Source: b.volumes.dir, Target: dataPath}}, (<-started).Mounts); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
	b.volumes.mu.Lock()
	b.volumes.used = 2 // something still looks at it when the job has ended
	b.volumes.mu.Unlock()
	b.apply(t, job.Number, berth.Event{Kind: berth.EventTerminateRequested, By: "ada"})
	job = b.until(t, job.Number, ended)
	if job.End.Reason != berth.EndTerminated {
		t.Errorf("end %+v", job.End)
	}
	b.checkClean(t, job)
}

func TestAnEncryptedVault(t *testing.T) {
	b := newVolumeBench(t)
	defer b.run(t)()
	got := make(chan volume.Request, 1)
	b.volumes.before = func(_ context.Context, req volume.Request) error {
		select {
		case got <- req:
		default:
		}
		return nil
	}
	job := b.until(t, b.placeWith(t, "for secret@ada: word").Number, ended)
	want := volume.Request{Path: "/volumes/secret", Attempt: job.Attempt, Force: true, Password: "word"}
	if req := <-got; req != want || job.State != berth.StateCompleted {
		t.Errorf("attached %+v, want %+v; the job ended as %+v", req, want, job.End)
	}
}

func TestBlockVaultsThatCannotBeHad(t *testing.T) {
	for name, test := range map[string]struct {
		sealed string
		err    error
		want   string
	}{
		"a wrong password":          {"for secret@ada: wrong", volume.ErrPassword, "the password of the vault secret is wrong"},
		"one of another server":     {"nonsense", nil, "the password of the vault secret can no longer be read, for it came to another server: submit the job again"},
		"one for another vault":     {"for home@ada: word", nil, "the password of the vault secret can no longer be read, for it came to another server: submit the job again"},
		"not closed properly":       {"for secret@ada: word", volume.ErrUnclean, `the filesystem of the vault secret was not closed properly: submit the job again with "force": true in its vault (berth: --vault-force), which repairs it`},
		"damaged":                   {"for secret@ada: word", volume.ErrDamaged, "the filesystem of the vault secret is damaged: ask an administrator of the server, whose log says more"},
		"a volume that is not here": {"for secret@ada: word", berth.Errorf(berth.NotFound, "The files of the vault are not there"), "The files of the vault are not there"},
		"a program is missing":      {"for secret@ada: word", berth.Errorf(berth.Unsupported, "The server lacks gocryptfs"), "The server lacks gocryptfs"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newVolumeBench(t)
			b.volumes.before = func(context.Context, volume.Request) error { return test.err }
			defer b.run(t)()
			job := b.until(t, b.placeWith(t, test.sealed).Number, ended)
			if job.End.Reason != berth.EndRefused || job.End.Detail != test.want {
				t.Errorf("end %+v, want %q", job.End, test.want)
			}
			if sealed, err := b.store.VaultPassword(t.Context(), job.Number); sealed != "" || err != nil {
				t.Errorf("the password is still there: %q, %v", sealed, err)
			}
		})
	}
}

// TestAVaultThatIsInUse: a job waits until the one before it has been cleaned up, or until files are transferred, and says for what.
func TestAVaultThatIsInUse(t *testing.T) {
	for attempt, want := range map[string]string{
		"berth-99-a":  "the vault home is still in use after job 99",
		volume.Server: "files of the vault home are being transferred",
	} {
		t.Run(attempt, func(t *testing.T) { testVaultInUse(t, attempt, want) })
	}
}

func testVaultInUse(t *testing.T, attempt, want string) {
	t.Helper()
	b := newVolumeBench(t)
	if _, err := b.volumes.Attach(t.Context(), volume.Request{Attempt: attempt}); err != nil {
		t.Fatal(err)
	}
	defer b.run(t)()
	job := b.place(t, "exit 0", inBlock("home"))
	waiting := b.until(t, job.Number, func(job berth.Job) bool { return job.Wait == berth.WaitVault })
	if waiting.State != berth.StateStarting || waiting.WaitDetail != want {
		t.Errorf("%s: %q, want %q", waiting.State, waiting.WaitDetail, want)
	}
	if err := b.volumes.Detach(t.Context(), attempt); err != nil {
		t.Fatal(err)
	}
	if job = b.until(t, job.Number, ended); job.State != berth.StateCompleted {
		t.Errorf("end %+v", job.End)
	}
	b.checkClean(t, job)
}

// TestARepairIsInterrupted by the wish for the job's end.
func TestARepairIsInterrupted(t *testing.T) {
	b := newVolumeBench(t)
	repairing := make(chan struct{}, 100)
	b.volumes.before = func(ctx context.Context, _ volume.Request) error {
		repairing <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	defer b.run(t)()
	job := b.place(t, "exit 0", inBlock("home"))
	<-repairing
	b.apply(t, job.Number, berth.Event{Kind: berth.EventTerminateRequested, By: "ada"})
	if job = b.until(t, job.Number, ended); job.End.Reason != berth.EndCanceled && job.End.Reason != berth.EndTerminated {
		t.Errorf("end %+v", job.End)
	}
	b.checkClean(t, job)
}

// TestAVolumeThatAKilledServerLeft is detached by the next one, when its job has ended.
func TestAVolumeThatAKilledServerLeft(t *testing.T) {
	b := newVolumeBench(t)
	job := b.place(t, "exit 0", inBlock("home"))
	stop := b.run(t)
	job = b.until(t, job.Number, ended)
	b.checkClean(t, job)
	stop()
	if _, err := b.volumes.Attach(t.Context(), volume.Request{Attempt: job.Attempt}); err != nil {
		t.Fatal(err)
	}
	b.renew()
	defer b.run(t)()
	b.checkClean(t, job)
}
