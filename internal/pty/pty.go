// Package pty makes pseudo terminals for programs of a job.
package pty

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Terminal is a pseudo terminal. Its methods may be called concurrently, except CloseSlave.
type Terminal struct {
	// Master is the side of the user, and Slave, a file descriptor, that of the programs; -1 once it is closed.
	Master *os.File
	Slave  int
	// Name is its path, such as /dev/pts/0.
	Name string
}

// Open makes a terminal of this container that belongs to a user, with a size in characters.
func Open(uid int, columns, rows uint16) (*Terminal, error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/dev/ptmx", Err: err}
	}
	t := &Terminal{Master: os.NewFile(uintptr(fd), "/dev/ptmx"), Slave: -1}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Close()
		return nil, os.NewSyscallError("unlock a terminal", err)
	}
	number, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		t.Close()
		return nil, os.NewSyscallError("number of a terminal", err)
	}
	t.Name = "/dev/pts/" + strconv.Itoa(int(number))
	// By its master and not by its name, which the image could have something else at.
	slave, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		t.Close()
		return nil, os.NewSyscallError("open a terminal", errno)
	}
	t.Slave = int(slave)
	if err := errors.Join(unix.Fchown(t.Slave, uid, -1), t.Resize(columns, rows)); err != nil {
		t.CloseSlave()
		t.Close()
		return nil, os.NewSyscallError("set up a terminal", err)
	}
	return t, nil
}

// Resize sets the size in characters.
func (t *Terminal) Resize(columns, rows uint16) error {
	raw, err := t.Master.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows})
	})
	return errors.Join(err, failed)
}

// CloseSlave leaves the programs of the terminal alone with it, so that their end shows. Safe to call twice.
func (t *Terminal) CloseSlave() {
	if t.Slave >= 0 {
		_ = unix.Close(t.Slave)
		t.Slave = -1
	}
}

// Close hangs up: the kernel tells the session of the terminal. It leaves an open slave to its owner.
func (t *Terminal) Close() { _ = t.Master.Close() }
