package private

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// pid returns the daemon's process id, and whether it runs. It is looked for among the processes: whoever started it may have been killed
// before writing anything down. It leads its session, unlike a child of its that has not become another program yet.
func (d *Daemon) pid() (pid int, running bool) {
	for pid, args := range processes() {
		if !slices.Equal(args, d.command()) {
			continue
		}
		if session, err := unix.Getsid(pid); err == nil && session == pid {
			return pid, true
		}
	}
	return 0, false
}

// rootsOwn is in the status of a process that root has started. Those of others can become root by a program that lets them, whatever its
// arguments say.
const rootsOwn = "\nUid:\t0\t0\t"

// processes returns root's processes of this machine with their arguments; none of a container, where somebody else's may look alike.
func processes() iter.Seq2[int, []string] {
	return func(yield func(int, []string) bool) {
		own, err := os.Readlink("/proc/self/ns/pid")
		if err != nil {
			return
		}
		dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is right
		for _, dir := range dirs {
			status, err := os.ReadFile(filepath.Join(dir, "status"))
			if err != nil || !strings.Contains(string(status), rootsOwn) {
				continue // it is another user's, or has ended
			}
			pid, err := strconv.Atoi(filepath.Base(dir))
			line, failed := os.ReadFile(filepath.Join(dir, "cmdline"))
			space, gone := os.Readlink(filepath.Join(dir, "ns/pid"))
			if errors.Join(err, failed, gone) != nil || space != own {
				continue
			}
			if !yield(pid, strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")) {
				return
			}
		}
	}
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
	reap(pid)
	return nil
}

// reap collects a child that has ended, and says whether it has. It fails when it is somebody else's, who does it.
func reap(pid int) bool {
	ended, err := unix.Wait4(pid, nil, unix.WNOHANG, nil)
	return err == nil && ended == pid
}
