package enginetest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine"
)

// openShell starts a shell, which must be possible.
func openShell(t *testing.T, e Engine, a engine.Attempt) *agentapi.Terminal {
	t.Helper()
	size := agentapi.TerminalSize{Columns: 100, Rows: 30}
	terminal, err := e.OpenShell(t.Context(), a.ID, agentapi.ShellRequest{Size: size})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	return terminal
}

// shown is what a terminal has shown up to its end, and the exit code that came last; -1 when it hung up.
type shown struct {
	text string
	code int
}

// read reads a terminal to its end, while others type.
func read(terminal *agentapi.Terminal) <-chan shown {
	over := make(chan shown, 1)
	go func() {
		var text strings.Builder
		for {
			frame, err := terminal.Read()
			switch {
			case err != nil:
				over <- shown{text.String(), -1}
				return
			case frame.End != nil:
				over <- shown{text.String(), *frame.End}
				return
			}
			text.Write(frame.Data)
		}
	}()
	return over
}

func awaitShown(t *testing.T, over <-chan shown) shown {
	t.Helper()
	select {
	case got := <-over:
		return got
	case <-time.After(patience):
		t.Fatal("the shell does not end")
		return shown{}
	}
}

// testShell types into a shell beside the command.
func testShell(t *testing.T, e Engine) {
	a := begin(t, e, Script{Text: "echo ready\nsleep 1000"})
	terminal := openShell(t, e, a)
	over := read(terminal)
	for _, frame := range []agentapi.Frame{
		{Size: &agentapi.TerminalSize{Columns: 80, Rows: 24}}, {Data: []byte("echo ty")}, {Data: []byte("ped\n")}, {Data: []byte("exit 3\n")},
	} {
		if err := terminal.Write(frame); err != nil {
			t.Fatal(err)
		}
	}
	if got := awaitShown(t, over); got.code != 3 || !strings.Contains(got.text, "typed") {
		t.Errorf("the shell shows %q and ends with %d, want 3", got.text, got.code)
	}
}

// testShellEnds: the end of the command ends shells too, and then there are none.
func testShellEnds(t *testing.T, e Engine) {
	a := begin(t, e, Script{Text: "echo ready\nsleep 1000"})
	over := read(openShell(t, e, a))
	if err := e.Stop(t.Context(), a.ID, 0); err != nil {
		t.Fatal(err)
	}
	awaitShown(t, over)
	AwaitExit(t, e, a.ID)
	if _, err := e.OpenShell(t.Context(), a.ID, agentapi.ShellRequest{}); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("a shell in an attempt that has ended: %v; want %v", err, engine.ErrNotFound)
	}
}

// testNoDisplay: an attempt without a VNC server has none to connect to.
func testNoDisplay(t *testing.T, e Engine) {
	a := begin(t, e, Script{Text: "echo ready\nsleep 1000"})
	_, err := e.OpenDisplay(t.Context(), a.ID)
	if refused, ok := errors.AsType[*agentapi.Error](err); !ok || refused.Code != agentapi.CodeInvalid {
		t.Errorf("the display of an attempt that has none: %v", err)
	}
	if err := e.Stop(t.Context(), a.ID, 0); err != nil {
		t.Fatal(err)
	}
	AwaitExit(t, e, a.ID)
	if _, err := e.OpenDisplay(t.Context(), a.ID); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("the display of an attempt that has ended: %v; want %v", err, engine.ErrNotFound)
	}
}
