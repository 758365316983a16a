package agent

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// terminal is a pseudo terminal.
type terminal struct {
	// master is the side of the user, slave that of the programs.
	master *os.File
	slave  int
}

// openTerminal makes a terminal of the container that belongs to a user.
func openTerminal(uid int, size agentapi.TerminalSize) (*terminal, error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/dev/ptmx", Err: err}
	}
	t := &terminal{master: os.NewFile(uintptr(fd), "/dev/ptmx"), slave: -1}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.close()
		return nil, os.NewSyscallError("unlock a terminal", err)
	}
	// By its master and not by a path, which the image could have something else at.
	slave, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		t.close()
		return nil, os.NewSyscallError("open a terminal", errno)
	}
	t.slave = int(slave)
	if err := errors.Join(unix.Fchown(t.slave, uid, -1), t.resize(size)); err != nil {
		t.close()
		return nil, os.NewSyscallError("set up a terminal", err)
	}
	return t, nil
}

func (t *terminal) resize(size agentapi.TerminalSize) error {
	raw, err := t.master.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Col: size.Columns, Row: size.Rows})
	})
	return errors.Join(err, failed)
}

// closeSlave leaves the programs of the terminal alone with it, so that their end shows.
func (t *terminal) closeSlave() {
	if t.slave >= 0 {
		_ = unix.Close(t.slave)
		t.slave = -1
	}
}

// close hangs up: the kernel tells the session of the terminal.
func (t *terminal) close() {
	t.closeSlave()
	_ = t.master.Close()
}

// shell runs a shell on a terminal and carries what it says over the connection, until one of them ends.
func (c *control) shell(conn *os.File, request agentapi.ShellRequest) {
	pty, err := openTerminal(c.supervisor.command.uid, request.Size)
	if err != nil {
		reply(conn, refusal(agentapi.CodeFailed, err))
		return
	}
	defer pty.close()
	ended := make(chan unix.WaitStatus, 1)
	answer := c.ask(func() agentapi.Answer {
		pid, err := c.supervisor.launchShell(pty.slave, func(status unix.WaitStatus) { ended <- status })
		if err != nil {
			return refusal(agentapi.CodeFailed, fmt.Errorf("shell: %w", err))
		}
		return agentapi.Answer{Shell: &agentapi.ShellAnswer{PID: pid}}
	})
	pty.closeSlave()
	reply(conn, answer)
	if answer.Error != nil {
		return
	}
	_ = conn.SetDeadline(time.Time{})
	frames := agentapi.NewTerminal(conn)
	go func() {
		pty.show(frames)
		select {
		case status := <-ended:
			code := exitCode(status)
			_ = frames.Write(agentapi.Frame{End: &code})
		case <-c.supervisor.over:
		}
		_ = frames.Close() // ends type
	}()
	pty.typed(frames)
}

// show sends what the terminal shows until nobody has it open any more.
func (t *terminal) show(frames *agentapi.Terminal) {
	buffer := make([]byte, 16<<10)
	for {
		n, err := t.master.Read(buffer)
		if n > 0 && frames.Write(agentapi.Frame{Data: buffer[:n]}) != nil {
			return
		}
		if err != nil { // EIO
			return
		}
	}
}

// typed does what the user says until the user has gone.
func (t *terminal) typed(frames *agentapi.Terminal) {
	for {
		frame, err := frames.Read()
		if err != nil {
			return
		}
		if frame.Size != nil {
			_ = t.resize(*frame.Size)
		} else if _, err := t.master.Write(frame.Data); err != nil {
			return
		}
	}
}
