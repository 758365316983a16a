package staging

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestAFullDiskLeavesAManifestThatIsRead has a file system of its own.
func TestAFullDiskLeavesAManifestThatIsRead(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 32<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "manifest")
	m, err := openManifest(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.plan([]*object{{Key: "a", Path: "a"}}); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		err = m.add(line{Sending: "a file with a name of some length"})
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(m.finish(), m.close()); err != nil {
		t.Fatal(err)
	}
	m, err = openManifest(path)
	if err != nil {
		t.Fatal(err)
	}
	if !m.complete || m.byPath["a"] == nil || !m.began("a file with a name of some length") {
		t.Errorf("read %+v", m)
	}
	if err := m.close(); err != nil {
		t.Error(err)
	}
}
