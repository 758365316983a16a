package vault

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/diskquota"
	"github.com/berth-hpc/berth/internal/diskquota/quotatest"
)

// TestLimitIsOfEphemeralVaults: what the kernel says a directory has room for is what its project may have.
func TestLimitIsOfEphemeralVaults(t *testing.T) {
	root := quotatest.Disk(t, "ext4")
	d := Directories{Scratch: filepath.Join(root, "scratch")}
	const limit = 1 << 20
	for kind, attempt := range map[berth.VaultKind]string{berth.VaultEphemeral: "berth-1-a", berth.VaultObject: "berth-2-a"} {
		for range 2 {
			path, err := d.Prepare(berth.Vault{Name: "v", Kind: kind}, attempt, limit)
			if err != nil {
				t.Fatal(err)
			}
			if bounded := quotatest.Room(t, path) == limit; bounded != (kind == berth.VaultEphemeral) {
				t.Errorf("a vault of kind %s has room for %d bytes", kind, quotatest.Room(t, path))
			}
		}
	}
}

// TestReleaseTakesTheBoundBack: what else is of the job has none any more.
func TestReleaseTakesTheBoundBack(t *testing.T) {
	root := quotatest.Disk(t, "ext4")
	d := Directories{Scratch: filepath.Join(root, "scratch")}
	const limit = 1 << 20
	if _, err := d.Prepare(berth.Vault{Name: "v", Kind: berth.VaultEphemeral}, "berth-1-a", limit); err != nil {
		t.Fatal(err)
	}
	container := filepath.Join(root, "container")
	if err := os.Mkdir(container, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := diskquota.Limit(container, 1, limit); err != nil || quotatest.Room(t, container) != limit {
		t.Fatalf("before: room for %d bytes, %v", quotatest.Room(t, container), err)
	}
	for range 2 {
		if err := d.Release("berth-1-a"); err != nil || quotatest.Room(t, container) <= limit {
			t.Errorf("after: room for %d bytes, %v", quotatest.Room(t, container), err)
		}
	}
}
