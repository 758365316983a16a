package agent

import (
	"errors"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
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

// supervisor is PID 1 while the command runs.
type supervisor struct {
	signals signals
	// pid is the command, and its process group.
	pid int
	// grace is how long it may take after a request to stop.
	grace time.Duration
	// stopping says that there was such a request.
	stopping bool
	// status is the command's end, once it has ended.
	status *unix.WaitStatus
}

// wait returns the end of the command, when nothing else lives in the container either: what it left behind is killed.
func (s *supervisor) wait() unix.WaitStatus {
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
		case <-graceOver:
			killAll()
		case <-s.signals.kill:
			killAll()
		}
	}
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
		case pid == s.pid:
			s.status = &status
		case pid == 0:
			if s.status != nil && !s.groupMayEnd() {
				killAll()
			}
			return false
		}
	}
}

// groupMayEnd says whether the command's process group may use the rest of the grace after the command's end. A shell dies of the
// request to stop at once, and the program that it was running may need the time. A command that ended by its own decision could
// have waited.
func (s *supervisor) groupMayEnd() bool {
	return s.stopping && s.status.Signaled() && !errors.Is(unix.Kill(-s.pid, 0), unix.ESRCH)
}

// askToEnd tells the command's process group to end, also when it is suspended.
func (s *supervisor) askToEnd() {
	_ = unix.Kill(-s.pid, unix.SIGTERM)
	_ = unix.Kill(-s.pid, unix.SIGCONT)
}

// killAll kills every process of the container except the agent. None can escape by forking: the kernel signals all at once.
func killAll() {
	_ = unix.Kill(-1, unix.SIGKILL)
}
