package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// rootfs is the container's root filesystem. It comes from an image that nobody vouches for, and the agent writes to it as root:
// no symlink of the image may lead the agent into a mount, above all not into agentapi.Dir, /data or /proc. So a path either
// passes symlinks and stays in the root's own filesystem, or passes mount points and no symlinks.
type rootfs struct{ fd int }

// folder is an open directory in a rootfs.
type folder struct{ fd int }

// file is what a file is to become.
type file struct {
	data []byte
	mode uint32
	// uid and gid own it.
	uid, gid int
}

const (
	maxReadable = 16 << 20 // more is no file of accounts
	rwxForAll   = 0o755
	enterable   = 0o011 // search permission for group and others
)

func openRootfs(dir string) (*rootfs, error) {
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	// Archives of a private temporary directory carry its mode: nobody but root could enter such a root.
	if err := (folder{fd}).letIn(); err != nil {
		_ = unix.Close(fd)
		return nil, &os.PathError{Op: "chmod", Path: dir, Err: err}
	}
	root := &rootfs{fd: fd}
	self, err := root.open(".", unix.O_PATH)
	if err != nil { // an old kernel, or a seccomp profile that is too strict
		root.close()
		return nil, &os.PathError{Op: "openat2", Path: dir, Err: err}
	}
	_ = unix.Close(self)
	return root, nil
}

func (r *rootfs) close() { _ = unix.Close(r.fd) }

// open opens what is at a path, by the rule of rootfs.
func (r *rootfs) open(name string, flags uint64) (int, error) {
	flags |= unix.O_CLOEXEC
	if flags&unix.O_PATH == 0 { // openat2 refuses flags that mean nothing together
		flags |= unix.O_NONBLOCK | unix.O_NOCTTY // O_NONBLOCK: a FIFO must not stop us
	}
	how := unix.OpenHow{
		Flags:   flags,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	fd, err := openat2(r.fd, name, &how)
	if errors.Is(err, unix.EXDEV) {
		how.Resolve = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_SYMLINKS
		fd, err = openat2(r.fd, name, &how)
	}
	return fd, err
}

func openat2(dir int, name string, how *unix.OpenHow) (int, error) {
	for {
		fd, err := unix.Openat2(dir, strings.TrimPrefix(name, "/"), how)
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) { // EAGAIN: something was renamed meanwhile
			return fd, err
		}
	}
}

// exists says whether something is at a path.
func (r *rootfs) exists(name string) bool {
	fd, err := r.open(name, unix.O_PATH)
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}

// read returns a regular file of sensible size.
func (r *rootfs) read(name string) ([]byte, error) { return r.readUpTo(name, maxReadable) }

// readUpTo returns a regular file of at most limit bytes.
func (r *rootfs) readUpTo(name string, limit int64) ([]byte, error) {
	fd, err := r.open(name, unix.O_RDONLY)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s is not a regular file of at most %d bytes", name, limit)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// mkdirAll opens a directory, which everybody may enter. What is missing on the way is made; what is no directory there, or a
// symlink that open refuses, is replaced.
func (r *rootfs) mkdirAll(name string) (folder, error) {
	parent := folder{r.fd}
	done := ""
	for part := range strings.SplitSeq(path.Join(".", name), "/") {
		done = path.Join(done, part)
		next, err := r.enter(parent, part, done)
		if parent.fd != r.fd {
			parent.close()
		}
		if err != nil {
			return folder{}, &os.PathError{Op: "mkdir", Path: "/" + done, Err: err}
		}
		parent = next
	}
	return parent, nil
}

// enter opens the directory part of parent, which is at the path full.
func (r *rootfs) enter(parent folder, part, full string) (folder, error) {
	fd, err := r.open(full, unix.O_DIRECTORY)
	if err == nil {
		return folder{fd}, (folder{fd}).letIn()
	}
	if !replaceable(err) {
		return folder{}, err
	}
	err = unix.Mkdirat(parent.fd, part, rwxForAll)
	if errors.Is(err, unix.EEXIST) {
		if err := unix.Unlinkat(parent.fd, part, 0); err != nil {
			return folder{}, err
		}
		err = unix.Mkdirat(parent.fd, part, rwxForAll)
	}
	if err != nil {
		return folder{}, err
	}
	fd, err = r.open(full, unix.O_DIRECTORY)
	return folder{fd}, err
}

// replaceable says whether an error of open means that no directory is there that the agent may enter.
func replaceable(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EXDEV)
}

// write puts a file at a path; see mkdirAll and folder.write.
func (r *rootfs) write(name string, f file) error {
	dir, err := r.mkdirAll(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.close()
	if err := dir.write(path.Base(name), f); err != nil {
		return &os.PathError{Op: "write", Path: name, Err: err}
	}
	return nil
}

// symlink puts a link at a path, in place of what is no directory there; see mkdirAll.
func (r *rootfs) symlink(name, target string) error {
	dir, err := r.mkdirAll(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.close()
	err = unix.Symlinkat(target, dir.fd, path.Base(name))
	if errors.Is(err, unix.EEXIST) {
		err = errors.Join(unix.Unlinkat(dir.fd, path.Base(name), 0), unix.Symlinkat(target, dir.fd, path.Base(name)))
	}
	if err != nil {
		return &os.PathError{Op: "symlink", Path: name, Err: err}
	}
	return nil
}

func (d folder) close() { _ = unix.Close(d.fd) }

// letIn gives everybody search permission.
func (d folder) letIn() error {
	var stat unix.Stat_t
	if err := unix.Fstat(d.fd, &stat); err != nil {
		return err
	}
	if stat.Mode&enterable == enterable {
		return nil
	}
	return unix.Fchmod(d.fd, stat.Mode&0o7777|enterable)
}

// write puts a file into the directory: a symlink of that name is replaced, not followed. Where the name is a mount point of the
// engine's, what is mounted there is overwritten. Nobody reads the directory meanwhile, so the old file simply goes first; to
// rename over it would cost far more on some file systems.
func (d folder) write(name string, f file) error {
	err := unix.Unlinkat(d.fd, name, 0)
	switch {
	case err == nil || errors.Is(err, unix.ENOENT):
		return d.create(name, f)
	case errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EROFS):
		return d.overwrite(name, f.data)
	default:
		return err
	}
}

// create makes a file that is not there yet.
func (d folder) create(name string, f file) error {
	fd, err := unix.Openat(d.fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	out := os.NewFile(uintptr(fd), name)
	defer func() { _ = out.Close() }()
	if _, err := out.Write(f.data); err != nil {
		return err
	}
	if err := own(fd, f); err != nil {
		return err
	}
	return out.Close()
}

// own gives an open file its owner and mode.
func own(fd int, f file) error {
	if f.uid != 0 || f.gid != 0 {
		if err := unix.Fchown(fd, f.uid, f.gid); err != nil {
			return err
		}
	}
	return unix.Fchmod(fd, f.mode)
}

func (d folder) overwrite(name string, data []byte) error {
	fd, err := unix.Openat(d.fd, name, unix.O_WRONLY|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	out := os.NewFile(uintptr(fd), name)
	if _, err := out.Write(data); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}
