package agent

import (
	"cmp"
	"errors"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// signals are the requests to the agent. Each has a channel of its own, so that a storm of ended children drowns no other.
type signals struct {
	child, stop, kill chan os.Signal
	ignored           chan os.Signal
}

// catchSignals takes the signals that mean something to the agent, and those that would end a Go program: these are received and
// dropped, because the command would inherit it if they were ignored by the kernel's means. Each costs the start of a job some
// 0.1 ms, so there are no others.
func catchSignals() signals {
	s := signals{
		child: make(chan os.Signal, 1), stop: make(chan os.Signal, 1), kill: make(chan os.Signal, 1),
		ignored: make(chan os.Signal, 1),
	}
	signal.Notify(s.stop, unix.SIGTERM)
	signal.Notify(s.kill, unix.SIGUSR1)
	signal.Notify(s.child, unix.SIGCHLD)
	signal.Notify(s.ignored, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT)
	return s
}

// ended says whether an end was asked for already.
func (s signals) ended() bool { return len(s.stop) > 0 || len(s.kill) > 0 }

// supervisor is PID 1 while the command runs. One goroutine is in wait; it alone starts, signals and collects processes, so that a
// process id always means the process that it was given for. Others let it work for them by do.
type supervisor struct {
	signals signals
	// command is what runs: its user, environment and directory are those of the programs beside it. pid is its process, and its
	// process group; 0 for one that has not begun, because it runs on a terminal that nobody has opened.
	command command
	pid     int
	// sink is the job's output.
	sink int
	// grace is how long it may take after a request to stop, and init says that it is an init, which is asked by poweroff.
	grace time.Duration
	init  bool
	// stopping says that there was such a request, killed that everything was ended, onTerminal that the command runs on one.
	stopping, killed, onTerminal bool
	// status is the command's end, once it has ended.
	status *unix.WaitStatus
	// helpers are programs beside the command, by process id, and who hears of their ends; nil is nobody.
	helpers map[int]func(unix.WaitStatus)
	// work is done until over is closed.
	work chan func()
	over chan struct{}
}

func newSupervisor(caught signals, cmd command, pid, sink int) *supervisor {
	return &supervisor{
		signals: caught, command: cmd, pid: pid, sink: sink,
		helpers: make(map[int]func(unix.WaitStatus)), work: make(chan func()), over: make(chan struct{}),
	}
}

// do lets the supervisor's goroutine call f, which must not wait for anything, and returns when it has. It is false when nothing of
// the command is left: f is not called then.
func (s *supervisor) do(f func()) bool {
	done := make(chan struct{})
	select {
	case s.work <- func() { defer close(done); f() }:
		<-done
		return true
	case <-s.over:
		return false
	}
}

// wait returns the end of the command, when nothing else lives in the container either: what it left behind is killed.
func (s *supervisor) wait() unix.WaitStatus {
	defer close(s.over)
	var graceOver <-chan time.Time
	for {
		select {
		case <-s.signals.child:
			if s.reap() {
				return *s.status
			}
		case <-s.signals.stop:
			if !s.stopping {
				s.stopping = true
				s.askToEnd()
				graceOver = time.After(s.grace)
			}
		case f := <-s.work:
			f()
		case <-graceOver:
			s.killAll()
		case <-s.signals.kill:
			s.kill()
		}
		if s.pid == 0 && s.status != nil && s.reap() { // it never began, so no child tells
			return *s.status
		}
	}
}

// kill ends everything.
func (s *supervisor) kill() {
	if s.pid == 0 {
		s.neverBegins(unix.WaitStatus(unix.SIGKILL))
	}
	s.killAll()
}

// neverBegins settles the end of a command that has not begun.
func (s *supervisor) neverBegins(status unix.WaitStatus) {
	if s.status == nil {
		s.status = &status
	}
}

// begin starts the command on a terminal; one that cannot be run ends the job as everywhere. It is called in wait's goroutine.
func (s *supervisor) begin(terminal int) agentapi.Answer {
	pid, err := s.command.find(func(c command) (int, error) { return c.startOn(terminal) })
	if err != nil {
		text, code := s.command.explain("", err)
		_, _ = unix.Write(s.sink, []byte(text))
		s.neverBegins(unix.WaitStatus(code << 8)) //nolint:gosec // 126 or 127
		return refusal(agentapi.CodeFailed, err)
	}
	s.pid, s.onTerminal = pid, true
	return agentapi.Answer{Shell: &agentapi.ShellAnswer{PID: pid}}
}

// reap collects all that has ended. It is true when nothing is left and the command's end is known.
func (s *supervisor) reap() bool {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG|unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil: // ECHILD
			return s.status != nil
		case pid != 0 && pid == s.pid:
			s.ended(status)
		case pid == 0:
			if s.status != nil && !s.groupMayEnd() {
				s.killAll()
			}
			return false
		default:
			ended := s.helpers[pid]
			delete(s.helpers, pid)
			if ended != nil {
				ended(status)
			}
		}
	}
}

