package blockfiles

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/vault"
	"github.com/berth-hpc/berth/internal/volume"
)

const (
	idle = 10 * time.Second
	// mounting is how long attaching and detaching take.
	mounting = 100 * time.Millisecond
	path     = "/volumes/volume-1"
)

// home is a vault of ada.
var home = berth.Vault{Owner: "ada", Name: "home", Kind: berth.VaultBlock, Path: path, Volume: berth.Volume{Size: 1 << 30, Images: 1}}

// fakeVolumes is one volume that keeps to the rules of claims.
type fakeVolumes struct {
	t   *testing.T
	dir string

	mu     sync.Mutex
	claims map[string]volume.Request
	// open is how many trees the test has open, which must not lose their volume.
	open int
	// fails is what Attach returns, busy what DetachFrom does.
	fails, busy error
	changed     string
	// holds says that changing the password leaves a claim.
	holds   bool
	removed bool
}

func (v *fakeVolumes) Attach(_ context.Context, req volume.Request) (string, error) {
	time.Sleep(mounting)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fails != nil && !req.Force {
		return "", v.fails
	}
	busy := &volume.Busy{}
	for attempt, other := range v.claims {
		if attempt != req.Attempt && (!other.ReadOnly || !req.ReadOnly) {
			busy.Attempts, busy.Writer = append(busy.Attempts, attempt), busy.Writer || !other.ReadOnly
		}
	}
	if len(busy.Attempts) > 0 {
		return "", busy
	}
	if own, ok := v.claims[req.Attempt]; ok && own.ReadOnly != req.ReadOnly {
		v.t.Errorf("%s has the volume attached in another way already", req.Attempt)
	}
	v.claims[req.Attempt] = req
	return v.dir, nil
}

func (v *fakeVolumes) DetachFrom(_ context.Context, _, attempt string) error {
	time.Sleep(mounting)
	v.mu.Lock()
	defer v.mu.Unlock()
	if attempt == volume.Server && v.open > 0 {
		v.t.Errorf("detached with %d open trees", v.open)
	}
	if v.busy != nil {
		return v.busy
	}
	delete(v.claims, attempt)
	return nil
}

func (v *fakeVolumes) Detach(ctx context.Context, attempt string) error {
	return v.DetachFrom(ctx, path, attempt)
}

func (v *fakeVolumes) Attempts() ([]string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Sorted(maps.Keys(v.claims)), nil
}

func (v *fakeVolumes) AttachedTo(attempt string) ([]string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.claims[attempt]; ok {
		return []string{path}, nil
	}
	return nil, nil
}

func (v *fakeVolumes) Create(context.Context, volume.Spec) (string, error) { return path, nil }

func (v *fakeVolumes) Remove(context.Context, string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.removed = len(v.claims) == 0
	return nil
}

func (v *fakeVolumes) ChangePassword(_ context.Context, req volume.Request, password string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.claims) > 0 {
		return &volume.Busy{Attempts: slices.Collect(maps.Keys(v.claims))}
	}
	if v.holds {
		v.claims[req.Attempt] = req
	}
	v.changed = req.Attempt + ": " + req.Password + " -> " + password
	return nil
}

// set changes what the volume is to do.
func (v *fakeVolumes) set(change func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change()
}

// has says how an attempt has the volume: "", "read" or "write".
func (v *fakeVolumes) has(attempt string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch req, ok := v.claims[attempt]; {
	case !ok:
		return ""
	case req.ReadOnly:
		return "read"
	default:
		return "write"
	}
}

// bench is a volume with Files that do not run yet.
type bench struct {
	*Files
	volumes *fakeVolumes
	// ended are jobs that have ended.
	ended map[int64]bool
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{volumes: &fakeVolumes{t: t, dir: t.TempDir(), claims: make(map[string]volume.Request)}, ended: make(map[int64]bool)}
	b.Files = New(Config{
		Volumes: b.volumes, Idle: idle, KeepUploads: time.Hour, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Ended: func(_ context.Context, job int64) (bool, error) {
			b.volumes.mu.Lock()
			defer b.volumes.mu.Unlock()
			return b.ended[job], nil
		},
	})
	return b
}

// run runs the loop until stop is called.
func (b *bench) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- b.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// use is Open for a test.
func (b *bench) use(t *testing.T, change bool) *vault.Tree {
	t.Helper()
	tree, err := b.Open(t.Context(), home, change)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// job is what a job asks for.
func job(number int64, readOnly bool) volume.Request {
	return volume.Request{Path: path, Attempt: berth.NewAttempt(number, "x"), ReadOnly: readOnly}
}

func (b *bench) mustAttach(t *testing.T, req volume.Request) {
	t.Helper()
	if _, err := b.Attach(t.Context(), req); err != nil {
		t.Fatal(err)
	}
}

// stillUsed is what says that the kernel has files of the volume open.
var stillUsed = unix.EBUSY
