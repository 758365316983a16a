package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/containerd/containerd/v2/core/containers"
	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/engine/containerd/private"
)

// systemState is the state directory of a containerd that is configured as distributions do it.
const systemState = "/run/containerd"

// removeShim removes what containerd leaves when the server is killed while a task is made: a shim that containerd no longer
// knows, and the bundle, which is in the way of another try. The caller has made sure that containerd has no such task.
func (e *Engine) removeShim(ctx context.Context, id string) error {
	bundle := e.bundle(id)
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	cleaned := true // perhaps it sees just now that one has ended
	for _, shim := range e.shims() {
		if shim.ID != id {
			continue
		}
		var err error
		if cleaned, err = private.Connected(private.ShimSocket(e.address, Namespace, id)); err != nil {
			return err
		}
		if err := shim.End(ctx); err != nil {
			return err
		}
	}
	if cleaned {
		awaitCleanup(ctx, bundle)
	}
	if err := removeBundle(bundle); err != nil {
		return fmt.Errorf("remove the bundle of %s: %w", id, err)
	}
	return nil
}

const (
	// cleanupTime is how long containerd takes at most to delete what a shim has left that it saw go, and lookAgain how often that is looked
	// at: nothing tells.
	cleanupTime = 5 * time.Second
	lookAgain   = 10 * time.Millisecond
)

// awaitCleanup waits until containerd has deleted a bundle whose shim it has seen end, or will not. It deletes by the id: it would kill another
// try that has begun meanwhile, and take its bundle away.
func awaitCleanup(ctx context.Context, bundle string) {
	ctx, cancel := context.WithTimeout(ctx, cleanupTime)
	defer cancel()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		if _, err := os.Lstat(bundle); err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// bundle is where containerd makes the bundle of an attempt.
func (e *Engine) bundle(id string) string {
	state := systemState
	if e.private != nil {
		state = e.private.ContainerdState()
	}
	return filepath.Join(state, "io.containerd.runtime.v2.task", Namespace, id)
}

// removeBundle removes a bundle and its counterpart in containerd's root. Its root filesystem may still be mounted.
func removeBundle(dir string) error {
	err := unix.Unmount(filepath.Join(dir, "rootfs"), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) { // not mounted, not there
		return fmt.Errorf("unmount: %w", err)
	}
	if work, err := os.Readlink(filepath.Join(dir, "work")); err == nil {
		if err := os.RemoveAll(work); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// shims returns those of attempts, also of other servers' that share the containerd.
func (e *Engine) shims() []private.Shim {
	return slices.DeleteFunc(private.Shims(e.address), func(s private.Shim) bool {
		_, ours := berth.AttemptJob(s.ID)
		return !ours || s.Namespace != Namespace
	})
}

// sweepShims ends shims without a record that are there in two sweeps: containerd may have started one for a server that was
// killed in that moment, after its attempt was removed. It returns the candidates for the next sweep.
func (e *Engine) sweepShims(ctx context.Context, before []private.Shim) ([]private.Shim, error) {
	candidates := e.shims()
	records, err := e.records(ctx)
	if err != nil {
		return nil, err
	}
	candidates = slices.DeleteFunc(candidates, func(s private.Shim) bool {
		return slices.ContainsFunc(records, func(r containers.Container) bool { return r.ID == s.ID })
	})
	var seen []private.Shim
	for _, shim := range candidates {
		if !slices.Contains(before, shim) {
			seen = append(seen, shim)
			continue
		}
		if err := shim.End(ctx); err != nil {
			return nil, err
		}
	}
	return seen, nil
}
