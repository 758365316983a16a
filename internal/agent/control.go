package agent

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/agentapi"
)

const (
	// requestTime is how long a client may take to say what it wants, and answerTime to take the answer.
	requestTime = 10 * time.Second
	answerTime  = time.Second
	// lastSignal is the largest number of a signal.
	lastSignal = 64
	// signalOverride names the program that an image has for signals.
	signalOverride = "JARVICE_SIGNAL_OVERRIDE"
)

// control answers the server's requests while the command runs.
type control struct {
	root *rootfs
	// address is this node's.
	address    string
	supervisor *supervisor
	// console is nil unless the command runs on a terminal.
	console *console
	// listener is nil when the socket could not be made.
	listener *listener
	// answering are the requests that the end of the agent waits for. None of them waits for anything but the supervisor.
	answering sync.WaitGroup
}

// serve answers until close. What is asked after the command's end is refused.
func (c *control) serve() {
	if c.listener == nil {
		return
	}
	for {
		conn, err := c.listener.accept()
		if err == nil {
			go c.handle(conn)
			continue
		}
		select {
		case <-c.supervisor.over:
			return
		case <-time.After(firstPause): // no file descriptor is free, or the client has gone again
		}
	}
}

// close ends it, after the command's end. What was asked before gets its answer; a client that says nothing is not waited for.
func (c *control) close() {
	if c.listener != nil {
		c.listener.close()
	}
	c.answering.Wait()
}

// handle answers one request.
func (c *control) handle(conn *os.File) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetReadDeadline(time.Now().Add(requestTime))
	request, err := readRequest(conn)
	if err != nil {
		reply(conn, refusal(agentapi.CodeInvalid, fmt.Errorf("the request cannot be read: %w", err)))
		return
	}
	if request.Info != nil {
		reply(conn, c.info())
		return
	}
	if request.Display != nil {
		c.display(conn)
		return
	}
	if request.Shell != nil {
		if request.Shell.Command && c.console != nil {
			c.openConsole(conn, *request.Shell)
		} else {
			c.shell(conn, *request.Shell)
		}
		return
	}
	if !c.supervisor.do(func() { c.answering.Add(1) }) {
		reply(conn, notRunning())
		return
	}
	defer c.answering.Done()
	reply(conn, c.answer(request))
}

// readRequest reads a line.
func readRequest(conn io.Reader) (agentapi.Request, error) {
	var request agentapi.Request
	line, err := bufio.NewReader(io.LimitReader(conn, agentapi.MaxRequest)).ReadBytes('\n')
	if err != nil {
		return request, err
	}
	return request, json.Unmarshal(line, &request)
}

func reply(conn *os.File, answer agentapi.Answer) {
	_ = conn.SetWriteDeadline(time.Now().Add(answerTime))
	_ = json.NewEncoder(conn).Encode(answer) // a client that has gone does not want it
}

func (c *control) answer(request agentapi.Request) agentapi.Answer {
	switch {
	case request.Signal != nil:
		return c.signal(request.Signal.Number)
	case request.Action != nil:
		return c.act(*request.Action)
	default:
		return refusal(agentapi.CodeInvalid, errors.New("the agent knows no such request"))
	}
}

func refusal(code agentapi.ErrorCode, err error) agentapi.Answer {
	return agentapi.Answer{Error: &agentapi.Error{Code: code, Text: err.Error()}}
}

func notRunning() agentapi.Answer {
	return refusal(agentapi.CodeNotRunning, errors.New("the command does not run"))
}

// ask lets the supervisor's goroutine answer while the command runs.
func (c *control) ask(f func() agentapi.Answer) agentapi.Answer {
	answer := notRunning()
	c.supervisor.do(func() {
		if c.supervisor.status == nil {
			answer = f()
		}
	})
	return answer
}

func (c *control) info() agentapi.Answer {
	actions, _ := readActions(c.root) // what cannot be read offers none
	return agentapi.Answer{Info: &agentapi.InfoAnswer{
		Address: c.address, Actions: actions,
		URL:  strings.TrimSpace(readText(c.root, agentapi.URLFile, agentapi.MaxURL)),
		Help: readText(c.root, agentapi.HelpFile, agentapi.MaxHelp),
	}}
}

// readText returns a text of the image, "" when it has none there that can be shown.
func readText(root *rootfs, name string, limit int64) string {
	text, err := root.readUpTo(name, limit)
	if err != nil || !utf8.Valid(text) {
		return ""
	}
	return string(text)
}

// signal sends a signal to the command's process group: to the program, and not only to the shell that runs it.
func (c *control) signal(number int) agentapi.Answer {
	if number < 1 || number > lastSignal {
		return refusal(agentapi.CodeInvalid, fmt.Errorf("there is no signal %d", number))
	}
	if program := variable(c.supervisor.command.env, signalOverride); program != "" {
		return c.override(program, number)
	}
	return c.ask(func() agentapi.Answer {
		pid := c.supervisor.pid
		if pid == 0 {
			return refusal(agentapi.CodeFailed, errors.New("nobody has opened the terminal on which the command starts"))
		}
		if err := unix.Kill(-pid, unix.Signal(number)); err != nil {
			return refusal(agentapi.CodeFailed, fmt.Errorf("signal %d: %w", number, err))
		}
		return agentapi.Answer{Signal: &agentapi.SignalAnswer{Number: number, PID: pid}}
	})
}

// act starts an action.
func (c *control) act(request agentapi.ActionRequest) agentapi.Answer {
	text := request.Command
	if text == "" {
		actions, err := readActions(c.root)
		if err != nil {
			return refusal(agentapi.CodeInvalid, err)
		}
		if text = actions[request.Name].Args; text == "" {
			return refusal(agentapi.CodeInvalid, fmt.Errorf("there is no action %q", request.Name))
		}
	}
	return c.ask(func() agentapi.Answer {
		pid, err := c.supervisor.launch([]string{"/bin/sh", "-c", text}, c.supervisor.sink, nil)
		if err != nil {
			return refusal(agentapi.CodeFailed, fmt.Errorf("action %q: %w", request.Name, err))
		}
		return agentapi.Answer{Action: &agentapi.ActionAnswer{PID: pid}}
	})
}

// variable returns the value of a variable of an environment, "" when it is not there.
func variable(env []string, name string) string {
	i := slices.IndexFunc(env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
	if i < 0 {
		return ""
	}
	return env[i][len(name)+1:]
}
