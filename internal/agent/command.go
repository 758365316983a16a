package agent

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// What a shell answers for a command that it cannot run.
const (
	exitCannotRun = 126
	exitNotFound  = 127
)

// command is what runs as the job's user.
type command struct {
	argv     []string
	env      []string
	dir      string
	uid, gid int
}

// commandOf returns the command of a job, after its setup.
func (s *setup) commandOf(image []string) command {
	return command{argv: argvOf(s.spec), env: s.environment(image), dir: s.home, uid: s.spec.User.UID, gid: s.spec.User.GID}
}

// argvOf returns the command and its arguments.
func argvOf(spec agentapi.Spec) []string {
	switch {
	case len(spec.Argv) > 0:
		return spec.Argv
	case spec.Shell != "": // front ends of batch systems look for a process with exactly these arguments
		return []string{"/bin/sh", "-l", "-c", spec.Shell}
	case interpreter(spec.Script) == "":
		return []string{"/bin/sh", scriptPath}
	default:
		return []string{scriptPath}
	}
}

// interpreter returns the program that the first line of a script asks for.
func interpreter(script string) string {
	first, _, _ := strings.Cut(script, "\n")
	asked, ok := strings.CutPrefix(first, "#!")
	fields := strings.Fields(asked)
	if !ok || len(fields) == 0 {
		return ""
	}
	return fields[0]
}

// start runs the command without any capability, and returns its process id, which is that of its process group too.
//
// The group is of the agent's session and not of one of its own: the kernel lets SIGTSTP, SIGTTIN and SIGTTOU stop nobody in an
// orphaned process group, which is one where no parent of a member is in another group of the same session. The members' parents
// are members or, when they have lost theirs, the agent.
func (c command) start(stdout, stderr int) (int, error) {
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("/dev/null: %w", err)
	}
	defer func() { _ = unix.Close(null) }()
	return c.fork([]int{null, stdout, stderr}, &syscall.SysProcAttr{Setpgid: true})
}

// startOn runs the command without any capability in a session of its own on a terminal, and returns its process id.
func (c command) startOn(terminal int) (int, error) {
	c.env = slices.DeleteFunc(slices.Clone(c.env), func(v string) bool { return strings.HasPrefix(v, "TERM=") })
	c.env = append(c.env, "TERM=xterm-256color")
	return c.fork([]int{terminal, terminal, terminal}, &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0})
}

func (c command) fork(files []int, sys *syscall.SysProcAttr) (int, error) {
	// Capabilities belong to a thread, and a child gets those of the thread that makes it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := dropInheritable(); err != nil {
		return 0, fmt.Errorf("capabilities: %w", err)
	}
	sys.Credential = &syscall.Credential{Uid: uint32(c.uid), Gid: uint32(c.gid)} //nolint:gosec // checked with the spec
	attr := &syscall.ProcAttr{Dir: c.dir, Env: c.env, Sys: sys}
	for _, fd := range files {
		attr.Files = append(attr.Files, uintptr(fd))
	}
	return syscall.ForkExec(c.argv[0], c.argv, attr)
}

// startFound is start for a program that is looked for.
func (c command) startFound(stdout, stderr int) (int, error) {
	return c.find(func(c command) (int, error) { return c.start(stdout, stderr) })
}

// find starts a program that is looked for in the command's PATH when its name has no slash. Each place is tried by starting it, so the
// right one is found by the rights of the job's user.
func (c command) find(start func(command) (int, error)) (int, error) {
	program := c.argv[0]
	if strings.Contains(program, "/") {
		return start(c)
	}
	for dir := range strings.SplitSeq(variable(c.env, "PATH"), ":") {
		if !strings.HasPrefix(dir, "/") {
			continue
		}
		c.argv = append([]string{dir + "/" + program}, c.argv[1:]...)
		pid, err := start(c)
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.EACCES) {
			return pid, err
		}
	}
	return 0, fmt.Errorf("%s is not in the PATH: %w", program, unix.ENOENT)
}

// dropInheritable gives up what would outlive the change to the user: that change itself clears the effective, permitted and
// ambient sets. The bounding set can only be cleared with CAP_SETPCAP; without it, no-new-privileges makes it mean nothing.
func dropInheritable() error {
	for capability := uintptr(0); capability <= unix.CAP_LAST_CAP; capability++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil {
			break
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return err
	}
	sets[0].Inheritable, sets[1].Inheritable = 0, 0
	return unix.Capset(&header, &sets[0])
}

// explain says, as a shell would, why a command could not be run, and what its exit code is then.
func (c command) explain(script string, err error) (text string, code int) {
	program := c.argv[0]
	if asked := interpreter(script); asked != "" {
		program = fmt.Sprintf("the script asks for %q", asked)
	}
	code = exitCannotRun
	if errors.Is(err, unix.ENOENT) {
		code = exitNotFound
	}
	return fmt.Sprintf("berth-init: %s: %v\n", program, err), code
}
