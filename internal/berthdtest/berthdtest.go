// Package berthdtest starts the real server as a process of its own, for end-to-end tests and benchmarks.
package berthdtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ReadyWithin is far above what a start takes; it only ends a test that would hang.
const ReadyWithin = 60 * time.Second

// Server is a berthd with a data directory and a private containerd of its own. It is for one goroutine.
type Server struct {
	// Bin is the folder that holds berthd, Data the data directory.
	Bin, Data string
	// Flags and Env are added to those of every start.
	Flags, Env []string

	// URL and Vars are set by Start: the address, and the variables of the credentials file.
	URL  string
	Vars map[string]string

	cmd    *exec.Cmd
	exited chan error
	log    *os.File
}

// Build makes the binaries of the given commands (cmd/NAME) from the module at root and puts them into dir.
func Build(ctx context.Context, root, dir string, names ...string) error {
	args := []string{"build", "-o", dir}
	for _, name := range names {
		args = append(args, "./cmd/"+name)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Stderr = root, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s: %w", strings.Join(names, ", "), err)
	}
	return nil
}

// Start starts berthd and waits until it is ready. The server outlives ctx.
func (s *Server) Start(ctx context.Context) error {
	if err := os.MkdirAll(s.Data, 0o711); err != nil { //nolint:gosec // as berthd makes it
		return err
	}
	log, err := os.OpenFile(filepath.Join(s.Data, "berthd.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	args := append([]string{"--data", s.Data, "--listen", "127.0.0.1:0", "--containerd", "private"}, s.Flags...)
	s.cmd = exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(s.Bin, "berthd"), args...)
	s.cmd.Env = append(os.Environ(), s.Env...)
	s.cmd.Stderr, s.log = log, log
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return err
	}
	ready := make(chan string, 1)
	s.exited = make(chan error, 1)
	go func() {
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		ready <- line
		s.exited <- s.cmd.Wait()
	}()
	return s.awaitReady(ctx, ready)
}

// ErrNotReady says that berthd ended before it was ready.
var ErrNotReady = errors.New("berthd ended before it was ready")

func (s *Server) awaitReady(ctx context.Context, ready <-chan string) error {
	var line string
	select {
	case line = <-ready:
	case <-ctx.Done():
		s.Kill()
		return context.Cause(ctx)
	case <-time.After(ReadyWithin):
		s.Kill()
		return fmt.Errorf("berthd is not ready after %s:\n%s", ReadyWithin, s.Log())
	}
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if !ok {
		_ = s.gone(<-s.exited)
		return fmt.Errorf("%w:\n%s", ErrNotReady, s.Log())
	}
	s.URL = url
	return s.readCredentials()
}

func (s *Server) readCredentials() error {
	text, err := os.ReadFile(filepath.Join(s.Data, "credentials"))
	if err != nil {
		return err
	}
	s.Vars = make(map[string]string)
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "="); ok {
			s.Vars[name] = value
		}
	}
	return nil
}

// Pid returns the process of the running server.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// gone forgets a server that has ended and returns how.
func (s *Server) gone(err error) error {
	_ = s.log.Close()
	s.cmd = nil
	return err
}

// Kill ends berthd with SIGKILL. It does nothing when it does not run.
func (s *Server) Kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.gone(<-s.exited)
	}
}

// Goroutines ends berthd and returns what each of its goroutines was doing, for a test that found it hanging.
func (s *Server) Goroutines() string {
	if s.cmd == nil {
		return "berthd does not run"
	}
	before := len(s.Log())
	_ = s.cmd.Process.Signal(syscall.SIGQUIT)
	_ = s.gone(<-s.exited)
	return s.Log()[before:]
}

// Stop ends berthd as a service manager does, and returns what it did wrong.
func (s *Server) Stop() error {
	if s.cmd == nil {
		return errors.New("berthd does not run")
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := s.gone(<-s.exited); err != nil {
		return fmt.Errorf("berthd: %w\n%s", err, s.Log())
	}
	return nil
}

// Crashed waits until an armed crash point has killed berthd, or ctx ends.
func (s *Server) Crashed(ctx context.Context) error {
	select {
	case err := <-s.exited:
		_ = s.gone(err)
		return nil
	case <-ctx.Done():
		return fmt.Errorf("berthd did not reach its crash point: %w", context.Cause(ctx))
	}
}

// Down ends everything that the server left: berthd, its containers, its containerd and what is mounted for them, also after ctx has
// ended. Safe to repeat.
func (s *Server) Down(ctx context.Context) error {
	s.Kill()
	down := exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(s.Bin, "berthd"), "down", "--data", s.Data)
	if out, err := down.CombinedOutput(); err != nil {
		return fmt.Errorf("berthd down: %w\n%s", err, out)
	}
	return nil
}

// Log returns what berthd has logged.
func (s *Server) Log() string {
	text, _ := os.ReadFile(filepath.Join(s.Data, "berthd.log"))
	return string(text)
}
