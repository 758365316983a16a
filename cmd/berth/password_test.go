package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/berth-hpc/berth/internal/pty"
)

// typing is an app at a terminal at which somebody types; shown is what the terminal and stderr show.
func typing(t *testing.T, typed string) (a *app, shown func() string) {
	t.Helper()
	terminal, err := pty.Open(os.Getuid(), 80, 24)
	if err != nil {
		t.Fatal(err)
	}
	slave := os.NewFile(uintptr(terminal.Slave), terminal.Name)
	var screen bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(&screen, terminal.Master) // until nobody has the slave
	}()
	var stderr bytes.Buffer
	a = &app{stdin: slave, stderr: &prompted{&stderr, func() {
		line, rest, _ := strings.Cut(typed, "\n")
		typed = rest
		_, _ = io.WriteString(terminal.Master, line+"\n")
	}}}
	return a, func() string {
		_ = slave.Close()
		<-done
		terminal.Close()
		return screen.String() + stderr.String()
	}
}

// prompted calls ask for every question. It is asked before the echo is off; what is typed then waits for who reads it.
type prompted struct {
	to  io.Writer
	ask func()
}

func (p *prompted) Write(text []byte) (int, error) {
	if bytes.HasSuffix(text, []byte(": ")) {
		p.ask()
	}
	return p.to.Write(text)
}

func TestTypedPasswords(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		typed    string
		again    bool
		password string
		fails    string
	}{
		"once":      {"correct horse\n", false, "correct horse", ""},
		"twice":     {"correct horse\ncorrect horse\n", true, "correct horse", ""},
		"different": {"correct horse\ncorrect house\n", true, "", "these were two different passwords"},
		"none":      {"\n", false, "", "there is no password"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, shown := typing(t, tc.typed)
			password, err := a.readPassword("home", tc.again)
			if password != tc.password || (err == nil) != (tc.fails == "") || err != nil && !strings.Contains(err.Error(), tc.fails) {
				t.Errorf("password %q, %v", password, err)
			}
			if text := shown(); !strings.Contains(text, "password of vault home: ") {
				t.Errorf("shown: %q", text)
			}
		})
	}
}

// TestTypedNewPassword: the old password is asked for once and the new one twice.
func TestTypedNewPassword(t *testing.T) {
	t.Parallel()
	a, shown := typing(t, "correct horse\nbattery staple\nbattery staple\n")
	password, changed, err := a.readPasswords("home")
	if password != "correct horse" || changed != "battery staple" || err != nil {
		t.Errorf("%q, %q, %v", password, changed, err)
	}
	for _, question := range []string{"password of vault home: ", "new password of vault home: ", "once more the new password of vault home: "} {
		if text := shown(); !strings.Contains(text, question) {
			t.Errorf("shown: %q, without %q", text, question)
		}
	}
}
