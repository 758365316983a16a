package containerd

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/engine/containerd/private"
)

// TestAHalfMadeTaskIsRemoved: a server killed while containerd makes a task leaves a shim that containerd has forgotten and a
// bundle with a mounted root; both were in the way of every further try.
func TestAHalfMadeTaskIsRemoved(t *testing.T) {
	e := &Engine{private: private.New(private.Config{DataDir: t.TempDir()})}
	e.address = "/run/berth/test/containerd.sock"
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(e.private.ContainerdState())) })
	bundle := e.bundle("berth-1-x")
	root := filepath.Join(bundle, "rootfs")
	work := t.TempDir()
	upper := t.TempDir()
	for _, dir := range []string{root, filepath.Join(work, "inner")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(work, filepath.Join(bundle, "work")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(upper, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(upper, root, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(root, unix.MNT_DETACH) })
	shim := startShim(t, "berth-1-x", e.address)
	other := startShim(t, "berth-2-x", e.address)
	for range 2 {
		if err := e.removeShim(t.Context(), "berth-1-x"); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Kill(shim.Process.Pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("the shim has not ended: %v", err)
	}
	if err := other.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("another attempt's shim: %v", err)
	}
	for _, gone := range []string{bundle, work} {
		if _, err := os.Lstat(gone); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", gone, err)
		}
	}
	if _, err := os.Stat(filepath.Join(upper, "file")); err != nil {
		t.Errorf("what was mounted must stay: %v", err)
	}
}

// TestForgottenShimsAreSwept: a shim without a record ends, not at first sight (its record may be on its way), and no other does.
func TestForgottenShimsAreSwept(t *testing.T) {
	data := t.TempDir()
	t.Cleanup(func() {
		if err := Shutdown(context.WithoutCancel(t.Context()), data); err != nil {
			t.Error(err)
		}
	})
	e, err := Open(t.Context(), Config{
		DataDir: data, AgentPath: "/bin/true", Network: NetworkConfig{Mode: NetworkNone}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	forgotten := startShim(t, "berth-1-x", e.address)
	foreign := startShim(t, "somebody-else", e.address)
	seen, err := e.sweepShims(t.Context(), nil)
	if err != nil || len(seen) != 1 || seen[0].PID != forgotten.Process.Pid || seen[0].ID != "berth-1-x" {
		t.Fatalf("the first sweep saw %v, %v", seen, err)
	}
	if err := forgotten.Process.Signal(syscall.Signal(0)); err != nil {
		t.Fatalf("the shim ended at first sight: %v", err)
	}
	if _, err := e.sweepShims(t.Context(), seen); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(forgotten.Process.Pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("the forgotten shim has not ended: %v", err)
	}
	if err := foreign.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("a shim that is not berth's: %v", err)
	}
}

// startShim starts a process with the command line of a shim.
func startShim(t *testing.T, id, address string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "sleep 1000 & wait", "-namespace", Namespace, "-id", id, "-address", address)
	cmd.Args[0] = "containerd-shim-runc-v2"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		_ = cmd.Wait()
	})
	return cmd
}

// TestAnotherTryWaits: containerd cleans up after a shim by its attempt's id, so nothing of that id may be made until it has.
func TestAnotherTryWaits(t *testing.T) {
	bundle := filepath.Join(t.TempDir(), "berth-1-x")
	if err := os.Mkdir(bundle, 0o700); err != nil {
		t.Fatal(err)
	}
	cleaned := make(chan error, 1)
	go func() {
		time.Sleep(5 * lookAgain) // as long as containerd takes
		cleaned <- os.Remove(bundle)
	}()
	awaitCleanup(t.Context(), bundle)
	if _, err := os.Lstat(bundle); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it did not wait until the bundle was gone: %v", err)
	}
	if err := <-cleaned; err != nil {
		t.Error(err)
	}
}
