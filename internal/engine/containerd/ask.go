package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine"
)

// Ask is engine.Agents. The agent is reached by its socket in the attempt's directory.
func (e *Engine) Ask(ctx context.Context, id string, req agentapi.Request) (agentapi.Answer, error) {
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	conn, err := e.agent(ctx, id)
	if err != nil {
		return agentapi.Answer{}, err
	}
	defer func() { _ = conn.Close() }()
	// The end of ctx ends a read or write that waits.
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(0, 1)) })()
	answer, err := agentapi.Ask(conn, req)
	switch {
	case err != nil:
		return agentapi.Answer{}, fmt.Errorf("ask %s: %w", id, errors.Join(err, ctx.Err()))
	case answer.Error != nil && answer.Error.Code == agentapi.CodeNotRunning:
		return agentapi.Answer{}, fmt.Errorf("ask %s: %w: %w", id, engine.ErrNotFound, answer.Error)
	default:
		return answer, nil
	}
}

// OpenShell is engine.Agents.
func (e *Engine) OpenShell(ctx context.Context, id string, req agentapi.ShellRequest) (*agentapi.Terminal, error) {
	var terminal *agentapi.Terminal
	_, err := e.takeOver(ctx, id, func(conn net.Conn) (answer agentapi.Answer, err error) {
		terminal, answer, err = agentapi.OpenShell(conn, req)
		return answer, err
	})
	if err != nil {
		return nil, err
	}
	return terminal, nil
}

// OpenDisplay is engine.Agents.
func (e *Engine) OpenDisplay(ctx context.Context, id string) (io.ReadWriteCloser, error) {
	var opened *agentapi.Display
	conn, err := e.takeOver(ctx, id, func(conn net.Conn) (answer agentapi.Answer, err error) {
		opened, answer, err = agentapi.OpenDisplay(conn)
		return answer, err
	})
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(0, 1)) })
	return display{opened, stop}, nil
}

// display is a connection that is watched until it is closed.
type display struct {
	*agentapi.Display
	stop func() bool
}

func (d display) Close() error {
	d.stop()
	return d.Display.Close()
}

// takeOver makes a connection to an agent something else than one for a request. It is closed after an error.
func (e *Engine) takeOver(ctx context.Context, id string, start func(net.Conn) (agentapi.Answer, error)) (net.Conn, error) {
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	conn, err := e.agent(ctx, id)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(0, 1)) })
	answer, err := start(conn)
	if !stop() {
		err = errors.Join(err, ctx.Err())
	}
	switch {
	case err != nil:
		err = fmt.Errorf("ask %s: %w", id, err)
	case answer.Error != nil && answer.Error.Code == agentapi.CodeNotRunning:
		err = fmt.Errorf("ask %s: %w: %w", id, engine.ErrNotFound, answer.Error)
	case answer.Error != nil:
		err = answer.Error
	default:
		return conn, nil
	}
	_ = conn.Close()
	return nil, err
}

// agent connects to the agent of an attempt. ErrNotFound when it is not there or does not listen.
func (e *Engine) agent(ctx context.Context, id string) (net.Conn, error) {
	record, err := e.record(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	conn, err := dialAgent(ctx, record.Labels[labelDir])
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		// The agent listens from before the command starts until after its end.
		return nil, fmt.Errorf("ask %s, whose agent does not listen: %w", id, engine.ErrNotFound)
	case err != nil:
		return nil, fmt.Errorf("ask %s: %w", id, err)
	}
	return conn, nil
}

// dialAgent connects to the agent of an attempt's directory. The error wraps fs.ErrNotExist or unix.ECONNREFUSED when no agent
// listens there. Neither the directory nor the socket may be a symbolic link; the socket is connected to by its file descriptor,
// because a path of more than 107 bytes is none for a socket.
func dialAgent(ctx context.Context, dir string) (net.Conn, error) {
	folder, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("directory of the attempt %s: %w", dir, err)
	}
	defer func() { _ = unix.Close(folder) }()
	socket, err := unix.Openat(folder, agentapi.SocketFile, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket of the agent in %s: %w", dir, err)
	}
	defer func() { _ = unix.Close(socket) }()
	var stat unix.Stat_t
	if err := unix.Fstat(socket, &stat); err != nil {
		return nil, fmt.Errorf("socket of the agent in %s: %w", dir, err)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return nil, fmt.Errorf("socket of the agent in %s is no socket", dir)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", "/proc/self/fd/"+strconv.Itoa(socket))
	if err != nil {
		return nil, fmt.Errorf("agent in %s: %w", dir, err)
	}
	return conn, nil
}
