package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// listener is the agent's socket. It is made by the kernel's calls alone, so that it has its mode from the beginning.
type listener struct {
	file *os.File
	raw  syscall.RawConn
	path string
}

// backlog is how many connections may wait to be accepted; more are refused.
const backlog = 1024

// listen makes the socket in dir, root's only. One that an earlier agent left there is replaced.
func listen(dir string) (*listener, error) {
	path := filepath.Join(dir, agentapi.SocketFile)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := bind(fd, path); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	l := &listener{file: os.NewFile(uintptr(fd), path), path: path}
	if l.raw, err = l.file.SyscallConn(); err != nil {
		l.close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}

func bind(fd int, path string) error {
	if err := unix.Fchmod(fd, 0o600); err != nil { // the file that bind makes has it from the beginning
		return os.NewSyscallError("chmod", err)
	}
	address := &unix.SockaddrUnix{Name: path}
	err := unix.Bind(fd, address)
	if errors.Is(err, unix.EADDRINUSE) {
		err = errors.Join(unix.Unlink(path), unix.Bind(fd, address))
	}
	if err != nil {
		return os.NewSyscallError("bind", err)
	}
	return os.NewSyscallError("listen", unix.Listen(fd, backlog))
}

// accept waits for a connection. It returns with an error soon after close.
func (l *listener) accept() (*os.File, error) {
	conn, failed := -1, error(nil)
	err := l.raw.Read(func(fd uintptr) bool {
		conn, _, failed = unix.Accept4(int(fd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		return !errors.Is(failed, unix.EAGAIN)
	})
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(conn), "server"), nil
}

// close lets nobody connect any more.
func (l *listener) close() {
	_ = l.file.Close()
	_ = unix.Unlink(l.path)
}
