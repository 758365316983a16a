package sshd_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// TestBackground: a session on a terminal ends with its shell, with all that this has said, also when a program that it has left in the
// background still has the terminal.
func TestBackground(t *testing.T) {
	t.Parallel()
	s := start(t)
	session := s.session()
	must(t, session.RequestPty("vt100", 24, 80, ssh.TerminalModes{}))
	var said strings.Builder
	session.Stdout = &said
	must(t, session.Start("trap '' HUP; sleep 1000 & echo $! > pid; i=0; while [ $i -lt 1000 ]; do i=$((i+1)); echo line $i; done; exit 3"))
	defer killBackground(t, s)
	ended := make(chan error, 1)
	go func() { ended <- session.Wait() }()
	select {
	case err := <-ended:
		if exit, ok := errors.AsType[*ssh.ExitError](err); !ok || exit.ExitStatus() != 3 {
			t.Errorf("end %v; want code 3", err)
		}
	case <-time.After(patience):
		t.Fatal("the session does not end")
	}
	if lines := strings.Count(said.String(), "\n"); lines != 1000 || !strings.HasSuffix(said.String(), "line 1000\r\n") {
		t.Errorf("%d lines came; want 1000: …%q", lines, said.String()[max(0, said.Len()-100):])
	}
}

// killBackground kills the program whose process id is in the file pid of the user's home.
func killBackground(t *testing.T, s *server) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.home, "pid"))
	must(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err, syscall.Kill(pid, syscall.SIGKILL))
}
