package sshd

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/pty"
)

// session is a program that a client runs. Its requests are served by one goroutine.
type session struct {
	cfg     Config
	channel ssh.Channel
	env     []string
	// tty is the session's terminal, nil when the client wants none.
	tty *pty.Terminal
	// began says that the client has said what is to run, and group is its process group while it runs, else 0.
	began bool
	mu    sync.Mutex
	group int
}

func (s *server) newSession(conn ssh.Conn, channel ssh.Channel) *session {
	client, clientPort, _ := net.SplitHostPort(conn.RemoteAddr().String())
	server, serverPort, _ := net.SplitHostPort(conn.LocalAddr().String())
	env := append(slices.Clone(s.cfg.Environ),
		"SSH_CLIENT="+client+" "+clientPort+" "+serverPort,
		"SSH_CONNECTION="+client+" "+clientPort+" "+server+" "+serverPort)
	return &session{cfg: s.cfg, channel: channel, env: env}
}

// serve does what the client asks for until the session is over or the client has gone, which hangs up the terminal.
func (s *session) serve(requests <-chan *ssh.Request) {
	for request := range requests {
		err := s.do(request.Type, request.Payload)
		if request.WantReply {
			_ = request.Reply(err == nil, nil)
		}
		if err == nil && slices.Contains(starts, request.Type) { // not before the answer
			s.begin(request.Type, request.Payload)
		}
	}
	if s.tty != nil {
		s.tty.CloseSlave()
		s.tty.Close()
	}
}

// starts are the requests that say what a session runs.
var starts = []string{"exec", "shell", "subsystem"}

var errRequest = errors.New("no such request, or not now")

// do does what a request asks for. Of one that starts something it says only whether that is possible.
func (s *session) do(kind string, payload []byte) error {
	switch kind {
	case "env":
		var variable struct{ Name, Value string }
		return errors.Join(ssh.Unmarshal(payload, &variable), s.setVariable(variable.Name, variable.Value))
	case "pty-req":
		return s.openTerminal(payload)
	case "window-change":
		var size struct{ Columns, Rows, Width, Height uint32 }
		if err := ssh.Unmarshal(payload, &size); err != nil || s.tty == nil {
			return errRequest
		}
		return s.tty.Resize(uint16(size.Columns), uint16(size.Rows)) //nolint:gosec // no terminal is larger
	case "signal":
		var signal struct{ Name string }
		if err := ssh.Unmarshal(payload, &signal); err != nil {
			return err
		}
		return s.signal(unix.SignalNum("SIG" + signal.Name))
	case "subsystem":
		if name, err := text(payload); err != nil || name != "sftp" {
			return errRequest
		}
	case "exec":
		if _, err := text(payload); err != nil {
			return err
		}
	case "shell":
	default:
		return errRequest
	}
	if s.began {
		return errRequest
	}
	s.began = true
	return nil
}

// text returns the only string of a request.
func text(payload []byte) (string, error) {
	var of struct{ Text string }
	return of.Text, ssh.Unmarshal(payload, &of)
}

// setVariable sets what clients may set: how they want texts to be.
func (s *session) setVariable(name, value string) error {
	if s.began || name != "LANG" && !strings.HasPrefix(name, "LC_") || strings.ContainsAny(name+value, "=\x00") {
		return errRequest
	}
	s.env = append(s.env, name+"="+value)
	return nil
}

func (s *session) openTerminal(payload []byte) error {
	var want struct {
		Term                         string
		Columns, Rows, Width, Height uint32
		Modes                        string
	}
	if err := ssh.Unmarshal(payload, &want); err != nil || s.began || s.tty != nil {
		return errRequest
	}
	tty, err := pty.Open(os.Getuid(), uint16(want.Columns), uint16(want.Rows)) //nolint:gosec // no terminal is larger
	if err != nil {
		return err
	}
	s.tty = tty
	s.env = append(s.env, "SSH_TTY="+tty.Name, "TERM="+want.Term)
	return nil
}

// signal sends a signal to what the session runs.
func (s *session) signal(number unix.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if number == 0 || s.group == 0 {
		return errRequest
	}
	return unix.Kill(-s.group, number)
}

