package berth_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
)

var update = flag.Bool("update", false, "write docs/state-machine.md instead of comparing it")

// TestStateMachineDrawing holds docs/state-machine.md equal to the table. make fmt writes it.
func TestStateMachineDrawing(t *testing.T) {
	t.Parallel()
	const path = "docs/state-machine.md"
	want := stateMachine()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s differs from the table in state.go; run make fmt (-want +got):\n%s", path, diff)
	}
}

const drawingHead = `# The states of a job

Drawn from the table in [state.go](../state.go) by a test; ` + "`make fmt`" + ` writes this file. What is not drawn is refused.

- A **wish** (stop-requested, terminate-requested) of a job that has its resources changes no state: it is stored beside the
  state and the loops act on it. A wish never goes back to a weaker one.
- **ended** leads to the state that the wish and the exit say together: completed, failed, terminated, or canceled when
  the command never ran. An exit code that cannot be learned is never taken for success: failed, with the reason *lost*.
  Its time is that of the command's end, also when no server was there to see it.
- **staging** comes in the place of ended when new data of the job's object vault is to be copied back. How the command ended is
  stored then; **staged** leads to the state that it means, to failed when something could not be copied, or to terminated.
- **refused** means that the job can never be started, for example because the registry says that there is no such image.

`

// stateMachine draws the table: the moves as a diagram, the events that change no state as a list.
func stateMachine() string {
	var out strings.Builder
	out.WriteString(drawingHead)
	out.WriteString("```mermaid\nstateDiagram-v2\n    [*] --> queued: submitted\n")
	for _, from := range berth.States() {
		for _, to := range berth.States() {
			if kinds := events(from, to); from != to && len(kinds) > 0 {
				fmt.Fprintf(&out, "    %s --> %s: %s\n", from, to, strings.Join(kinds, ", "))
			}
		}
		if from.Final() {
			fmt.Fprintf(&out, "    %s --> [*]\n", from)
		}
	}
	out.WriteString("```\n\nEvents that are stored and change no state:\n\n")
	for _, state := range berth.States() {
		if kinds := events(state, state); len(kinds) > 0 {
			fmt.Fprintf(&out, "- %s: %s\n", state, strings.Join(kinds, ", "))
		}
	}
	return out.String()
}

// events returns the kinds of events that can lead from one state to another.
func events(from, to berth.State) []string {
	var kinds []string
	for _, kind := range berth.EventKinds() {
		if slices.Contains(berth.Transition(from, kind), to) {
			kinds = append(kinds, string(kind))
		}
	}
	return kinds
}
