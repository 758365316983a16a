package volume

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/wholefile"
)

const (
	// prefix and 32 hexadecimal digits are the name of a volume. Nothing else in a directory is ever looked at.
	prefix = "volume-"
	// layoutFile holds a layout.
	layoutFile = "volume.json"
	// attached is the directory of claims. A volume without it has never been given to a job.
	attached = "attached"
	// pause is how soon something is tried again that tells nobody when it has come to an end.
	pause = 10 * time.Millisecond
)

// layout is what a volume knows of itself.
type layout struct {
	// Images are names in the volume's directory, or absolute paths.
	Images    []string
	Encrypted bool
	// Complete is false while it is made and when it is removed.
	Complete bool
	// Repairing is true while the file system is being repaired. One that was half repaired may look as if it was clean.
	Repairing bool `json:",omitempty"`
	// Mounting is true from before a clean ext4 is mounted to be written until nobody can have written to it yet. The kernel breaks a mount off
	// when the server is killed, and what it leaves then looks as if it was unclean.
	Mounting bool `json:",omitempty"`
}

// volume is one that is locked: nobody else makes, attaches, detaches or removes it at the same time.
type volume struct {
	dir    string
	lockOn *os.File
	layout layout
}

// named says whether a name is that of a volume.
func named(name string) bool {
	digits, found := strings.CutPrefix(name, prefix)
	random, err := hex.DecodeString(digits)
	return found && err == nil && len(random) == 16
}

// lock waits for a volume and locks it until unlock. Programs that work on it hold the lock, too, so that what a killed server has left
// running comes to its end first. fs.ErrNotExist when there is no such volume.
func lock(ctx context.Context, dir string) (*volume, error) {
	dir = filepath.Clean(dir)
	file, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("lock volume: %w", err)
	}
	vol := &volume{dir: dir, lockOn: file}
	err = await(ctx, file)
	if err == nil {
		err = vol.load()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock volume %s: %w", dir, err), file.Close())
	}
	return vol, nil
}

func (vol *volume) unlock() error { return vol.lockOn.Close() }

// tryLock says whether a file is locked by this open file now.
func tryLock(file *os.File) (bool, error) {
	err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// await locks a file that others may have locked.
func await(ctx context.Context, file *os.File) error {
	for {
		free, err := tryLock(file)
		if err != nil || free {
			return err
		}
		if err := wait(ctx); err != nil {
			return err
		}
	}
}

// wait lets a moment pass.
func wait(ctx context.Context) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// load reads the layout. A volume whose making was broken off at its very beginning has none, and no images.
func (vol *volume) load() error {
	text, err := os.ReadFile(filepath.Join(vol.dir, layoutFile))
	if errors.Is(err, fs.ErrNotExist) {
		_, err = os.Stat(vol.dir) // removed while its lock was waited for?
		return err
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(text, &vol.layout)
}

// save has the layout on the disk, the old one or the new one.
func (vol *volume) save() error {
	text, err := json.Marshal(vol.layout)
	if err != nil {
		return err
	}
	return wholefile.Write(filepath.Join(vol.dir, layoutFile), text, 0o600)
}

// images returns their paths.
func (vol *volume) images() []string {
	paths := slices.Clone(vol.layout.Images)
	for i, path := range paths {
		if !filepath.IsAbs(path) {
			paths[i] = filepath.Join(vol.dir, path)
		}
	}
	return paths
}

// array says whether the file system lies on several images, and is btrfs.
func (vol *volume) array() bool { return len(vol.layout.Images) > 1 }

// directories lists the directories of volumes.
func (v *Volumes) directories() ([]string, error) {
	entries, err := os.ReadDir(v.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	var dirs []string
	for _, entry := range entries {
		if named(entry.Name()) && entry.IsDir() {
			dirs = append(dirs, filepath.Join(v.Dir, entry.Name()))
		}
	}
	return dirs, nil
}
