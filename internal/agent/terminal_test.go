package agent_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// withTerminals mounts what terminals need.
func withTerminals(b *bundle) {
	b.extra = append(b.extra, map[string]any{
		"destination": "/dev/pts", "type": "devpts", "source": "devpts",
		"options": []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"},
	})
}

// shell opens a shell, which must be possible.
func (c *container) shell() *agentapi.Terminal {
	c.t.Helper()
	conn, err := c.dial()
	must(c.t, err)
	size := agentapi.TerminalSize{Columns: 111, Rows: 22}
	terminal, answer, err := agentapi.OpenShell(conn, agentapi.ShellRequest{Size: size})
	must(c.t, err)
	if answer.Shell == nil || answer.Shell.PID < 2 {
		c.t.Fatalf("answer %+v, %v", answer.Shell, answer.Error)
	}
	return terminal
}

// until reads what a terminal shows until it holds a text.
func until(t *testing.T, terminal *agentapi.Terminal, text string) string {
	t.Helper()
	shown := ""
	for !strings.Contains(shown, text) {
		frame, err := terminal.Read()
		if err != nil || frame.End != nil {
			t.Fatalf("%v, %v, before %q was shown: %q", err, frame.End, text, shown)
		}
		shown += string(frame.Data)
	}
	return shown
}

func typeLine(t *testing.T, terminal *agentapi.Terminal, line string) {
	t.Helper()
	must(t, terminal.Write(agentapi.Frame{Data: []byte(line + "\n")}))
}

// TestShellRequest: it is the user's, with the job's environment, on a terminal whose size changes, with a code at its end.
func TestShellRequest(t *testing.T) {
	t.Parallel()
	c := started(t, "BEGUN; sleep 1000 & wait", withTerminals)
	terminal := c.shell()
	typeLine(t, terminal, "echo $((1+1))=$(id -un):$(pwd):$JOB_LABEL:$TERM:$(stty size):$(tty)")
	until(t, terminal, "2=nimbix:/home/nimbix:my label:xterm-256color:22 111:/dev/pts/0")
	must(t, terminal.Write(agentapi.Frame{Size: &agentapi.TerminalSize{Columns: 90, Rows: 33}}))
	// One process group: between two commands of the shell there is a moment in which nobody gets what the terminal sends.
	typeLine(t, terminal, "sh -c 'stty size; exec sleep 1000'; echo $((40+2))")
	until(t, terminal, "33 90\r\n")
	must(t, terminal.Write(agentapi.Frame{Data: []byte{3}})) // Ctrl-C ends the sleep only
	typeLine(t, terminal, "echo $((50+5))")
	until(t, terminal, "55")
	typeLine(t, terminal, "exit 7")
	for {
		frame, err := terminal.Read()
		must(t, err)
		if frame.End != nil {
			if *frame.End != 7 {
				t.Errorf("the shell ends with %d, want 7", *frame.End)
			}
			break
		}
	}
	if _, err := terminal.Read(); err == nil {
		t.Error("something comes after the end")
	}
	c.signaled(9)
	c.wait()
}

// TestShellHangsUp when its user goes, and with the end of the command.
func TestShellHangsUp(t *testing.T) {
	t.Parallel()
	c := started(t, "BEGUN; sleep 1000 & wait", withTerminals)
	gone := c.fifo("gone")
	terminal := c.shell()
	typeLine(t, terminal, `exec sh -c 'trap "echo > /data/gone; exit" HUP; echo $((1+1))nd; while :; do sleep 0.1; done'`)
	until(t, terminal, "2nd")
	must(t, terminal.Close())
	gone()
	other := c.shell()
	typeLine(t, other, "echo $((1+2))rd")
	until(t, other, "3rd")
	c.signaled(9)
	for {
		if frame, err := other.Read(); err != nil || frame.End != nil {
			break
		}
	}
	c.wait()
}

// TestShellWithoutTerminals is refused, and the job goes on.
func TestShellWithoutTerminals(t *testing.T) {
	t.Parallel()
	c := started(t, "trap 'exit 3' USR1; BEGUN; sleep 1000 & wait")
	conn, err := c.dial()
	must(t, err)
	defer conn.Close()
	_, answer, err := agentapi.OpenShell(conn, agentapi.ShellRequest{})
	must(t, err)
	if answer.Error == nil || answer.Error.Code != agentapi.CodeFailed {
		t.Errorf("answer %s", fmt.Sprint(answer))
	}
	c.signaled(10)
	if got := c.wait(); got.code != 3 {
		t.Errorf("exit code %d", got.code)
	}
}
