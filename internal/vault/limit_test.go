package vault

import (
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/diskquota/quotatest"
)

// TestLimitIsOfEphemeralVaults: what the kernel says a directory has room for is what its project may have.
func TestLimitIsOfEphemeralVaults(t *testing.T) {
	root := filepath.Join(t.TempDir(), "disk")
	err := quotatest.Mount(t.Context(), "ext4", root)
	if errors.Is(err, quotatest.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(root, 0); err != nil {
			t.Error(err)
		}
	})
	d := Directories{Scratch: filepath.Join(root, "scratch")}
	const limit = 1 << 20
	for kind, attempt := range map[berth.VaultKind]string{berth.VaultEphemeral: "berth-1-a", berth.VaultObject: "berth-2-a"} {
		for range 2 {
			path, err := d.Prepare(berth.Vault{Name: "v", Kind: kind}, attempt, limit)
			if err != nil {
				t.Fatal(err)
			}
			var room unix.Statfs_t
			if err := unix.Statfs(path, &room); err != nil {
				t.Fatal(err)
			}
			if bounded := int64(room.Blocks)*room.Bsize == limit; bounded != (kind == berth.VaultEphemeral) {
				t.Errorf("a vault of kind %s has %d blocks of %d bytes", kind, room.Blocks, room.Bsize)
			}
		}
		for range 2 {
			if err := d.Release(attempt); err != nil {
				t.Fatal(err)
			}
		}
	}
}
