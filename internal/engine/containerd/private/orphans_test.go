package private

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"go.etcd.io/bbolt"
	bberrors "go.etcd.io/bbolt/errors"
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

// TestSnapshotsInUse: no snapshot is removed while a containerd has the metadata, nor when these have been lost and one is mounted.
func TestSnapshotsInUse(t *testing.T) {
	root := t.TempDir()
	directories, metadata := filepath.Join(root, "snapshots"), filepath.Join(root, "metadata.db")
	upper, work := filepath.Join(directories, "7", "fs"), filepath.Join(directories, "7", "work")
	lower, point := filepath.Join(directories, "3", "fs"), filepath.Join(root, "rootfs")
	for _, dir := range []string{upper, work, lower, point} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	all := func() {
		t.Helper()
		if left, err := os.ReadDir(directories); err != nil || len(left) != 2 {
			t.Errorf("%v, %v are left; want all snapshots", left, err)
		}
	}
	if err := removeOrphans(t.Context(), root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without metadata: %v; want %v", err, fs.ErrNotExist)
	}
	all()

	beginAndGiveUp(t, metadata)
	if err := unix.Mount("overlay", point, "overlay", 0, "lowerdir="+lower+",upperdir="+upper+",workdir="+work); err != nil {
		t.Fatal(err)
	}
	if err := removeOrphans(t.Context(), root); !errors.Is(err, errMounted) {
		t.Errorf("mounted: %v; want %v", err, errMounted)
	}
	if err := unix.Unmount(point, 0); err != nil {
		t.Fatal(err)
	}
	all()

	used, err := bbolt.Open(metadata, 0o600, nil) // as a containerd does
	if err != nil {
		t.Fatal(err)
	}
	if err := removeOrphans(t.Context(), root); !errors.Is(err, bberrors.ErrTimeout) {
		t.Errorf("with metadata that are in use: %v; want %v", err, bberrors.ErrTimeout)
	}
	if err := used.Close(); err != nil {
		t.Fatal(err)
	}
	all()
	if err := removeOrphans(t.Context(), root); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(directories); err != nil || len(left) != 0 {
		t.Errorf("%v, %v are left of what nobody uses", left, err)
	}
}

// TestMetadataStayLocked: no containerd can make a snapshot while those that nobody knows are removed.
func TestMetadataStayLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metadata.db")
	beginAndGiveUp(t, path)
	err := withSnapshots(t.Context(), path, func(map[string]string) error {
		used, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Millisecond})
		if err == nil {
			return errors.Join(errors.New("it can be opened"), used.Close())
		}
		if !errors.Is(err, bberrors.ErrTimeout) {
			return err
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
