package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/containers"
	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth"
)

// systemState is the state directory of a containerd that is configured as distributions do it.
const systemState = "/run/containerd"

// removeShim removes what containerd leaves when the server is killed while a task is made: a shim that containerd no longer
// knows, and the bundle, which is in the way of another try. The caller has made sure that containerd has no such task.
func (e *Engine) removeShim(id string) error {
	bundle := e.bundle(id)
	for pid, of := range shims(e.cfg.Address) {
		if of != id {
			continue
		}
		if err := killAndWait(pid); err != nil {
			return fmt.Errorf("end the shim of %s: %w", id, err)
		}
	}
	if err := removeBundle(bundle); err != nil {
		return fmt.Errorf("remove the bundle of %s: %w", id, err)
	}
	return nil
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

// shims returns the attempts of the shims that belong to the containerd at an address, by process.
func shims(address string) map[int]string {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	found := make(map[int]string)
	for _, path := range paths {
		line, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		args := strings.Split(string(line), "\x00")
		daemon := strings.HasPrefix(filepath.Base(args[0]), "containerd-shim") && !slices.Contains(args, "delete") // that one is at work
		if !daemon || value(args, "-namespace") != Namespace || value(args, "-address") != address {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			found[pid] = value(args, "-id")
		}
	}
	return found
}

// value returns what follows a flag among the arguments.
func value(args []string, flag string) string {
	if i := slices.Index(args, flag); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

// sweepShims ends shims without a record that are there in two sweeps: containerd may have started one for a server that was
// killed in that moment, after its attempt was removed. It returns the candidates for the next sweep.
func (e *Engine) sweepShims(ctx context.Context, before map[int]string) (map[int]string, error) {
	candidates := shims(e.cfg.Address)
	records, err := e.records(ctx)
	if err != nil {
		return nil, err
	}
	for pid, id := range candidates {
		known := slices.ContainsFunc(records, func(r containers.Container) bool { return r.ID == id })
		if _, ours := berth.AttemptJob(id); known || !ours {
			delete(candidates, pid)
		} else if before[pid] == id {
			if err := killAndWait(pid); err != nil {
				return nil, fmt.Errorf("end the shim of %s: %w", id, err)
			}
			delete(candidates, pid)
		}
	}
	return candidates, nil
}

// killAndWait ends a process and returns when it is gone.
func killAndWait(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	deadline := time.Now().Add(endTimeout)
	for {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // a file descriptor is small
		n, err := unix.Poll(poll, int(time.Until(deadline).Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n == 0:
			return fmt.Errorf("process %d does not end: %w", pid, unix.ETIMEDOUT)
		default:
			return nil
		}
	}
}
