package blockfiles

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/volume"
)

// use is one request's hold on a volume, see vault.Hold.
type use struct {
	files    *Files
	of       *attachment
	last     atomic.Int64 // when the files were used, in nanoseconds
	recalled context.Context
	recall   context.CancelFunc
	released sync.Once
}

// begin adds a use. The caller has the turn, so that the volume is attached until Release.
func (f *Files) begin(ctx context.Context, a *attachment) *use {
	u := &use{files: f, of: a}
	u.recalled, u.recall = context.WithCancel(context.WithoutCancel(ctx)) // what was opened can outlive the request
	u.Used()
	f.mu.Lock()
	defer f.mu.Unlock()
	a.uses[u] = struct{}{}
	return u
}

// Used says that the files are being used now.
func (u *use) Used() { u.last.Store(time.Now().UnixNano()) }

// Recalled ends when a job waits and the files have not been used for a while.
func (u *use) Recalled() context.Context { return u.recalled }

// Release ends the use.
func (u *use) Release() {
	u.released.Do(func() {
		u.recall() // who waits for it has closed everything
		u.files.mu.Lock()
		defer u.files.mu.Unlock()
		a := u.of
		delete(a.uses, u)
		if a.last = time.Now(); len(a.uses) == 0 {
			select {
			case a.quiet <- struct{}{}:
			default:
			}
		}
	})
}

// excludes says whether a job waits that would have to wait for a new use, too.
func (w wish) excludes(a *attachment, change bool) bool {
	shared := w.readOnly && !change && (a.data == "" || a.readOnly)
	return time.Now().Before(w.until) && !shared
}

// recall asks for what has not been used for a while.
func (f *Files) recall(a *attachment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for u := range a.uses {
		if time.Since(time.Unix(0, u.last.Load())) >= f.cfg.Idle {
			u.recall()
		}
	}
}

// unused waits until nobody uses a volume. The caller has the turn, so that nobody comes.
func (f *Files) unused(ctx context.Context, a *attachment) error {
	f.recall(a)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		f.mu.Lock()
		uses := len(a.uses)
		f.mu.Unlock()
		if uses == 0 {
			return nil
		}
		select {
		case <-a.quiet:
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return f.busy(a)
		}
	}
}

// busy says that the server itself has a volume.
func (f *Files) busy(a *attachment) *volume.Busy {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &volume.Busy{Attempts: []string{volume.Server}, Writer: !a.readOnly}
}

// detach gives up what the server has of a volume that nobody uses. The caller has the turn.
func (f *Files) detach(ctx context.Context, a *attachment) error {
	f.mu.Lock()
	claimed := a.claimed
	a.data = ""
	f.mu.Unlock()
	if !claimed {
		return nil
	}
	err := f.cfg.Volumes.DetachFrom(ctx, a.path, volume.Server)
	if errors.Is(err, unix.EBUSY) {
		return errors.Join(f.busy(a), err)
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	a.claimed = false
	return nil
}

// refusal is an error of attaching for who asked for files.
func refusal(v berth.Vault, err error) error {
	switch {
	case errors.Is(err, volume.ErrUnclean):
		return &berth.Error{
			Kind: berth.Conflict, Msg: "The filesystem of the vault was not closed properly",
			Detail: "berth vault repair " + berth.FullVaultName(v.Name, v.Owner) + " repairs it, or a job with \"force\": true in its vault", Err: err,
		}
	case errors.Is(err, volume.ErrDamaged):
		return &berth.Error{
			Kind: berth.Internal, Msg: "The filesystem of the vault is damaged", Detail: "ask an administrator of the server, whose log says more", Err: err,
		}
	}
	return Refusal(err)
}

// Refusal is an error of a volume that somebody has, for who wanted it: Conflict, with a text that says who. Others stay what they are.
func Refusal(err error) error {
	busy, ok := errors.AsType[*volume.Busy](err)
	if !ok {
		return err
	}
	if len(busy.Attempts) == 0 {
		return inUse("it has just been used: try again in a moment", err)
	}
	if number, ok := berth.AttemptJob(busy.Attempts[0]); ok {
		return inUse(fmt.Sprintf("job %d has it: try again when that has ended", number), err)
	}
	return inUse("another request uses its files: try again when that is done", err)
}