// begin starts what a session runs, and ends the session with it.
func (s *session) begin(kind string, payload []byte) {
	if kind == "subsystem" {
		go s.transfer()
		return
	}
	cmd := &exec.Cmd{Path: s.cfg.Shell, Args: []string{"-" + filepath.Base(s.cfg.Shell)}} // a login shell
	if kind == "exec" {
		command, _ := text(payload)
		cmd.Args = []string{s.cfg.Shell, "-c", command}
	}
	cmd.Dir, cmd.Env = s.cfg.Home, s.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	copied := make(chan struct{})
	err := s.connect(cmd, copied)
	if err != nil {
		_, _ = fmt.Fprintf(s.channel.Stderr(), "%v\n", err)
		s.end(unix.WaitStatus(exitNotFound << 8))
		return
	}
	go func() {
		_ = cmd.Wait() // the state says more
		s.setGroup(0)
		if s.tty != nil {
			_ = s.tty.Master.SetReadDeadline(time.Now())
		}
		<-copied
		s.end(unix.WaitStatus(cmd.ProcessState.Sys().(syscall.WaitStatus)))
	}()
}

// exitNotFound is what shells answer for a command that is not there.
const exitNotFound = 127

// connect starts a command that the client talks to. copied is closed when what it says has been copied; without a terminal its Wait
// waits for that.
func (s *session) connect(cmd *exec.Cmd, copied chan struct{}) error {
	if s.tty != nil {
		slave := os.NewFile(uintptr(s.tty.Slave), s.tty.Name)
		s.tty.Slave = -1
		defer func() { _ = slave.Close() }()
		cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
		cmd.SysProcAttr.Setctty = true
		if err := s.start(cmd); err != nil {
			return err
		}
		go func() { _, _ = io.Copy(s.tty.Master, s.channel) }()
		go func() {
			defer close(copied)
			s.show()
		}()
		return nil
	}
	defer close(copied)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = s.channel, s.channel.Stderr()
	if err := s.start(cmd); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(stdin, s.channel)
		_ = stdin.Close()
	}()
	return nil
}

const (
	// lastWords is how long after the end of its command a terminal may be silent, and maxLastWords how many bytes come from it then, when
	// a program in the background still has it open.
	lastWords    = time.Second
	maxLastWords = 1 << 20
)

// show copies what programs say on the terminal until none has it open any more, or the command has ended, which sets a deadline, and has
// nothing more to say.
func (s *session) show() {
	buffer := make([]byte, 32<<10)
	ended := false
	for left := maxLastWords; left > 0; {
		if ended {
			_ = s.tty.Master.SetReadDeadline(time.Now().Add(lastWords))
		}
		n, err := s.tty.Master.Read(buffer)
		if _, gone := s.channel.Write(buffer[:n]); gone != nil {
			return
		}
		switch {
		case err == nil && ended:
			left -= n
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && !ended:
			ended = true
		default:
			return
		}
	}
}

func (s *session) start(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	s.setGroup(cmd.Process.Pid)
	return nil
}

func (s *session) setGroup(group int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.group = group
}

// transfer serves sftp, which scp uses too.
func (s *session) transfer() {
	files, err := sftp.NewServer(s.channel, sftp.WithServerWorkingDirectory(s.cfg.Home))
	status := unix.WaitStatus(0)
	if err == nil {
		err = files.Serve()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		status = unix.WaitStatus(1 << 8)
	}
	s.end(status)
}

// end tells the client how it ended, and closes the session.
func (s *session) end(status unix.WaitStatus) {
	if status.Signaled() {
		signal := struct {
			Name       string
			CoreDumped bool
			Text, Lang string
		}{Name: strings.TrimPrefix(unix.SignalName(status.Signal()), "SIG"), CoreDumped: status.CoreDump()}
		_, _ = s.channel.SendRequest("exit-signal", false, ssh.Marshal(signal))
	} else {
		code := struct{ Status uint32 }{uint32(status.ExitStatus())} //nolint:gosec // 0 to 255
		_, _ = s.channel.SendRequest("exit-status", false, ssh.Marshal(code))
	}
	_ = s.channel.CloseWrite()
	_ = s.channel.Close()
}
