// Package quotatest makes filesystems with project quotas, for tests.
package quotatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// ErrUnsupported says that this machine's kernel has no project quotas, or that its programs make no such filesystems.
var ErrUnsupported = errors.New("no project quotas here")

// size is the least that XFS takes. Files have no more than what is written to them.
const size = 320 << 20

// makers are the programs that make filesystems, by their kinds.
var makers = map[string][]string{
	"ext4": {"mke2fs", "-q", "-t", "ext4", "-O", "quota,project", "-E", "quotatype=prjquota"},
	"xfs":  {"mkfs.xfs", "-q"},
}

// Mount mounts a new filesystem of a kind, ext4 or xfs, with project quotas at dir. Its image is beside dir. Whoever calls it unmounts
// it. The error wraps ErrUnsupported.
func Mount(ctx context.Context, kind, dir string) error {
	image := dir + ".img"
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		return err
	}
	if err := errors.Join(os.Truncate(image, size), os.MkdirAll(dir, 0o711)); err != nil { //nolint:gosec // as berthd makes it
		return err
	}
	for _, command := range [][]string{append(makers[kind], image), {"mount", "-o", "loop,prjquota", image, dir}} {
		cmd := exec.CommandContext(ctx, command[0], command[1:]...)
		cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s: %w\n%s", ErrUnsupported, command[0], err, out)
		}
	}
	return nil
}

// Disk returns the root of a new filesystem of a kind, with project quotas, that goes with the test. The test is skipped where there is none.
func Disk(t testing.TB, kind string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), kind)
	err := Mount(t.Context(), kind, dir)
	if errors.Is(err, ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Room returns how many bytes the kernel says that a directory has room for, used or not: with a bound, that.
func Room(t testing.TB, dir string) int64 {
	t.Helper()
	var room unix.Statfs_t
	if err := unix.Statfs(dir, &room); err != nil {
		t.Fatal(err)
	}
	return int64(room.Blocks) * room.Bsize //nolint:gosec // no disk is that large
}
