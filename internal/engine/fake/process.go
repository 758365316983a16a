package fake

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth"
)

// process is what follows a program, and what signals do to it.
type process struct {
	attempt *attempt
	// traps are the actions of the signals that it catches or, when empty, ignores.
	traps map[unix.Signal]string
	// pending are signals that came while it was suspended.
	pending []unix.Signal
	// term is nil once it has been asked to end; kill is when the grace is over then.
	term <-chan struct{}
	kill <-chan time.Time
}

// trap reads the arguments of a trap: an action in quotes and signals by their names.
func (p *process) trap(text string) {
	action, names, _ := strings.Cut(strings.TrimPrefix(text, "'"), "'")
	for name := range strings.FieldsSeq(names) {
		p.traps[unix.SignalNum("SIG"+name)] = action
	}
}

// sleep waits, and longer while the process is suspended; a signal that it catches wakes it. ended is true when a signal has ended
// it.
func (p *process) sleep(d time.Duration) (exit berth.Exit, ended bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for over := false; !over || p.attempt.suspended(); {
		next := effect{}
		select {
		case <-timer.C:
			over = true
		case <-p.attempt.now:
			return killedBy(unix.SIGKILL), true
		case <-p.kill:
			return killedBy(unix.SIGKILL), true
		case <-p.term:
			p.term, p.kill = nil, time.After(p.attempt.graceTime())
			p.attempt.resume()
			next = p.receive(unix.SIGTERM)
		case signal := <-p.attempt.signals:
			next = p.receive(signal)
		}
		if next.ended {
			return next.exit, true
		}
		over = over || next.wakes
	}
	return berth.Exit{}, false
}

// effect is what a signal does to a process that runs or sleeps.
type effect struct {
	wakes, ended bool
	exit         berth.Exit
}

// receive does what a signal does.
func (p *process) receive(signal unix.Signal) effect {
	action, trapped := p.traps[signal]
	switch {
	case signal == unix.SIGKILL:
		return effect{ended: true, exit: killedBy(signal)}
	case signal == unix.SIGCONT:
		p.attempt.resume()
		return p.deliver()
	case p.attempt.suspended():
		p.pending = append(p.pending, signal)
		return effect{}
	case trapped && signal != unix.SIGSTOP:
		return p.do(action)
	}
	switch signal {
	case unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
		p.attempt.suspend()
		return effect{}
	case unix.SIGCHLD, unix.SIGURG, unix.SIGWINCH: // what nobody catches does nothing
		return effect{}
	default:
		return effect{ended: true, exit: killedBy(signal)}
	}
}

// deliver receives what came while the process was suspended.
func (p *process) deliver() effect {
	var all effect
	pending := p.pending
	p.pending = nil
	for _, signal := range pending {
		next := p.receive(signal)
		if next.ended {
			return next
		}
		all.wakes = all.wakes || next.wakes
	}
	return all
}

// do carries out the action of a trap.
func (p *process) do(action string) effect {
	command, rest, _ := strings.Cut(action, " ")
	switch command {
	case "":
		return effect{}
	case "echo":
		if err := p.attempt.print(rest + "\n"); err != nil {
			return effect{ended: true}
		}
		return effect{wakes: true}
	default:
		return effect{ended: true, exit: exited(number(strings.TrimPrefix(action, "exit")))}
	}
}
