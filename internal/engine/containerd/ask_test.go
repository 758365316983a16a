package containerd_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/containerd"
	"github.com/berth-hpc/berth/internal/engine/enginetest"
)

var infoRequest = agentapi.Request{Info: &agentapi.InfoRequest{}}

// TestAsk: what the engine makes of an attempt's directory and of an agent that does not answer.
func TestAsk(t *testing.T) {
	m := newMachine(t)
	e := m.open(t)
	t.Run("path longer than a socket's may be", func(t *testing.T) { testAskLongPath(t, e) })
	a := start(t, e, waits)
	socket := filepath.Join(a.Dir, agentapi.SocketFile)
	aside := filepath.Join(t.TempDir(), "aside")
	for name, test := range map[string]struct {
		inPlace func() error
		known   bool
	}{
		"nobody listens":   {func() error { return abandonedSocket(socket) }, true},
		"no socket":        {func() error { return nil }, true},
		"symbolic link":    {func() error { return os.Symlink(aside, socket) }, false},
		"link to nowhere":  {func() error { return os.Symlink("/nowhere", socket) }, false},
		"link to the root": {func() error { return os.Symlink("/", socket) }, false},
		"regular file":     {func() error { return os.WriteFile(socket, nil, 0o600) }, false},
		"directory":        {func() error { return os.Mkdir(socket, 0o700) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, os.Rename(socket, aside), test.inPlace())
			answer, err := e.Ask(t.Context(), a.ID, infoRequest)
			if err == nil || errors.Is(err, engine.ErrNotFound) != test.known {
				t.Errorf("Ask: %+v, %v; want an error, ErrNotFound: %t", answer, err, test.known)
			}
			must(t, os.RemoveAll(socket), os.Rename(aside, socket))
		})
	}
	t.Run("directory is a symbolic link", func(t *testing.T) {
		moved := a.Dir + ".moved"
		must(t, os.Rename(a.Dir, moved), os.Symlink(moved, a.Dir))
		if _, err := e.Ask(t.Context(), a.ID, infoRequest); err == nil || errors.Is(err, engine.ErrNotFound) {
			t.Errorf("Ask: %v; want an error that is not ErrNotFound", err)
		}
		must(t, os.Remove(a.Dir), os.Rename(moved, a.Dir))
	})
	t.Run("agent does not answer", func(t *testing.T) { testAskStuck(t, e, a) })
	if answer, err := e.Ask(t.Context(), a.ID, infoRequest); err != nil || answer.Info == nil {
		t.Errorf("answer after all that is %+v, %v", answer, err)
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func testAskLongPath(t *testing.T, e *containerd.Engine) {
	a := enginetest.NewAttempt(t, enginetest.Script{Text: waits})
	long := filepath.Join(a.Dir, strings.Repeat("x", 200))
	must(t, os.Mkdir(long, 0o700), os.Rename(filepath.Join(a.Dir, agentapi.SpecFile), filepath.Join(long, agentapi.SpecFile)))
	a.Dir = long
	enginetest.Start(t, e, a)
	enginetest.AwaitOutput(t, a, "ready")
	if answer, err := e.Ask(t.Context(), a.ID, infoRequest); err != nil || net.ParseIP(answer.Info.Address) == nil {
		t.Errorf("answer is %+v, %v; want an address", answer, err)
	}
}

func testAskStuck(t *testing.T, e *containerd.Engine, a engine.Attempt) {
	pid := agentOf(t, a.ID)
	freeze(t, pid)
	defer kill(t, pid, syscall.SIGCONT)
	for !stopped(t, pid) { // the threads stop one after the other
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := e.Ask(ctx, a.ID, infoRequest); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, engine.ErrNotFound) {
		t.Errorf("Ask: %v; want that the time is over", err)
	}
}

// stopped says whether every thread of a process is stopped.
func stopped(t *testing.T, pid int) bool {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	must(t, err)
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		must(t, err)
		if _, state, _ := strings.Cut(string(stat), ") "); !strings.HasPrefix(state, "T") {
			return false
		}
	}
	return len(threads) > 0
}

// abandonedSocket makes a socket that nobody listens on.
func abandonedSocket(path string) error {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	return errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Close(fd))
}
