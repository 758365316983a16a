package agent

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// fallbackHome is for an image in which /home/<user> cannot be made.
	fallbackHome = "/tmp/.ephemeral-home"
	skeleton     = "/etc/skel"

	maxSkeletonBytes   = 64 << 20
	maxSkeletonEntries = 10_000
	maxSkeletonDepth   = 32

	permissions = 0o777
	sticky      = 0o1777
)

// makeHome gives the user a home directory, with what the image keeps for new users. It sets home.
func (s *setup) makeHome() error {
	if !s.root.exists("/tmp") {
		s.warn(s.makeTmp())
	}
	home := "/home/" + s.spec.User.Name
	if err := s.makeHomeAt(home); err != nil {
		s.warn(err)
		home = fallbackHome
		if err := s.makeHomeAt(home); err != nil {
			return fmt.Errorf("no home directory: %w", err)
		}
	}
	s.home = home
	return nil
}

func (s *setup) makeTmp() error {
	tmp, err := s.root.mkdirAll("/tmp")
	if err != nil {
		return err
	}
	defer tmp.close()
	return unix.Fchmod(tmp.fd, sticky)
}

func (s *setup) makeHomeAt(name string) error {
	home, err := s.root.mkdirAll(name)
	if err != nil {
		return err
	}
	defer home.close()
	if err := own(home.fd, s.owned(nil, rwxForAll)); err != nil {
		return &os.PathError{Op: "chown", Path: name, Err: err}
	}
	fd, err := s.root.open(skeleton, unix.O_DIRECTORY)
	if err != nil { // no skeleton, or one that leads astray: the home starts empty
		return nil
	}
	skel := folder{fd}
	defer skel.close()
	copying := skelCopy{owner: s.owned(nil, 0), bytes: maxSkeletonBytes, entries: maxSkeletonEntries}
	if err := copying.tree(skel, home, 0); err != nil {
		s.warn(fmt.Errorf("not all of %s was copied: %w", skeleton, err))
	}
	return nil
}

// skelCopy copies a tree and never follows a symlink in it. What is in the target already stays.
type skelCopy struct {
	owner file
	// bytes and entries are how much more it may copy: an image must not keep a job from starting.
	bytes   int64
	entries int
}

var errTooMuch = errors.New("it is too big")

func (c *skelCopy) tree(from, to folder, depth int) error {
	dir, err := unix.FcntlInt(uintptr(from.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	listing := os.NewFile(uintptr(dir), skeleton)
	names, err := listing.Readdirnames(c.entries + 1)
	_ = listing.Close()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	c.entries -= len(names)
	if c.entries < 0 || depth > maxSkeletonDepth {
		return errTooMuch
	}
	var failed error
	for _, name := range names {
		err := c.entry(from, to, name, depth)
		if errors.Is(err, errTooMuch) {
			return err
		}
		if err != nil && !errors.Is(err, unix.EEXIST) && failed == nil {
			failed = fmt.Errorf("%s: %w", name, err)
		}
	}
	return failed
}

func (c *skelCopy) entry(from, to folder, name string, depth int) error {
	var stat unix.Stat_t
	if err := unix.Fstatat(from.fd, name, &stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	owned := c.owner
	owned.mode = stat.Mode & permissions
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return c.directory(from, to, name, owned, depth)
	case unix.S_IFREG:
		return c.regular(from, to, name, owned)
	case unix.S_IFLNK:
		return c.symlink(from, to, name)
	default:
		return nil // devices, sockets: nothing for a home
	}
}

func (c *skelCopy) directory(from, to folder, name string, owned file, depth int) error {
	source, err := openIn(from, name, unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer source.close()
	if err := unix.Mkdirat(to.fd, name, 0o700); err != nil {
		return err
	}
	target, err := openIn(to, name, unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer target.close()
	if err := own(target.fd, owned); err != nil {
		return err
	}
	return c.tree(source, target, depth+1)
}

func (c *skelCopy) regular(from, to folder, name string, owned file) error {
	source, err := openIn(from, name, unix.O_NONBLOCK)
	if err != nil {
		return err
	}
	in := os.NewFile(uintptr(source.fd), name)
	defer func() { _ = in.Close() }()
	target, err := openIn(to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return err
	}
	out := os.NewFile(uintptr(target.fd), name)
	defer func() { _ = out.Close() }()
	n, err := io.Copy(out, io.LimitReader(in, c.bytes+1))
	if err != nil {
		return err
	}
	if c.bytes -= n; c.bytes < 0 {
		return errTooMuch
	}
	return own(target.fd, owned)
}

func (c *skelCopy) symlink(from, to folder, name string) error {
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(from.fd, name, target)
	if err != nil {
		return err
	}
	if err := unix.Symlinkat(string(target[:n]), to.fd, name); err != nil {
		return err
	}
	return unix.Fchownat(to.fd, name, c.owner.uid, c.owner.gid, unix.AT_SYMLINK_NOFOLLOW)
}

// openIn opens an entry of a directory, but no symlink.
func openIn(dir folder, name string, flags int) (folder, error) {
	fd, err := unix.Openat(dir.fd, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	return folder{fd}, err
}
