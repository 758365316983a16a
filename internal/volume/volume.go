// Package volume provides block volumes: file systems of a fixed size in files of the server, whose space is theirs from the start. One
// job at a time, or the server itself, writes to a volume, or several read it. A volume may be encrypted with a password that the server does not keep.
//
// A volume is a directory with these files:
//
//	volume.json           where its images are, and whether it was made completely
//	image-0 ...           the file system, striped over several images or in one; those of an array may lie on other disks
//	attached/<attempt>/   who has it: a claim, made before anything is mounted and removed after everything is unmounted
//
// All that is known is in these files, in the table of mounts and in the file systems themselves, so that a server that was killed at
// any moment goes on where it was.
package volume

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/crashpoint"
)

const (
	// MinSize is the size of the smallest volume, in bytes.
	MinSize = 16 << 20
	// MinImage is the size of the smallest image of an array, in bytes.
	MinImage = 128 << 20
	// MaxImages bounds the images of an array.
	MaxImages = 64
	// maxPassword is what gocryptfs reads for certain, in bytes.
	maxPassword = 1024
)

// ErrNoRoom says that a disk of the server is too small for a new volume.
var ErrNoRoom = errors.New("the disk is too small")

// Volumes keeps volumes. All methods are safe for concurrent use, also by several processes of the machine, and safe to repeat. It needs root.
type Volumes struct {
	// Dir holds the volumes. It is an absolute path.
	Dir string
	// Dirs are the directories, perhaps on several disks, over which the images of arrays are spread: image i lies in the i-th of them,
	// and from the first again when there are more images. Dir when empty.
	Dirs []string
	// Log is told what went wrong without anybody waiting for it.
	Log *slog.Logger
}

// Spec says how a volume is to be.
type Spec struct {
	// Size is that of all images together, in bytes. It is rounded down to whole MiB for each image, and the file system takes some of it.
	Size int64
	// Images is their number: with 1 the file system is ext4, with more of them btrfs with its data striped over them.
	Images int
	// Password encrypts the volume when it is not empty. Without it nobody reads the volume again.
	Password string
}

// check refuses what cannot be made, by an error for who asked.
func (s Spec) check() error {
	switch {
	case s.Images < 1 || s.Images > MaxImages:
		return berth.Errorf(berth.Invalid, "Invalid parameter(s): a block vault has 1 to %d images", MaxImages)
	case s.Images == 1 && s.Size < MinSize:
		return berth.Errorf(berth.Invalid, "Invalid parameter(s): a block vault has at least %d MiB", MinSize>>20)
	case s.Images > 1 && s.image() < MinImage:
		return berth.Errorf(berth.Invalid, "Invalid parameter(s): each image of a block vault has at least %d MiB", MinImage>>20)
	case len(s.Password) > maxPassword || strings.ContainsAny(s.Password, "\x00\r\n"):
		return berth.Errorf(berth.Invalid, "Invalid parameter(s): a password is one line of at most %d bytes", maxPassword)
	}
	return Check(s.Images > 1, s.Password != "")
}

// image is the size of each image in bytes.
func (s Spec) image() int64 {
	const unit = 1 << 20
	return s.Size / int64(s.Images) / unit * unit
}

// Create makes a volume with an empty file system and returns its path, which is its name from then on. It is made completely or, also
// when the server was killed, not at all once Sweep has run. What the asker can change is a *berth.Error: Invalid for the
// specification, NoSpace (ErrNoRoom) for a disk that is too small, Unsupported for a program that is missing.
func (v *Volumes) Create(ctx context.Context, s Spec) (path string, err error) {
	if err := s.check(); err != nil {
		return "", err
	}
	random := make([]byte, 16)
	_, _ = rand.Read(random) // never fails
	path = filepath.Join(v.Dir, prefix+hex.EncodeToString(random))
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", fmt.Errorf("new volume: %w", err)
	}
	vol, err := lock(ctx, path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, vol.unlock()) }()
	if err := v.create(ctx, vol, s); err != nil {
		return "", errors.Join(fmt.Errorf("new volume: %w", err), v.discard(context.WithoutCancel(ctx), vol))
	}
	return path, nil
}

