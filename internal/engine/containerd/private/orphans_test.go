package private

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"golang.org/x/sys/unix"
)

// TestOrphanedSnapshots: the directory that a containerd left which was killed while it made a snapshot is not in the way of the next one,
// whether there are other snapshots or none; and these stay.
func TestOrphanedSnapshots(t *testing.T) {
	d := newDaemon(t)
	ctx := namespaces.WithNamespace(t.Context(), "test")
	directories := filepath.Join(d.root, snapshotRoots[0], "snapshots")
	for made, name := range []string{"first", "second", "third"} {
		if err := d.Ensure(ctx); err != nil {
			t.Fatal(err)
		}
		killed(t, d)
		beginAndGiveUp(t, filepath.Join(filepath.Dir(directories), "metadata.db"))
		for _, left := range []string{strconv.Itoa(made + 1), "new-123"} { // the next one is made under such a name
			if err := os.MkdirAll(filepath.Join(directories, left, "fs"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Ensure(ctx); err != nil {
			t.Fatal(err)
		}
		prepare(ctx, t, d, name)
		entries, err := os.ReadDir(directories)
		if err != nil || len(entries) != made+1 {
			t.Errorf("the directories are %v, %v; want %d", entries, err, made+1)
		}
	}
}

// killed kills the daemon.
func killed(t *testing.T, d *Daemon) {
	t.Helper()
	pid := runningPID(t, d)
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := waitEnd(t.Context(), pid); err != nil {
		t.Fatal(err)
	}
}

// beginAndGiveUp leaves the database as somebody does who has begun to make a snapshot.
func beginAndGiveUp(t *testing.T, path string) {
	t.Helper()
	metadata, err := storage.NewMetaStore(path)
	if err != nil {
		t.Fatal(err)
	}
	_, transaction, err := metadata.TransactionContext(t.Context(), true)
	if err == nil {
		err = transaction.Rollback()
	}
	if err := errors.Join(err, metadata.Close()); err != nil {
		t.Fatal(err)
	}
}

// prepare makes a snapshot with a file in it.
func prepare(ctx context.Context, t *testing.T, d *Daemon, name string) {
	t.Helper()
	client, err := containerd.New(d.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	kept := snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "test"})
	mounts, err := client.SnapshotService("overlayfs").Prepare(ctx, name, "", kept)
	if err != nil {
		t.Fatal(err)
	}
	err = mount.WithTempMount(ctx, mounts, func(root string) error {
		return os.WriteFile(filepath.Join(root, name), nil, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}
