// Package diskquota limits what jobs may have on a disk, by the project quotas of ext4 and XFS: files of a project count
// together, and what is made in a directory of a project is of that project.
//
// A job's project follows from its number, so nothing has to be remembered. A program may give its own files another project: the
// limit is for mistakes, not against malice.
package diskquota

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrOff says that the filesystem has no project quotas, or does not enforce them.
var ErrOff = errors.New("its filesystem does not enforce project quotas: that takes ext4 (mkfs.ext4 -O quota,project) or XFS, " +
	"mounted with -o prjquota, and Linux 5.14")

// What the kernel's linux/quota.h, linux/dqblk_xfs.h and linux/fs.h say; golang.org/x/sys has none of it.
const (
	projectQuota   = 2
	commandState   = 'X'<<8 + 8
	commandLimit   = 0x800008
	stateVersion   = 1
	stateEnforced  = 1 << 5
	limitIsForSize = 1
	limitUnit      = 1024
	getAttributes  = 0x801c581f
	setAttributes  = 0x401c5820
	projectInherit = 0x200
)

// firstProject is above what administrators use for their own, and lastJob has room above it.
const (
	firstProject = 1 << 31
	lastJob      = firstProject - 1
)

// project is that of a job.
func project(job int64) uint32 { return uint32(firstProject + job&lastJob) }

// attributes are a file's, as struct fsxattr has them.
type attributes struct {
	flags, extentSize, extents, project, copyOnWriteExtentSize uint32
	_                                                          [8]byte
}

// state is as much of struct fs_quota_statv as is looked at.
type state struct {
	version int8
	_       uint8
	flags   uint16
	_       [252]byte
}

// block is struct if_dqblk: the hard limits are in units of limitUnit, the space used in bytes.
type block struct {
	sizeLimit, softSizeLimit, size  uint64
	filesLimit, softFilesLimit      uint64
	files, sizeExpires, filesExpire uint64
	valid                           uint32
	_                               uint32
}

// Check returns an error that wraps ErrOff when directories of the filesystem of dir cannot be limited.
func Check(dir string) error {
	s := state{version: stateVersion}
	err := onDir(dir, func(fd uintptr) error { return quotactl(fd, commandState, 0, unsafe.Pointer(&s)) })
	switch {
	case errors.Is(err, os.ErrNotExist):
		return err
	case err != nil, s.flags&stateEnforced == 0:
		return fmt.Errorf("%s: %w", dir, errors.Join(ErrOff, err))
	}
	return nil
}

// Limit makes an empty directory one of a job's, and bounds what all directories of the job have together to size bytes. Safe to repeat.
func Limit(dir string, job, size int64) error {
	err := onDir(dir, func(fd uintptr) error {
		var a attributes
		if err := ioctl(fd, getAttributes, unsafe.Pointer(&a)); err != nil {
			return err
		}
		a.flags |= projectInherit
		a.project = project(job)
		if err := ioctl(fd, setAttributes, unsafe.Pointer(&a)); err != nil {
			return err
		}
		return limit(fd, job, size)
	})
	if err != nil {
		return fmt.Errorf("limit %s to %d bytes: %w", dir, size, err)
	}
	return nil
}

// Unlimit takes back the limit of a job on the filesystem of dir. Safe to repeat, and for a job that had none.
func Unlimit(dir string, job int64) error {
	if err := onDir(dir, func(fd uintptr) error { return limit(fd, job, 0) }); err != nil {
		return fmt.Errorf("take the limit of job %d back: %w", job, err)
	}
	return nil
}

// Release takes back the limit of a job whose directory dir is, before it is deleted. Safe to repeat, for one that has no limit, and for one
// that is not there.
func Release(dir string, job int64) error {
	var a attributes
	err := onDir(dir, func(fd uintptr) error { return ioctl(fd, getAttributes, unsafe.Pointer(&a)) })
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ENOTTY), errors.Is(err, errors.ErrUnsupported):
		return nil // nor can it have had one
	case err != nil:
		return fmt.Errorf("project of %s: %w", dir, err)
	case a.project != project(job):
		return nil
	}
	return Unlimit(dir, job)
}

// limit sets what a job may have; 0 is no limit.
func limit(fd uintptr, job, size int64) error {
	b := block{sizeLimit: uint64(size / limitUnit), valid: limitIsForSize} //nolint:gosec // never negative
	return quotactl(fd, commandLimit, project(job), unsafe.Pointer(&b))
}

// onDir calls do with a descriptor of a directory.
func onDir(dir string, do func(fd uintptr) error) error {
	file, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var done error
	if err := raw.Control(func(fd uintptr) { done = do(fd) }); err != nil {
		return err
	}
	return done
}

func quotactl(fd, command uintptr, id uint32, argument unsafe.Pointer) error {
	_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL_FD, fd, command<<8|projectQuota, uintptr(id), uintptr(argument), 0, 0)
	if errno != 0 {
		return os.NewSyscallError("quotactl_fd", errno)
	}
	return nil
}

func ioctl(fd, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(argument)); errno != 0 {
		return os.NewSyscallError("ioctl", errno)
	}
	return nil
}
