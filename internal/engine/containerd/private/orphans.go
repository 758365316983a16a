package private

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
	"go.etcd.io/bbolt"
)

// snapshotRoots are where the snapshotters keep their metadata and their directories, below the daemon's root.
var snapshotRoots = []string{"io.containerd.snapshotter.v1.overlayfs", "io.containerd.snapshotter.v1.native"}

// removeOrphans removes the directories of snapshots that no metadata knows. A containerd that is killed while it makes a snapshot leaves
// one, and cannot make another: the next one is to have the same directory. It must not run. What cannot be told is left alone.
func (d *Daemon) removeOrphans(ctx context.Context) {
	for _, name := range snapshotRoots {
		if err := removeOrphans(ctx, filepath.Join(d.root, name)); err != nil {
			d.log.WarnContext(ctx, "what snapshots of the private containerd may have left", "snapshotter", name, "error", err)
		}
	}
}

func removeOrphans(ctx context.Context, root string) error {
	directories := filepath.Join(root, "snapshots")
	entries, err := os.ReadDir(directories)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("directories of snapshots: %w", err)
	}
	known, err := knownSnapshots(ctx, filepath.Join(root, "metadata.db"))
	if err != nil {
		return fmt.Errorf("metadata of snapshots: %w", err)
	}
	for _, entry := range entries {
		if _, ok := known[entry.Name()]; ok {
			continue
		}
		if err := os.RemoveAll(filepath.Join(directories, entry.Name())); err != nil {
			return fmt.Errorf("directory of a snapshot: %w", err)
		}
	}
	return nil
}

// knownSnapshots returns the snapshots of a database by the names of their directories.
func knownSnapshots(ctx context.Context, path string) (known map[string]string, err error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	metadata, err := storage.NewMetaStore(path, func(o *bbolt.Options) error {
		o.ReadOnly, o.Timeout = true, time.Second
		return nil
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, metadata.Close()) }()
	err = metadata.WithTransaction(ctx, false, func(ctx context.Context) error {
		known, err = storage.IDMap(ctx)
		if errdefs.IsNotFound(err) {
			return nil // there was none yet
		}
		return err
	})
	return known, err
}
