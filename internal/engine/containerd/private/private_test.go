package private

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func newDaemon(t *testing.T) *Daemon {
	t.Helper()
	d := New(Config{DataDir: t.TempDir(), Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	t.Cleanup(func() {
		if err := d.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return d
}

func runningPID(t *testing.T, d *Daemon) int {
	t.Helper()
	pid, running := d.pid()
	if !running {
		t.Fatal("it does not run")
	}
	return pid
}

// TestEnsure: it is started once, found again, and started again only when it has ended.
func TestEnsure(t *testing.T) {
	d := newDaemon(t)
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			if err := d.Ensure(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	first := runningPID(t, d)
	if err := New(Config{DataDir: d.dataDir, Log: d.log}).Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if pid := runningPID(t, d); pid != first {
		t.Errorf("process is %d; want still %d", pid, first)
	}
	if session, err := unix.Getsid(first); err != nil || session != first {
		t.Errorf("session is %d, %v; want one of its own: it would end with its parent's terminal", session, err)
	}
	if err := unix.Kill(first, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := waitEnd(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if err := d.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if pid := runningPID(t, d); pid == first {
		t.Errorf("process is still %d, which was killed", pid)
	}
}

// TestReusedPID: a process that has the number of one that ended is not taken for it, and above all not ended.
func TestReusedPID(t *testing.T) {
	d := newDaemon(t)
	stranger := exec.CommandContext(t.Context(), "sleep", "1000")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stranger.Process.Kill(); _ = stranger.Wait() })
	started, err := startOf(stranger.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(d.state, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"another start": fmt.Sprintf("%d %d\n", stranger.Process.Pid, started-1),
		"damaged":       "x",
		"empty":         "",
		"no process":    "4194304 1\n",
	} {
		if err := os.WriteFile(d.pidPath(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if pid, running := d.pid(); running {
			t.Errorf("%s: process %d is taken for it", name, pid)
		}
	}
	if err := d.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again, err := startOf(stranger.Process.Pid); err != nil || again != started {
		t.Errorf("the stranger: %v; want it to run still", err)
	}
}

// TestStartFails: the reason is in the error.
func TestStartFails(t *testing.T) {
	d := newDaemon(t)
	if err := os.MkdirAll(d.root, 0o700); err != nil {
		t.Fatal(err)
	}
	// Its metadata is a directory, so containerd gives up.
	if err := os.MkdirAll(filepath.Join(d.root, "io.containerd.metadata.v1.bolt", "meta.db"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(d.Address(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := d.Ensure(t.Context()); err == nil {
		t.Error("Ensure succeeded with a containerd that cannot start")
	}
}

// TestLockIsGivenUp: whoever waits for it goes when its context ends.
func TestLockIsGivenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if second, err := lock(ctx, path); err == nil {
		second()
		t.Error("the lock was given out twice")
	}
	unlock()
	third, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	third()
}

// TestStateDirIsShort: the path of a socket has at most 107 bytes, whatever the data directory's is.
func TestStateDirIsShort(t *testing.T) {
	long := filepath.Join("/", "a-very-long-name-of-a-directory-that-somebody-may-choose", "and-another-one-in-it", "data")
	d := New(Config{DataDir: long})
	if n := len(d.Address() + ".ttrpc"); n > 60 {
		t.Errorf("%s is long", d.Address())
	}
	if StateDir(long) == StateDir(long+"2") || StateDir(long) != StateDir(long+"/") {
		t.Error("data directories and state directories do not belong together one by one")
	}
}
