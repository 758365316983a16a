package volume

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/crashpoint"
)

const (
	// openDir is the directory of the file system that a job gets, lost+found and such being beside it.
	openDir = "data"
	// cipherDir is the directory in which an encrypted volume has its files.
	cipherDir = "encrypted"
	// patience is what the kernel, and programs that look at every new device, may take to let a file system go.
	patience = 10 * time.Second
)

// format makes the file system. Nothing in it is given back to the disk: "discard" would do that.
func (vol *volume) format(ctx context.Context) error {
	if vol.array() {
		args := append([]string{"-q", "-f", "-K", "-d", "raid0", "-m", "raid1"}, vol.images()...)
		return vol.run(ctx, "", "mkfs.btrfs", args...)
	}
	// What was reserved reads as zeros: they need not be written.
	return vol.run(ctx, "", "mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-E", "nodiscard,assume_storage_prezeroed=1", vol.images()[0])
}

// furnish makes the directory that jobs get.
func (vol *volume) furnish(ctx context.Context, password string) error {
	c, err := vol.claim(ctx, "new", false)
	if err != nil {
		return err
	}
	if err := vol.mount(ctx, c); err != nil {
		return err
	}
	if vol.layout.Encrypted {
		if err := vol.initialize(ctx, c, password); err != nil {
			return err
		}
	} else if err := os.Mkdir(filepath.Join(c.mount(), openDir), 0o750); err != nil {
		return err
	}
	if err := vol.release(ctx, c); err != nil {
		return err
	}
	return os.Remove(filepath.Join(vol.dir, attached)) // no job has had it yet
}

// isMount says whether something is mounted at a path, or may be: what cannot be looked at is unmounted before anything is thought of it, as
// is the mount of a dead daemon. It asks no daemon.
func isMount(path string) bool {
	var status unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT|unix.AT_STATX_DONT_SYNC, 0, &status)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	return status.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

// mount mounts the file system for a claim, if it is not mounted yet. Jobs get neither programs that run as their owner nor devices by it.
func (vol *volume) mount(ctx context.Context, c claim) error {
	if c.readOnly || vol.array() {
		return vol.mountAs(ctx, c)
	}
	if !vol.layout.Mounting && !isMount(c.mount()) {
		vol.layout.Mounting = true
		if err := vol.save(); err != nil {
			return err
		}
	}
	err := vol.mountAs(ctx, c)
	if !vol.layout.Mounting {
		return err
	}
	vol.layout.Mounting = false
	return errors.Join(err, vol.save())
}

// mountAs is mount without a word about what is left when it is broken off.
func (vol *volume) mountAs(ctx context.Context, c claim) error {
	if isMount(c.mount()) {
		return nil
	}
	kind, flags, options := "ext4", uintptr(unix.MS_NOSUID|unix.MS_NODEV), []string{}
	if c.readOnly {
		flags |= unix.MS_RDONLY
	}
	switch {
	case vol.array():
		kind, options = "btrfs", []string{"nodiscard"}
	case c.readOnly:
		options = []string{"noload"}
	}
	var devices []string
	for _, image := range vol.images() {
		// btrfs may have to write down what was synced before a crash, also for one who only reads.
		device, err := openLoop(ctx, image, c.readOnly && !vol.array())
		if err != nil {
			return fmt.Errorf("mount volume: %w", err)
		}
		defer func() { _ = device.Close() }() // from the mount on it is held by that
		devices = append(devices, device.Name())
		if vol.array() {
			options = append(options, "device="+device.Name())
		}
	}
	crashpoint.Here("volume.looped")
	err := unix.Mount(devices[0], c.mount(), kind, flags, strings.Join(options, ","))
	if errno, ok := errors.AsType[unix.Errno](err); ok && slices.Contains(unreadable, errno) {
		return fmt.Errorf("%w: mount %s on %s: %w", ErrDamaged, kind, c.mount(), err)
	}
	if errors.Is(err, unix.ENODEV) {
		return &berth.Error{Kind: berth.Unsupported, Msg: "The kernel of the server lacks the filesystem " + kind, Err: err}
	}
	if err != nil {
		return fmt.Errorf("mount %s on %s: %w", kind, c.mount(), err)
	}
	return nil
}

// unreadable is what the kernel says of a file system in which it finds something wrong.
var unreadable = []unix.Errno{unix.EINVAL, unix.EIO, unix.EUCLEAN, unix.EBADMSG}

// release unmounts what is mounted for a claim and gives it up. unix.EBUSY when a process still uses it.
func (vol *volume) release(ctx context.Context, c claim) error {
	if err := c.encrypt(ctx); err != nil {
		return fmt.Errorf("detach volume: %w", err)
	}
	crashpoint.Here("volume.encrypted")
	if err := patiently(ctx, func() error { return unmount(c.mount()) }); err != nil {
		return fmt.Errorf("detach volume: %w", err)
	}
	crashpoint.Here("volume.unmounted")
	others, err := vol.claims()
	if err != nil {
		return err
	}
	if len(others) <= 1 {
		// A mount that was copied to the namespace of another process, as for a container, would go on after the claim.
		if err := patiently(ctx, vol.detached); err != nil {
			return fmt.Errorf("detach volume: %w", err)
		}
	}
	return c.remove()
}

// unmount unmounts everything at a path.
func unmount(path string) error {
	for isMount(path) {
		if err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
	}
	return nil
}

// patiently tries something that is refused while somebody is about to let go.
func patiently(ctx context.Context, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := try()
		_, busy := errors.AsType[*Busy](err)
		if !busy && !errors.Is(err, unix.EBUSY) {
			return err
		}
		if wait(ctx) != nil {
			return err
		}
	}
}

// clean says whether the file system was unmounted after its last use. An array always is as if it was: btrfs writes nothing over what
// is valid.
func (vol *volume) clean() (bool, error) {
	if vol.array() {
		return true, nil
	}
	if vol.layout.Repairing {
		return false, nil
	}
	// The superblock of ext4, as it is on every disk since 1993.
	const (
		at             = 1024
		magicAt, magic = 56, 0xEF53
		stateAt        = 58
		stateClean     = 1
		stateErrors    = 2
		featuresAt     = 96
		needsRecovery  = 4
	)
	file, err := os.Open(vol.images()[0])
	if err != nil {
		return false, err
	}
	defer func() { _ = file.Close() }()
	super := make([]byte, 1024)
	if _, err := io.ReadFull(io.NewSectionReader(file, at, int64(len(super))), super); err != nil {
		return false, fmt.Errorf("superblock of %s: %w", file.Name(), err)
	}
	if binary.LittleEndian.Uint16(super[magicAt:]) != magic {
		return false, nil
	}
	state := binary.LittleEndian.Uint16(super[stateAt:])
	features := binary.LittleEndian.Uint32(super[featuresAt:])
	if state&stateErrors != 0 {
		return false, nil
	}
	return vol.layout.Mounting || state&stateClean != 0 && features&needsRecovery == 0, nil
}
