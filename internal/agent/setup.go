package agent

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// scriptPath is where the job's script is in the container.
const scriptPath = "/opt/JARVICE/jobscript"

// setup prepares the container for the command.
type setup struct {
	spec agentapi.Spec
	root *rootfs
	out  *output
	// path is where programs of the image are looked for.
	path string
	// home and shell are the user's, found out on the way, and mpi are variables for MPI programs.
	home, shell string
	mpi         map[string]string
	// sshd is the process of this node's ssh server, 0 for none.
	sshd int
}

// run prepares everything. Its error means that the command cannot be run; what a job may well do without becomes a line of
// warning in its output.
func (s *setup) run() error {
	if err := s.makeHome(); err != nil {
		return err
	}
	s.shell = "/bin/sh"
	s.warn(s.configureUser())
	s.warn(s.writeShadow())
	s.warn(s.giveData())
	s.out.say("Initializing networking...")
	s.warn(s.configureNetwork())
	s.warn(s.configureMPI())
	s.out.say("Finalizing setup in application environment...")
	s.warn(s.writePlatformFiles())
	if err := s.writeProgram(); err != nil {
		return err
	}
	s.warn(s.writeConnection())
	s.out.say("Waiting for job configuration before executing application...")
	hostname, err := os.Hostname()
	s.warn(err)
	if hostname != s.spec.Hostname {
		s.warn(fmt.Errorf("this container's host name is not %s", s.spec.Hostname))
	}
	s.out.say("hostname: %s", hostname)
	s.out.say("HOME=%s", s.home)
	s.sayCommand()
	return nil
}

func (s *setup) warn(err error) {
	if err == nil {
		return
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		s.out.say("WARNING: %s", line)
	}
}

// write puts a text where everybody can read it.
func (s *setup) write(name, text string) error {
	return s.root.write(name, file{data: []byte(text), mode: 0o644})
}

// owned is a file of the user.
func (s *setup) owned(data []byte, mode uint32) file {
	return file{data: data, mode: mode, uid: s.spec.User.UID, gid: s.spec.User.GID}
}

// giveData gives the mount point of the vault, and nothing in it, to the user.
func (s *setup) giveData() error {
	data := s.spec.Data
	if data.Path == "" || !data.Chown {
		return nil
	}
	fd, err := s.root.open(data.Path, unix.O_DIRECTORY)
	if err != nil {
		return &os.PathError{Op: "open", Path: data.Path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Fchown(fd, s.spec.User.UID, s.spec.User.GID); err != nil {
		return &os.PathError{Op: "chown", Path: data.Path, Err: err}
	}
	return nil
}
