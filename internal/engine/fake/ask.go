package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine"
)

// Ask is engine.Agents.
func (e *Engine) Ask(ctx context.Context, id string, req agentapi.Request) (agentapi.Answer, error) {
	a, err := e.running(ctx, Ask, id)
	if err != nil {
		return agentapi.Answer{}, err
	}
	var answer agentapi.Answer
	runs := true
	switch {
	case req.Signal != nil:
		answer, runs = a.signal(req.Signal.Number)
	case req.Action != nil:
		answer, runs = a.act(*req.Action, e.cfg.Actions)
	case req.Info != nil:
		answer.Info = &agentapi.InfoAnswer{Actions: maps.Clone(e.cfg.Actions)}
	default:
		answer = refusal("the request is empty")
	}
	if !runs {
		return agentapi.Answer{}, fmt.Errorf("fake engine: %s does not run: %w", id, engine.ErrNotFound)
	}
	return answer, nil
}

// OpenShell is engine.Agents. The shell, or command, repeats what is typed, tells a new size, and ends with "exit NUMBER".
func (e *Engine) OpenShell(ctx context.Context, id string, req agentapi.ShellRequest) (*agentapi.Terminal, error) {
	a, err := e.running(ctx, OpenShell, id)
	if err != nil {
		return nil, err
	}
	user, shell := net.Pipe()
	terminal := agentapi.NewTerminal(shell)
	go func() {
		<-a.over
		_ = shell.Close()
	}()
	go a.shell(terminal, req)
	return agentapi.NewTerminal(user), nil
}

// OpenDisplay is engine.Agents.
func (e *Engine) OpenDisplay(ctx context.Context, id string) (io.ReadWriteCloser, error) {
	a, err := e.running(ctx, Display, id)
	switch {
	case err != nil:
		return nil, err
	case e.cfg.Display == nil:
		return nil, &agentapi.Error{Code: agentapi.CodeInvalid, Text: "there is no display"}
	}
	client, server := net.Pipe()
	hangUp := func() { _ = errors.Join(client.Close(), server.Close()) }
	stop := context.AfterFunc(ctx, hangUp)
	go func() {
		<-a.over
		hangUp()
	}()
	go func() {
		defer stop()
		e.cfg.Display(server)
		_ = server.Close()
	}()
	return client, nil
}

// shell runs until somebody hangs up. Nobody sees its errors.
func (a *attempt) shell(terminal *agentapi.Terminal, req agentapi.ShellRequest) {
	defer func() { _ = terminal.Close() }()
	say := func(text string) { _ = terminal.Write(agentapi.Frame{Data: []byte(text)}) }
	what := "shell"
	if req.Command {
		what = "command"
	}
	say(fmt.Sprintf("fake %s of %dx%d\r\n", what, req.Size.Columns, req.Size.Rows))
	line := ""
	for {
		frame, err := terminal.Read()
		if err != nil {
			return
		}
		if frame.Size != nil {
			say(fmt.Sprintf("size %dx%d\r\n", frame.Size.Columns, frame.Size.Rows))
		}
		say(string(frame.Data))
		line += string(frame.Data)
		for done, rest, found := strings.Cut(line, "\n"); found; done, rest, found = strings.Cut(line, "\n") {
			line = rest
			var code int
			if _, err := fmt.Sscanf(done, "exit %d", &code); err == nil {
				_ = terminal.Write(agentapi.Frame{End: &code})
				return
			}
		}
	}
}

// Usage is engine.Meter: first nodes compute all the time on one core, except while they are suspended, and workers never.
func (e *Engine) Usage(ctx context.Context, id string) ([]engine.Usage, error) {
	a, err := e.running(ctx, Usage, id)
	if err != nil {
		return nil, err
	}
	usage := []engine.Usage{a.usage()}
	for range a.what.Workers {
		usage = append(usage, engine.Usage{At: usage[0].At, Memory: usage[0].Memory, MemoryLimit: a.what.RAM, Processes: 1})
	}
	return usage, nil
}

// running returns an attempt whose command runs, or engine.ErrNotFound.
func (e *Engine) running(ctx context.Context, op Operation, id string) (*attempt, error) {
	if err := e.enter(ctx, op); err != nil {
		return nil, err
	}
	defer e.mu.Unlock()
	a := e.attempts[id]
	if a == nil || a.phase() != engine.PhaseRunning {
		return nil, fmt.Errorf("fake engine: %s does not run: %w", id, engine.ErrNotFound)
	}
	return a, nil
}

func refusal(text string) agentapi.Answer {
	return agentapi.Answer{Error: &agentapi.Error{Code: agentapi.CodeInvalid, Text: text}}
}

// commandPID is the process id of every command, as inside its container. Actions have the ones after it.
const commandPID = 7

// signal sends a signal to the program. It is false when the program has ended.
func (a *attempt) signal(number int) (agentapi.Answer, bool) {
	if number < 1 || number > berth.LastSignal {
		return refusal(fmt.Sprintf("there is no signal %d", number)), true
	}
	select {
	case a.signals <- unix.Signal(number):
		return agentapi.Answer{Signal: &agentapi.SignalAnswer{Number: number, PID: commandPID}}, true
	case <-a.over:
		return agentapi.Answer{}, false
	}
}

// act starts an action. It is false when the program has ended.
func (a *attempt) act(req agentapi.ActionRequest, known map[string]agentapi.Action) (agentapi.Answer, bool) {
	command := req.Command
	if command == "" {
		command = known[req.Name].Args
	}
	if command == "" || len(command) >= agentapi.MaxRequest {
		return refusal(fmt.Sprintf("there is no action %q", req.Name)), true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.acting == nil {
		return agentapi.Answer{}, false
	}
	a.actions++
	a.acting.Go(func() { parse(command).beside(a) })
	return agentapi.Answer{Action: &agentapi.ActionAnswer{PID: commandPID + a.actions}}, true
}
