package agent

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/pty"
)

const (
	// maxRecent is how much of what the console showed is kept for those who come later, in bytes.
	maxRecent = 128 << 10
	// typingTime is how long the command may take to accept what is typed before who typed it is let go.
	typingTime = 10 * time.Second
)

// console is the terminal of the command. It begins with the first who opens it and outlives all of them; all see the same.
type console struct {
	mu sync.Mutex
	// changed is told of all that is below.
	changed sync.Cond
	// pty is nil until somebody has opened it.
	pty *pty.Terminal
	// recent is the end of what was shown, and shown how much that was in all.
	recent []byte
	shown  int64
	// drained is closed when nobody shows anything any more, and end is the exit code of the command then.
	drained chan struct{}
	end     *int
	// viewers are those who look, except after the end.
	viewers sync.WaitGroup
}

func newConsole() *console {
	k := &console{drained: make(chan struct{})}
	k.changed.L = &k.mu
	return k
}

// openConsole opens the terminal of the command, and starts the command unless somebody did. The connection is a view of it until one of
// them ends.
func (c *control) openConsole(conn *os.File, request agentapi.ShellRequest) {
	answer := c.console.open(c, request.Size)
	reply(conn, answer)
	if answer.Error != nil {
		return
	}
	_ = conn.SetDeadline(time.Time{})
	c.console.view(agentapi.NewTerminal(conn))
}

// open takes a viewer in.
func (k *console) open(c *control, size agentapi.TerminalSize) agentapi.Answer {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.end != nil {
		return notRunning()
	}
	if k.pty != nil {
		_ = k.pty.Resize(size.Columns, size.Rows)
		answer := c.ask(func() agentapi.Answer { return agentapi.Answer{Shell: &agentapi.ShellAnswer{PID: c.supervisor.pid}} })
		if answer.Error == nil {
			k.viewers.Add(1)
		}
		return answer
	}
	tty, err := pty.Open(c.supervisor.command.uid, size.Columns, size.Rows)
	if err != nil {
		return refusal(agentapi.CodeFailed, err)
	}
	answer := c.ask(func() agentapi.Answer { return c.supervisor.begin(tty.Slave) })
	tty.CloseSlave()
	if answer.Error != nil {
		tty.Close()
		return answer
	}
	k.pty = tty
	k.viewers.Add(1)
	go k.read()
	return answer
}

// read keeps what the command shows until nobody has the terminal open any more.
func (k *console) read() {
	defer close(k.drained)
	buffer := make([]byte, 16<<10)
	for {
		n, err := k.pty.Master.Read(buffer)
		k.mu.Lock()
		k.recent, k.shown = append(k.recent, buffer[:n]...), k.shown+int64(n)
		if len(k.recent) > 2*maxRecent {
			k.recent = append(k.recent[:0], k.recent[len(k.recent)-maxRecent:]...)
		}
		k.changed.Broadcast()
		k.mu.Unlock()
		if err != nil { // EIO
			return
		}
	}
}

// view shows the console to a viewer, what it showed last to begin with, and does what the viewer says. A command that takes nothing for
// long lets the viewer go; one that has ended does not: how it ended, the viewer has yet to be told.
func (k *console) view(frames *agentapi.Terminal) {
	gone := false
	go func() {
		defer k.viewers.Done()
		k.show(frames, &gone)
		_ = frames.Close() // ends the loop below
	}()
	for {
		frame, err := frames.Read()
		if err == nil && frame.Size != nil {
			_ = k.pty.Resize(frame.Size.Columns, frame.Size.Rows)
		} else if err == nil {
			_ = k.pty.Master.SetWriteDeadline(time.Now().Add(typingTime))
			if _, failed := k.pty.Master.Write(frame.Data); errors.Is(failed, os.ErrDeadlineExceeded) {
				err = failed
			}
		}
		if err != nil {
			break
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	gone = true
	k.changed.Broadcast()
}

// show sends what the console shows, from the oldest that is kept on, until the end or the viewer has gone. One who takes it too slowly
// misses what is not kept any more, and holds nobody up.
func (k *console) show(frames *agentapi.Terminal, gone *bool) {
	seen := int64(0)
	for {
		frame, ok := k.next(&seen, gone)
		if !ok || frames.Write(frame) != nil || frame.End != nil {
			return
		}
	}
}

// next waits for what a viewer has not seen. It is false when the viewer has gone.
func (k *console) next(seen *int64, gone *bool) (agentapi.Frame, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for *seen == k.shown && k.end == nil && !*gone {
		k.changed.Wait()
	}
	switch {
	case *gone:
		return agentapi.Frame{}, false
	case *seen == k.shown:
		return agentapi.Frame{End: k.end}, true
	}
	oldest := k.shown - int64(len(k.recent))
	*seen = max(*seen, oldest)
	data := k.recent[*seen-oldest:]
	data = append([]byte(nil), data[:min(len(data), agentapi.MaxFrame)]...)
	*seen += int64(len(data))
	return agentapi.Frame{Data: data}, true
}

// finish tells those who look how the command ended, when nothing of it is left, and waits until they know; not for long.
func (k *console) finish(code int) {
	k.mu.Lock()
	opened := k.pty != nil
	k.mu.Unlock()
	if opened {
		<-k.drained
	}
	k.mu.Lock()
	k.end = &code
	k.changed.Broadcast()
	k.mu.Unlock()
	told := make(chan struct{})
	go func() {
		k.viewers.Wait()
		close(told)
	}()
	select {
	case <-told:
	case <-time.After(answerTime):
	}
}
