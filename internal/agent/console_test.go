package agent_test

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// onTerminal starts a job whose command waits for somebody to open its terminal.
func onTerminal(t *testing.T, shell string, change ...func(*bundle)) *container {
	t.Helper()
	b := newBundle(t, "")
	b.spec.Shell, b.spec.Terminal = shell, true
	withTerminals(b)
	for _, f := range change {
		f(b)
	}
	c := b.start()
	for deadline := time.Now().Add(tooLong); ; time.Sleep(10 * time.Millisecond) {
		_, err := c.tryAsk(agentapi.Request{Info: &agentapi.InfoRequest{}}) // answered once it can be opened
		if err == nil {
			return c
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// console opens the terminal of the command, and returns its process.
func (c *container) console() (terminal *agentapi.Terminal, pid int) {
	c.t.Helper()
	conn, err := c.dial()
	must(c.t, err)
	request := agentapi.ShellRequest{Size: agentapi.TerminalSize{Columns: 111, Rows: 22}, Command: true}
	terminal, answer, err := agentapi.OpenShell(conn, request)
	must(c.t, err)
	if answer.Shell == nil || answer.Shell.PID < 2 {
		c.t.Fatalf("answer %+v, %v", answer.Shell, answer.Error)
	}
	return terminal, answer.Shell.PID
}

// endOf reads a terminal to the exit code at its end.
func endOf(t *testing.T, terminal *agentapi.Terminal) int {
	t.Helper()
	for {
		frame, err := terminal.Read()
		must(t, err)
		if frame.End != nil {
			return *frame.End
		}
	}
}

// TestConsole: the command starts with its first visitor, outlives it, is seen by all, and its end is that of the job.
func TestConsole(t *testing.T) {
	t.Parallel()
	c := onTerminal(t, `echo "begun $((1+1)) $TERM $JOB_LABEL $(stty size) $(id -un)"; while read -r line && [ "$line" != end ]; do echo "got $line"; done; exit 7`)
	text := c.refused(signalRequest(20), agentapi.CodeFailed)
	if !strings.Contains(text, "nobody has opened the terminal") {
		t.Errorf("a signal before the start is refused with %q", text)
	}
	first, pid := c.console()
	until(t, first, "begun 2 xterm-256color my label 22 111 nimbix")
	typeLine(t, first, "one")
	until(t, first, "got one")
	must(t, first.Close())

	second, again := c.console()
	third, _ := c.console()
	if again != pid || pid != c.signaled(18) {
		t.Errorf("the command is process %d, then %d", pid, again)
	}
	until(t, second, "got one") // what it showed before
	typeLine(t, second, "two")
	until(t, third, "got two")
	typeLine(t, third, "end")
	if code2, code3 := endOf(t, second), endOf(t, third); code2 != 7 || code3 != 7 {
		t.Errorf("the terminals end with %d and %d, want 7", code2, code3)
	}
	got := c.wait()
	if got.code != 7 || got.report.ExitCode != 7 || got.report.Started.IsZero() || got.output != "" {
		t.Errorf("exit code %d, report %+v, output %q", got.code, got.report, got.output)
	}
	if !strings.Contains(got.init, "Waiting for somebody to open the terminal") {
		t.Errorf("the output does not say what it waits for: %s", got.init)
	}
}

// TestConsoleKeepsTheLast that was shown. Who looks away holds neither the command nor its end up.
func TestConsoleKeepsTheLast(t *testing.T) {
	t.Parallel()
	var up func()
	c := onTerminal(t, `i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo "line $i of many"; done; echo > /data/up; sleep 1000`,
		func(b *bundle) { up = b.fifo("up") })
	idle, _ := c.console()
	defer func() { _ = idle.Close() }()
	up()
	late, _ := c.console()
	shown := until(t, late, "line 20000 of many")
	if strings.Contains(shown, "line 1 of many") || !strings.Contains(shown, "line 19000 of many") {
		t.Errorf("%d bytes are shown again, not the last ones", len(shown))
	}
	c.signal("USR1")
	if code := endOf(t, late); code != 137 {
		t.Errorf("the terminal ends with %d", code)
	}
	if got := c.wait(); got.report.Signal != 9 {
		t.Errorf("report %+v", got.report)
	}
}

// TestConsoleNobodyOpens: the job ends as if its command had run and been ended, also while somebody has a shell in it.
func TestConsoleNobodyOpens(t *testing.T) {
	t.Parallel()
	for signal, want := range map[string]int{"TERM": 15, "USR1": 9} {
		for _, beside := range []bool{false, true} {
			c := onTerminal(t, "exit 1")
			if beside {
				shell := c.shell()
				typeLine(t, shell, "echo $((1+1))nd")
				until(t, shell, "2nd")
				defer func() { _ = shell.Close() }()
			}
			c.signal(signal)
			got := c.wait()
			if got.report.Signal != want || got.code != 128+want || got.report.Started.IsZero() || got.report.Error != "" {
				t.Errorf("%s, a shell beside is %v: exit code %d, report %+v", signal, beside, got.code, got.report)
			}
		}
	}
}

// TestConsoleOfAShell: a shell that somebody uses ignores SIGTERM, and ends by a shutdown all the same.
func TestConsoleOfAShell(t *testing.T) {
	t.Parallel()
	c := onTerminal(t, "exec sh -i")
	terminal, _ := c.console()
	typeLine(t, terminal, "trap '' TERM; echo $((1+1))nd")
	until(t, terminal, "2nd")
	c.signal("TERM")
	endOf(t, terminal)
	if got := c.wait(); got.report.Signal != 15 || got.code != 143 {
		t.Errorf("exit code %d, report %+v", got.code, got.report)
	}
}

// TestConsoleOfNoProgram: a program that is not there ends the job with a shell's code, and the output says why.
func TestConsoleOfNoProgram(t *testing.T) {
	t.Parallel()
	c := onTerminal(t, "", func(b *bundle) { b.spec.Argv = []string{"nonsense"} })
	conn, err := c.dial()
	must(t, err)
	defer conn.Close()
	_, answer, err := agentapi.OpenShell(conn, agentapi.ShellRequest{Command: true})
	must(t, err)
	if answer.Error == nil || answer.Error.Code != agentapi.CodeFailed {
		t.Errorf("answer %+v", answer)
	}
	if got := c.wait(); got.code != 127 || !strings.Contains(got.output, "nonsense is not in the PATH") {
		t.Errorf("exit code %d, output %q", got.code, got.output)
	}
}
