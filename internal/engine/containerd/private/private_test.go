package private

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

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

// TestStartedIsFound at once: the kernel shows the arguments of a new process a moment after it runs.
func TestStartedIsFound(t *testing.T) {
	d := newDaemon(t)
	for _, dir := range []string{d.root, d.state} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		pid, err := d.start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		arguments, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if err != nil || len(arguments) == 0 {
			t.Errorf("its arguments are %q, %v", arguments, err)
		}
		if found, running := d.pid(); found != pid || !running {
			t.Errorf("process %d, %v is found; want %d", found, running, pid)
		}
		if err := errors.Join(unix.Kill(pid, unix.SIGKILL), waitEnd(t.Context(), pid)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStartedByAScript: it could not be found again, so that is an error and none stays.
func TestStartedByAScript(t *testing.T) {
	d := newDaemon(t)
	dir := t.TempDir()
	mark := filepath.Join(dir, "pid")
	script := "#!/bin/sh\necho $$ > " + mark + "\nsleep 1000\n"
	if err := os.WriteFile(filepath.Join(dir, "containerd"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := d.Ensure(ctx); err == nil || !strings.Contains(err.Error(), "PATH") {
		t.Errorf("Ensure = %v", err)
	}
	text, err := os.ReadFile(mark)
	if err != nil {
		t.Skip("the script had no time to begin")
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("process %d is still there: %v", pid, err)
	}
}

// TestStartedByAServerThatWasKilled: it is found although that could not tell anybody.
func TestStartedByAServerThatWasKilled(t *testing.T) {
	d := newDaemon(t)
	for _, dir := range []string{d.root, d.state} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	pid, err := d.start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	next := New(Config{DataDir: d.dataDir, Log: d.log})
	if err := next.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found := runningPID(t, next); found != pid {
		t.Errorf("process is %d; want still %d", found, pid)
	}
}

// strangerEnv makes this test's program one that does nothing, whatever its arguments say.
const strangerEnv = "BERTH_TEST_STRANGER"

func TestMain(m *testing.M) {
	if os.Getenv(strangerEnv) != "" {
		_, _ = os.Stdin.Read(make([]byte, 1))
		return
	}
	m.Run()
}

// TestStrangers: processes of other users, in containers and of the daemon itself that look like it are not taken for it, and above all not
// ended.
func TestStrangers(t *testing.T) {
	program, rootsProgram := publicProgram(t), publicProgram(t)
	if err := os.Chmod(rootsProgram, 0o755|fs.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
	for name, stranger := range map[string]struct {
		program string
		attr    *syscall.SysProcAttr
	}{
		"another user":               {program, &syscall.SysProcAttr{Credential: nobody, Setsid: true}},
		"another user who is let in": {rootsProgram, &syscall.SysProcAttr{Credential: nobody, Setsid: true}},
		"a container":                {program, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Setsid: true}},
		"a child of its":             {program, &syscall.SysProcAttr{}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t)
			if err := os.MkdirAll(d.state, 0o700); err != nil {
				t.Fatal(err)
			}
			stranger := &exec.Cmd{
				Path: stranger.program, Args: d.command(), Env: []string{strangerEnv + "=1"}, Dir: "/", SysProcAttr: stranger.attr,
			}
			stdin, err := stranger.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := stranger.Start(); err != nil {
				t.Fatal(err)
			}
			if pid, running := d.pid(); running {
				t.Errorf("process %d is taken for it", pid)
			}
			if err := d.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if err := errors.Join(stdin.Close(), stranger.Wait()); err != nil {
				t.Errorf("the stranger: %v; want it to have run until now", err)
			}
		})
	}
}

// publicProgram is a copy of this test's program that every user can run, who cannot enter the directories of tests.
func publicProgram(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "berth-stranger-") //nolint:usetesting // t.TempDir is root's alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	program := filepath.Join(dir, "stranger")
	text, err := os.ReadFile("/proc/self/exe")
	if err := errors.Join(err, os.Chmod(dir, 0o755), os.WriteFile(program, text, 0o755)); err != nil {
		t.Fatal(err)
	}
	return program
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
