// Package blockfiles has block vaults attached to the server while their files are used without a job. It is the one owner of the server's
// claims: what is attached stays so while it is used and a moment longer, and goes at once when a job waits for it.
package blockfiles

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/vault"
	"github.com/berth-hpc/berth/internal/volume"
)

const (
	// look is how often Run looks for what is not used any more.
	look = time.Second
	// pause is how soon a volume is tried again that is about to be let go.
	pause = 50 * time.Millisecond
	// patience is how long somebody waits for others of the server to be done with a vault.
	patience = 10 * time.Second
)

// Volumes are what block vaults are made of; *volume.Volumes says what the methods do.
type Volumes interface {
	Create(ctx context.Context, spec volume.Spec) (path string, err error)
	Remove(ctx context.Context, path string) error
	Attach(ctx context.Context, req volume.Request) (data string, err error)
	Detach(ctx context.Context, attempt string) error
	DetachFrom(ctx context.Context, path, attempt string) error
	AttachedTo(attempt string) (paths []string, err error)
	Attempts() ([]string, error)
	ChangePassword(ctx context.Context, req volume.Request, password string) error
}

// Config is what Files is made of. All is required.
type Config struct {
	Volumes Volumes
	// Ended says whether a job has ended, which has its volume a moment longer.
	Ended func(ctx context.Context, job int64) (bool, error)
	// Idle is how long a vault stays attached that nobody uses, and how long an open file that nobody uses keeps it from others.
	Idle time.Duration
	// KeepUploads is how long what came of an upload is kept that nobody continues.
	KeepUploads time.Duration
	Log         *slog.Logger
}

// Files has the files of block vaults. Jobs get their volumes through it, too, so that it knows who waits. All methods are safe for
// concurrent use.
type Files struct {
	cfg Config
	// working holds a value while somebody works on a whole volume, which takes memory and time of the machine.
	working chan struct{}

	mu     sync.Mutex
	vaults map[string]*attachment // by the paths of their volumes
}

// attachment is what the server has of one volume.
type attachment struct {
	path string
	// turn holds a value while somebody attaches or detaches. Who has it is the only one to add uses, and to change what of and claimed say.
	turn chan struct{}
	// quiet gets a value when the last use ends.
	quiet chan struct{}

	// The rest is guarded by Files.mu.

	// data is where the files are, empty when they are not attached; readOnly is how.
	data     string
	readOnly bool
	// claimed says that there may be a claim of the server, attached or left by one that was killed.
	claimed bool
	uses    map[*use]struct{}
	// last is when the last use ended.
	last time.Time
	wish wish
}

// wish is a job's for the volume. It keeps new uses away that the job would have to wait for.
type wish struct {
	job      int64
	readOnly bool
	// until is when it is forgotten: who waits wishes again and again.
	until time.Time
}

// New returns Files. It starts nothing.
func New(cfg Config) *Files {
	return &Files{cfg: cfg, working: make(chan struct{}, 1), vaults: make(map[string]*attachment)}
}

// Open opens the files of a vault, to change them if change says so. The caller closes the tree, after all that was opened in it.
// Conflict while a job has the vault or waits for it, in a way that excludes this, and when it has to be repaired first; Unsupported for
// encrypted ones.
func (f *Files) Open(ctx context.Context, v berth.Vault, change bool) (*vault.Tree, error) {
	if v.Volume.Encrypted {
		return nil, berth.Errorf(berth.Unsupported, "The files of an encrypted vault can be reached by jobs only")
	}
	a := f.of(v.Path)
	if err := f.take(ctx, a); err != nil {
		return nil, Refusal(err)
	}
	defer a.give()
	if err := f.attach(ctx, a, change); err != nil {
		return nil, refusal(v, err)
	}
	return vault.OpenHeld(a.data, f.begin(ctx, a))
}

// of returns what the server has of a volume.
func (f *Files) of(path string) *attachment {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.vaults[path]
	if a == nil {
		// A server that was killed may have left a claim.
		a = &attachment{
			path: path, turn: make(chan struct{}, 1), quiet: make(chan struct{}, 1), claimed: true, uses: make(map[*use]struct{}),
		}
		f.vaults[path] = a
	}
	return a
}

// take waits for the turn, which give ends.
func (f *Files) take(ctx context.Context, a *attachment) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case a.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return f.busy(a)
	}
}

func (a *attachment) give() { <-a.turn }

func inUse(detail string, cause error) error {
	return &berth.Error{Kind: berth.Conflict, Msg: "The vault is in use", Detail: detail, Err: cause}
}

// attach attaches a volume as it is needed. The caller has the turn.
func (f *Files) attach(ctx context.Context, a *attachment, change bool) error {
	f.mu.Lock()
	excluded, job := a.wish.excludes(a, change), a.wish.job
	there := a.data != "" && (!change || !a.readOnly)
	f.mu.Unlock()
	switch {
	case excluded:
		return inUse(fmt.Sprintf("job %d waits for it: try again when that has ended", job), nil)
	case there:
		return nil
	}
	if err := f.unused(ctx, a); err != nil {
		return err
	}
	if err := f.detach(ctx, a); err != nil {
		return err
	}
	f.claims(a)
	data, err := f.patiently(ctx, volume.Request{Path: a.path, Attempt: volume.Server, ReadOnly: !change})
	if err != nil {
		return err
	}
	f.mu.Lock()
	a.data, a.readOnly, a.last = data, !change, time.Now()
	f.mu.Unlock()
	if change {
		if err := vault.Furnish(data, time.Now().Add(-f.cfg.KeepUploads)); err != nil {
			f.cfg.Log.WarnContext(ctx, "a block vault was not made ready for files", "volume", a.path, "error", err)
		}
	}
	return nil
}

// patiently attaches a volume for files. It waits for jobs that have ended.
func (f *Files) patiently(ctx context.Context, req volume.Request) (data string, err error) {
	deadline := time.Now().Add(patience)
	for {
		data, err = f.cfg.Volumes.Attach(ctx, req)
		busy, ok := errors.AsType[*volume.Busy](err)
		if !ok || time.Now().After(deadline) {
			return data, err
		}
		soon, errEnded := f.soonFree(ctx, busy)
		if errEnded != nil || !soon {
			return "", errors.Join(err, errEnded)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return "", ctx.Err()
		}
	}
}

// soonFree says whether those who have a volume are all about to let it go.
func (f *Files) soonFree(ctx context.Context, busy *volume.Busy) (bool, error) {
	for _, attempt := range busy.Attempts {
		number, ok := berth.AttemptJob(attempt)
		if !ok {
			return false, nil
		}
		if ended, err := f.cfg.Ended(ctx, number); err != nil || !ended {
			return false, err
		}
	}
	return true, nil
}
