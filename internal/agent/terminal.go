package agent

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/pty"
)

// shell runs a shell on a terminal and carries what it says over the connection, until one of them ends.
func (c *control) shell(conn *os.File, request agentapi.ShellRequest) {
	tty, err := pty.Open(c.supervisor.command.uid, request.Size.Columns, request.Size.Rows)
	if err != nil {
		reply(conn, refusal(agentapi.CodeFailed, err))
		return
	}
	defer tty.Close()
	defer tty.CloseSlave()
	ended := make(chan unix.WaitStatus, 1)
	answer := c.ask(func() agentapi.Answer {
		pid, err := c.supervisor.launchShell(tty.Slave, func(status unix.WaitStatus) { ended <- status })
		if err != nil {
			return refusal(agentapi.CodeFailed, fmt.Errorf("shell: %w", err))
		}
		return agentapi.Answer{Shell: &agentapi.ShellAnswer{PID: pid}}
	})
	tty.CloseSlave()
	reply(conn, answer)
	if answer.Error != nil {
		return
	}
	_ = conn.SetDeadline(time.Time{})
	frames := agentapi.NewTerminal(conn)
	go func() {
		show(tty, frames)
		select {
		case status := <-ended:
			code := exitCode(status)
			_ = frames.Write(agentapi.Frame{End: &code})
		case <-c.supervisor.over:
		}
		_ = frames.Close() // ends type
	}()
	typed(tty, frames)
}

// show sends what the terminal shows until nobody has it open any more.
func show(tty *pty.Terminal, frames *agentapi.Terminal) {
	buffer := make([]byte, 16<<10)
	for {
		n, err := tty.Master.Read(buffer)
		if n > 0 && frames.Write(agentapi.Frame{Data: buffer[:n]}) != nil {
			return
		}
		if err != nil { // EIO
			return
		}
	}
}

// typed does what the user says until the user has gone. What the terminal does not take is dropped: its programs have ended then, and
// how, the user has yet to be told.
func typed(tty *pty.Terminal, frames *agentapi.Terminal) {
	for {
		frame, err := frames.Read()
		if err != nil {
			return
		}
		if frame.Size != nil {
			_ = tty.Resize(frame.Size.Columns, frame.Size.Rows)
		} else {
			_, _ = tty.Master.Write(frame.Data)
		}
	}
}
