package private

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// remember writes down which process the daemon is: its id and when it started, so that a reused id is never taken for it.
func (d *Daemon) remember(pid int) error {
	started, err := startOf(pid)
	if err != nil {
		return err
	}
	path := d.pidPath()
	if err := os.WriteFile(path+".new", fmt.Appendf(nil, "%d %d\n", pid, started), 0o600); err != nil {
		return fmt.Errorf("process file of the private containerd: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("process file of the private containerd: %w", err)
	}
	return nil
}

func (d *Daemon) pidPath() string { return filepath.Join(d.state, "containerd.pid") }

// pid returns the daemon's process id, and whether it runs.
func (d *Daemon) pid() (pid int, running bool) {
	text, err := os.ReadFile(d.pidPath())
	if err != nil {
		return 0, false
	}
	var started uint64
	if _, err := fmt.Fscan(bytes.NewReader(text), &pid, &started); err != nil {
		return 0, false
	}
	now, err := startOf(pid)
	return pid, err == nil && now == started
}

// errEnded says that a process is not there, or only waits to be reaped.
var errEnded = errors.New("the process has ended")

// startOf returns when a process started, in the kernel's ticks since boot. A child of ours that has ended is reaped.
func startOf(pid int) (uint64, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return 0, errEnded
	}
	if err != nil {
		return 0, fmt.Errorf("start of process %d: %w", pid, err)
	}
	// The name, in parentheses, may hold anything. The state follows it, the start is the 20th field after the state's.
	_, rest, _ := strings.Cut(string(text[bytes.LastIndexByte(text, ')')+1:]), " ")
	fields := strings.Fields(rest)
	const stateField, startField = 0, 19
	if len(fields) <= startField {
		return 0, fmt.Errorf("start of process %d: %q is not understood", pid, text)
	}
	if fields[stateField] == "Z" || fields[stateField] == "X" {
		_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil) // fails when it is somebody else's child, who reaps it
		return 0, errEnded
	}
	started, err := strconv.ParseUint(fields[startField], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("start of process %d: %w", pid, err)
	}
	return started, nil
}

// waitEnd returns when the process has ended; with an error when ctx ends first.
func waitEnd(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("watch process %d: %w", pid, err)
	}
	file := os.NewFile(uintptr(fd), "pidfd") // the runtime's poller waits: a pidfd is readable when its process has ended
	defer func() { _ = file.Close() }()
	defer context.AfterFunc(ctx, func() { _ = file.SetReadDeadline(time.Unix(1, 0)) })()
	conn, err := file.SyscallConn()
	if err != nil {
		return fmt.Errorf("watch process %d: %w", pid, err)
	}
	err = conn.Read(func(fd uintptr) bool {
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // a file descriptor is small
		n, err := unix.Poll(polled, 0)
		return n > 0 || (err != nil && !errors.Is(err, unix.EINTR))
	})
	if err != nil {
		return fmt.Errorf("watch process %d: %w", pid, errors.Join(context.Cause(ctx), err))
	}
	_, _ = startOf(pid) // reaps it when it is our child
	return nil
}
