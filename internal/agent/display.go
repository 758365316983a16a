package agent

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/agentapi"
)

const (
	// displayPort is that of the VNC server of the display :1.
	displayPort = 5901
	// connectTime is how long that may take to accept a connection.
	connectTime = 5
)

// display makes the connection one to the VNC server, which need not be reachable from anywhere but here.
func (c *control) display(conn *os.File) {
	server, err := dialLoopback(displayPort)
	if err != nil {
		reply(conn, refusal(agentapi.CodeInvalid, fmt.Errorf("no VNC server answers at the display :1: %w", err)))
		return
	}
	defer func() { _ = server.Close() }()
	reply(conn, agentapi.Answer{Display: &agentapi.DisplayAnswer{}})
	_ = conn.SetDeadline(time.Time{})
	go func() {
		_, _ = io.Copy(server, conn)
		_ = server.Close() // ends the copy below
	}()
	_, _ = io.Copy(conn, server)
}

// dialLoopback connects to a port of this container. See listener for why it does not do so by package net.
func dialLoopback(port int) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: connectTime})
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	return os.NewFile(uintptr(fd), "vnc"), nil
}