func (v *Volumes) create(ctx context.Context, vol *volume, s Spec) error {
	vol.layout.Encrypted = s.Password != ""
	for i := range s.Images {
		vol.layout.Images = append(vol.layout.Images, v.imagePath(vol, s, i))
	}
	if err := vol.save(); err != nil {
		return err
	}
	crashpoint.Here("volume.begun")
	for _, image := range vol.images() {
		if err := reserve(image, s.image()); err != nil {
			return err
		}
	}
	if err := vol.format(ctx); err != nil {
		return err
	}
	crashpoint.Here("volume.formatted")
	// What making the file system may have given back to the disk is taken again.
	for _, image := range vol.images() {
		if err := reserve(image, s.image()); err != nil {
			return err
		}
	}
	if err := vol.furnish(ctx, s.Password); err != nil {
		return err
	}
	vol.layout.Complete = true
	return vol.save()
}

// imagePath is where an image is: a name of the volume's own directory, or an absolute path.
func (v *Volumes) imagePath(vol *volume, s Spec, i int) string {
	name := fmt.Sprintf("image-%d", i)
	if s.Images == 1 || len(v.Dirs) == 0 {
		return name
	}
	dir := v.Dirs[i%len(v.Dirs)]
	if filepath.Clean(dir) == filepath.Clean(v.Dir) {
		return name
	}
	return filepath.Join(dir, filepath.Base(vol.dir), name)
}

// reserve makes an image of a size whose blocks are all its own: a disk that others fill up must not take them. What is in it stays.
func reserve(path string, size int64) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	var disk unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &disk); err != nil {
		return fmt.Errorf("room for %s: %w", path, err)
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	// Asked before: taking the last block of the disk, only to give it back, would hurt everybody else on it.
	room := int64(disk.Bavail) * disk.Bsize //nolint:gosec // no disk has so many blocks
	if size-info.Size() > room {
		return noRoom(path, unix.ENOSPC)
	}
	switch err := unix.Fallocate(int(file.Fd()), 0, 0, size); {
	case errors.Is(err, unix.ENOSPC):
		return noRoom(path, err)
	case err != nil:
		return fmt.Errorf("reserve %d bytes for %s: %w", size, path, err)
	}
	return file.Sync()
}

func noRoom(path string, err error) error {
	return &berth.Error{
		Kind: berth.NoSpace, Msg: "The server's disk is too small for this vault",
		Err: fmt.Errorf("%w: %s: %w", ErrNoRoom, path, err),
	}
}

// Remove deletes a volume and all that is in it. *Busy while somebody has it; Conflict for one of another Dir. One that is not there is fine. Who keeps the paths forgets
// this one afterwards: a volume that had files is never deleted because nobody knows its path.
func (v *Volumes) Remove(ctx context.Context, path string) (err error) {
	if !v.own(path) {
		return &berth.Error{
			Kind: berth.Conflict, Msg: "The files of the vault are not where the server has such vaults",
			Detail: "they were made with another --volume-dir", Err: fmt.Errorf("remove volume: %q is none of %s", path, v.Dir),
		}
	}
	vol, err := lock(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, vol.unlock()) }()
	if err := vol.free(ctx, claim{}); err != nil {
		return err
	}
	// From here on it is deleted, at the next start at the latest when nobody keeps its path.
	vol.layout.Complete = false
	if err := vol.save(); err != nil && !errors.Is(err, unix.ENOSPC) { // a full disk is a reason to remove it: it is deleted unannounced
		return fmt.Errorf("remove volume: %w", err)
	}
	crashpoint.Here("volume.removing")
	return v.discard(ctx, vol)
}

// own says whether a path is that of a volume here.
func (v *Volumes) own(path string) bool {
	return filepath.Dir(filepath.Clean(path)) == filepath.Clean(v.Dir) && named(filepath.Base(path))
}

// discard deletes an incomplete volume.
func (v *Volumes) discard(ctx context.Context, vol *volume) error {
	claims, err := vol.claims()
	if err != nil {
		return err
	}
	for _, c := range claims {
		if err := vol.release(ctx, c); err != nil {
			return err
		}
	}
	for _, image := range vol.images() {
		err = errors.Join(err, absent(os.Remove(image)))
	}
	for _, image := range vol.images() {
		if dir := filepath.Dir(image); dir != vol.dir && err == nil {
			err = absent(os.Remove(dir))
		}
	}
	if err != nil {
		return fmt.Errorf("remove volume: %w", err)
	}
	if err := os.RemoveAll(vol.dir); err != nil {
		return fmt.Errorf("remove volume: %w", err)
	}
	return nil
}

// absent takes that something is not there for having removed it.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
