package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// detached returns *Busy while a loop device has an image of the volume. Such devices go when the last mount of them does, in whichever
// namespace it is.
func (vol *volume) detached() error {
	for _, image := range vol.images() {
		device, err := loopOf(image)
		if err != nil {
			return err
		}
		if device != "" {
			return &Busy{}
		}
	}
	return nil
}

// loopOf returns the loop device that has an image, or nothing.
func loopOf(image string) (device string, err error) {
	want, err := os.Stat(image)
	if err != nil {
		return "", absent(err)
	}
	backings, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return "", err
	}
	for _, backing := range backings {
		name, err := os.ReadFile(backing)
		if err != nil {
			continue // it went in between
		}
		have, err := os.Stat(strings.TrimSuffix(string(name), "\n")) //nolint:gosec // the kernel says where it is, and it is only looked at
		if err == nil && os.SameFile(want, have) {
			return "/dev/" + filepath.Base(filepath.Dir(filepath.Dir(backing))), nil
		}
	}
	return "", nil
}

// openLoop returns a loop device with an image, the one that there is or a new one. It goes by itself when nobody has it open and
// nothing on it is mounted, so that one that was never mounted goes with a server that is killed. The caller closes it.
func openLoop(ctx context.Context, image string, readOnly bool) (*os.File, error) {
	mode := os.O_RDWR
	if readOnly {
		mode = os.O_RDONLY
	}
	found, err := loopOf(image)
	if err != nil {
		return nil, err
	}
	if found != "" {
		device, err := os.OpenFile(found, mode, 0)
		if err != nil {
			return nil, err
		}
		if same, err := hasLoop(device, image); err == nil && same {
			return device, nil
		}
		_ = device.Close() // it went in between
	}
	file, err := os.OpenFile(image, mode, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // the device keeps it
	if err := device(loopDevice); err != nil {
		return nil, err
	}
	control, err := os.OpenFile(loopDevice, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = control.Close() }()
	for ctx.Err() == nil {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("find a loop device: %w", err)
		}
		device, err := configure(fmt.Sprintf("/dev/loop%d", number), file, readOnly)
		if !errors.Is(err, unix.EBUSY) { // somebody else was faster
			return device, err
		}
	}
	return nil, context.Cause(ctx)
}

// hasLoop says whether a loop device still has an image after it was opened.
func hasLoop(device *os.File, image string) (bool, error) {
	status, err := unix.IoctlLoopGetStatus64(int(device.Fd()))
	if err != nil {
		return false, err
	}
	info, err := os.Stat(image)
	if err != nil {
		return false, err
	}
	file, ok := info.Sys().(*syscall.Stat_t)
	return ok && file.Ino == status.Inode && file.Dev == status.Device, nil // files on other disks have the same numbers
}

// configure makes a free loop device that of an image. unix.EBUSY when it is not free any more.
func configure(path string, image *os.File, readOnly bool) (*os.File, error) {
	mode, flags := os.O_RDWR, uint32(unix.LO_FLAGS_AUTOCLEAR|unix.LO_FLAGS_DIRECT_IO)
	if readOnly {
		mode, flags = os.O_RDONLY, flags|unix.LO_FLAGS_READ_ONLY
	}
	device, err := os.OpenFile(path, mode, 0)
	if err != nil {
		return nil, err
	}
	config := unix.LoopConfig{Fd: uint32(image.Fd()), Info: unix.LoopInfo64{Flags: flags}} //nolint:gosec // a descriptor is small
	if err := unix.IoctlLoopConfigure(int(device.Fd()), &config); err != nil {
		return nil, errors.Join(fmt.Errorf("attach %s to %s: %w", image.Name(), path, err), device.Close())
	}
	return device, nil
}
