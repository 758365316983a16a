package private

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
	"go.etcd.io/bbolt"
)

// snapshotRoots are where the snapshotters keep their metadata and their directories, below the daemon's root.
var snapshotRoots = []string{"io.containerd.snapshotter.v1.overlayfs", "io.containerd.snapshotter.v1.native"}

// errMounted says that the metadata are not those of the snapshots: they do not know one that is in use.
var errMounted = errors.New("it is mounted, although no metadata knows it")

// removeOrphans removes the directories of snapshots that no metadata knows. A containerd that is killed while it makes a snapshot leaves
// one, and cannot make another: the next one is to have the same directory. What cannot be told is left alone.
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
	return withSnapshots(ctx, filepath.Join(root, "metadata.db"), func(known map[string]string) error {
		var orphans []string
		for _, entry := range entries {
			if _, ok := known[entry.Name()]; !ok {
				orphans = append(orphans, filepath.Join(directories, entry.Name()))
			}
		}
		return removeUnused(orphans)
	})
}

// removeUnused removes directories, unless one of them is mounted, or part of what is: then something is wrong, and all stay.
func removeUnused(dirs []string) error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("mounts: %w", err)
	}
	mounts := unescape(string(text))
	for _, dir := range dirs {
		if strings.Contains(mounts, dir+"/") {
			return fmt.Errorf("snapshot %s: %w", dir, errMounted)
		}
	}
	for _, dir := range dirs {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("directory of a snapshot: %w", err)
		}
	}
	return nil
}

// withSnapshots calls do with the snapshots of a database, by the names of their directories. The database is locked meanwhile, so that no
// containerd makes another snapshot; it fails when one has it open.
func withSnapshots(ctx context.Context, path string, do func(known map[string]string) error) (err error) {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("metadata of snapshots: %w", err)
	}
	metadata, err := storage.NewMetaStore(path, func(o *bbolt.Options) error {
		o.ReadOnly, o.Timeout = true, time.Second
		return nil
	})
	if err != nil {
		return fmt.Errorf("metadata of snapshots: %w", err)
	}
	defer func() { err = errors.Join(err, metadata.Close()) }()
	return metadata.WithTransaction(ctx, false, func(ctx context.Context) error {
		known, err := storage.IDMap(ctx)
		if err != nil && !errdefs.IsNotFound(err) { // there is none yet
			return fmt.Errorf("metadata of snapshots: %w", err)
		}
		return do(known)
	})
}
