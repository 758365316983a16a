package containerd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// systemState is the state directory of a containerd that is configured as distributions do it.
const systemState = "/run/containerd"

// removeShim removes what containerd leaves when the server is killed while a task is made: a shim that containerd no longer
// knows, and the bundle, which is in the way of another try. The caller has made sure that containerd has no such task.
func (e *Engine) removeShim(id string) error {
	bundle := e.bundle(id)
	for _, pid := range shims(id, e.cfg.Address) {
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

// shims returns the shims of an attempt that belong to the containerd at an address.
func shims(id, address string) []int {
	entries, _ := os.ReadDir("/proc")
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		if err != nil {
			continue // it has ended
		}
		args := strings.Split(string(line), "\x00")
		daemon := strings.HasPrefix(filepath.Base(args[0]), "containerd-shim") && !slices.Contains(args, "delete") // that one is at work
		if daemon && has(args, "-namespace", Namespace) && has(args, "-id", id) && has(args, "-address", address) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// has says whether a flag with this value is among the arguments.
func has(args []string, flag, value string) bool {
	i := slices.Index(args, flag)
	return i >= 0 && i+1 < len(args) && args[i+1] == value
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