// ended keeps how the command ended. A shell on a terminal ends by the hangup that stands for the request to end.
func (s *supervisor) ended(status unix.WaitStatus) {
	if s.onTerminal && s.stopping && status.Signaled() && status.Signal() == unix.SIGHUP {
		status = unix.WaitStatus(unix.SIGTERM)
	}
	s.status = &status
}

// groupMayEnd says whether the command's process group may use the rest of the grace after the command's end. A shell dies of the
// request to stop at once, and the program that it was running may need the time. A command that ended by its own decision could
// have waited.
func (s *supervisor) groupMayEnd() bool {
	return s.pid != 0 && s.stopping && s.status.Signaled() && !errors.Is(unix.Kill(-s.pid, 0), unix.ESRCH)
}

// askToEnd tells the command to end, also when it is suspended. An init ends when poweroff asks it to, if it can, and a shell on a
// terminal when that hangs up.
func (s *supervisor) askToEnd() {
	if s.pid == 0 {
		s.neverBegins(unix.WaitStatus(unix.SIGTERM))
		return
	}
	if s.onTerminal {
		_ = unix.Kill(-s.pid, unix.SIGHUP)
	}
	if !s.init || s.status != nil || !s.powerOff() {
		_ = unix.Kill(-s.pid, unix.SIGTERM)
	}
	_ = unix.Kill(-s.pid, unix.SIGCONT)
}

// powerOff starts poweroff, and says whether that was possible. When it fails later the command is told to end as others are.
func (s *supervisor) powerOff() bool {
	_, err := s.launch([]string{"poweroff"}, s.sink, func(status unix.WaitStatus) {
		if status != 0 && s.status == nil {
			_ = unix.Kill(-s.pid, unix.SIGTERM)
		}
	})
	return err == nil
}

// launch starts a program beside the command, in a process group of its own, and returns its process id. It is called in wait's
// goroutine, as ended is.
func (s *supervisor) launch(argv []string, stdout int, ended func(unix.WaitStatus)) (int, error) {
	helper := s.command
	helper.argv = argv
	pid, err := helper.startFound(stdout, s.sink)
	if err == nil {
		s.helpers[pid] = ended
	}
	return pid, err
}

// launchShell starts the login shell of the command's user on a terminal, beside the command. It is called in wait's goroutine, as ended
// is.
func (s *supervisor) launchShell(terminal int, ended func(unix.WaitStatus)) (int, error) {
	shell := s.command
	shell.argv = []string{cmp.Or(variable(shell.env, "SHELL"), "/bin/sh"), "-l"}
	pid, err := shell.startOn(terminal)
	if err == nil {
		s.helpers[pid] = ended
	}
	return pid, err
}

// endHelper kills a program beside the command that still runs, and its process group. It is called in wait's goroutine.
func (s *supervisor) endHelper(pid int) {
	if _, runs := s.helpers[pid]; runs {
		_ = unix.Kill(-pid, unix.SIGKILL)
	}
}

// keep has a helper that runs already started again a while after its end: the job's user can kill it. It is called in wait's goroutine,
// or before that runs, as start is.
func (s *supervisor) keep(pid int, start func() (int, error)) {
	var again func()
	again = func() {
		time.AfterFunc(serverAgain, func() {
			s.do(func() {
				if s.killed {
					return
				}
				pid, err := start()
				if err != nil {
					again()
					return
				}
				s.keep(pid, start)
			})
		})
	}
	s.helpers[pid] = func(unix.WaitStatus) {
		if !s.killed {
			again()
		}
	}
}

// killAll kills every process of the container except the agent. None can escape by forking: the kernel signals all at once.
func (s *supervisor) killAll() {
	s.killed = true
	_ = unix.Kill(-1, unix.SIGKILL)
}
