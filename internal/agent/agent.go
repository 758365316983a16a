// Package agent is what berth-init does: it is PID 1 of a job's container, prepares the environment that applications of the
// platform expect, runs the job's command as the job's user, keeps its output and reports its end.
//
// It trusts its Dir, which belongs to the server, and nothing else. The image may hold anything, but at the time when the agent
// prepares the container nothing of the image runs yet.
package agent

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// Config says where things are. Everything is required.
type Config struct {
	// Root is the root directory of the container, and Dir what the server and the agent share.
	Root, Dir string
	// Environ is the environment of the image.
	Environ []string
	// Log hears what cannot be said in the job's output.
	Log io.Writer
}

const umask = 0o022

// Run does the agent's work and returns its exit code. It must be called once, in a process that is PID 1.
func Run(cfg Config) int {
	caught := catchSignals()
	unix.Umask(umask)
	// The job shares no session with what is outside of the container. An engine may have seen to that; then it fails.
	_, _ = unix.Setsid()
	if err := checkDir(cfg.Dir); err != nil {
		return giveUp(cfg, err)
	}
	out, syncOutput, err := openOutput(filepath.Join(cfg.Dir, agentapi.OutputFile), cfg.Log)
	if err != nil {
		return giveUp(cfg, err)
	}
	a := &agent{cfg: cfg, signals: caught, out: out}
	report := a.run()
	report.Ended = time.Now()
	report.OOMKills = oomKills(cfg.Root)
	report.OutputBlocked = out.blocked
	if err := syncOutput(); err != nil {
		_, _ = fmt.Fprintf(cfg.Log, "berth-init: output: %v\n", err)
	}
	if err := writeReport(cfg.Dir, report); err != nil {
		_, _ = fmt.Fprintf(cfg.Log, "berth-init: %v\n", err)
	}
	return report.ExitCode
}

// giveUp is for when not even the output can be opened.
func giveUp(cfg Config, err error) int {
	_, _ = fmt.Fprintf(cfg.Log, "berth-init: %v\n", err)
	return agentapi.ExitSetup
}

// agent is one run.
type agent struct {
	cfg     Config
	signals signals
	out     *output
}

// run returns what became of the command. Ended is the caller's.
func (a *agent) run() agentapi.Report {
	spec, err := readSpec(a.cfg.Dir)
	if err != nil {
		return a.failed(err)
	}
	a.out.say("Configuring user: %s %s %d...", spec.User.Name, spec.User.Group, spec.User.UID)
	root, err := openRootfs(a.cfg.Root)
	if err != nil {
		return a.failed(err)
	}
	// The root stays open until the agent ends: clients that come late may still ask what is in it.
	//
	// The server knows that the job has begun, even if the power fails, before the command is started. The disk works on that
	// while the container is prepared.
	begun := make(chan error, 1)
	go func() { begun <- writeReport(a.cfg.Dir, agentapi.Report{}) }()
	searched := cmp.Or(variable(a.cfg.Environ, "PATH"), defaultPath)
	prepared := &setup{spec: findAddresses(spec), root: root, out: a.out, path: searched}
	err = prepared.run()
	control := a.openControl(prepared) // the disk still works
	defer control.close()
	if err := errors.Join(err, <-begun); err != nil {
		return a.failed(err)
	}
	err = a.joinNodes(prepared)
	if err != nil && len(prepared.spec.Nodes) > 1 {
		return a.failed(err)
	}
	prepared.warn(err) // the command of one node can do without
	if isWorker(prepared.spec) {
		a.serve(prepared)
		return agentapi.Report{}
	}
	if a.signals.ended() {
		a.out.say("Stopped before the start of the application.")
		return agentapi.Report{}
	}
	if prepared.spec.Terminal {
		a.out.say("Waiting for somebody to open the terminal of the application.")
	}
	a.out.banner()
	return a.execute(prepared, control)
}

// failed reports that the command cannot be run, to the server and to the user.
func (a *agent) failed(err error) agentapi.Report {
	a.out.say("ERROR: %v", err)
	return agentapi.Report{ExitCode: agentapi.ExitSetup, Error: err.Error()}
}

// execute runs the command until nothing of it is left and all it wrote is in the output.
func (a *agent) execute(prepared *setup, control *control) agentapi.Report {
	cmd := prepared.commandOf(a.cfg.Environ)
	pipe, err := openStream(cmd.uid, cmd.gid)
	if err != nil {
		return a.failed(err)
	}
	started, pid := time.Now(), 0
	if prepared.spec.Terminal {
		control.console = newConsole()
	} else if pid, err = cmd.startFound(pipe.sink, pipe.sink); err != nil {
		text, code := cmd.explain(prepared.spec.Script, err)
		_, _ = a.out.Write([]byte(text))
		return agentapi.Report{Started: started, ExitCode: code}
	}
	copied := make(chan error, 1)
	go func() { copied <- pipe.copyTo(a.out) }()

	supervisor := newSupervisor(a.signals, cmd, pid, pipe.sink)
	supervisor.grace, supervisor.init = prepared.spec.Grace, prepared.spec.Init
	if prepared.sshd != 0 {
		supervisor.keep(prepared.sshd, func() (int, error) { return prepared.restartSSH(prepared.commandOf(a.cfg.Environ)) })
	}
	control.supervisor = supervisor
	go control.serve()
	status := supervisor.wait()
	if control.console != nil {
		control.console.finish(exitCode(status))
	}
	_ = unix.Close(pipe.sink) // the last one: every process has ended
	if err := <-copied; err != nil {
		_, _ = fmt.Fprintf(a.cfg.Log, "berth-init: %v\n", err)
	}
	report := agentapi.Report{Started: started, ExitCode: exitCode(status)}
	if status.Signaled() {
		report.Signal = int(status.Signal())
	}
	return report
}

// exitCode is that of a program as a shell tells it.
func exitCode(status unix.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// openControl makes the socket. A job does without rather than not run.
func (a *agent) openControl(prepared *setup) *control {
	c := &control{root: prepared.root}
	for _, node := range prepared.spec.Nodes {
		if node.Name == prepared.spec.Hostname {
			c.address = node.Address
		}
	}
	if isWorker(prepared.spec) { // nothing runs there that could be asked for something
		return c
	}
	var err error
	if c.listener, err = listen(a.cfg.Dir); err != nil {
		_, _ = fmt.Fprintf(a.cfg.Log, "berth-init: the job cannot be asked for anything: %v\n", err)
	}
	return c
}
