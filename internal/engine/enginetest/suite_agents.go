package enginetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine"
)

// testAgent is the part of the suite about what can be asked of a running attempt.
func testAgent(t *testing.T, e Engine) {
	for name, test := range map[string]func(*testing.T, Engine){
		"signal":              testSignal,
		"suspend":             testSuspend,
		"signal to suspended": testSignalSuspended,
		"stop suspended":      testStopSuspended,
		"action":              testAction,
		"action ends":         testActionEnds,
		"info":                testInfo,
		"shell":               testShell,
		"shell ends":          testShellEnds,
		"no display":          testNoDisplay,
		"refused":             testAskRefused,
		"not running":         testAskNotRunning,
		"too late":            testAskTooLate,
		"concurrently":        testAskConcurrently,
		"usage":               testUsage,
	} {
		t.Run(name, func(t *testing.T) { test(t, e) })
	}
}

// computes is a script that computes until it is stopped.
const computes = "echo ready\nyes >/dev/null"

// catches is a script that goes on when it has caught SIGUSR1. A shell that gets it before it waits, waits as long as it can: shorter than the
// tests.
const catches = "trap 'echo got' USR1\necho ready\nsleep 30 & wait\nexit 5"

func signalRequest(number int) agentapi.Request {
	return agentapi.Request{Signal: &agentapi.SignalRequest{Number: number}}
}

func actionRequest(name, command string) agentapi.Request {
	return agentapi.Request{Action: &agentapi.ActionRequest{Name: name, Command: command}}
}

// requests are one of each kind.
func requests() []agentapi.Request {
	return []agentapi.Request{signalRequest(berth.SignalContinue), actionRequest("", "echo action"), {Info: &agentapi.InfoRequest{}}}
}

// begin starts a script and waits until it is ready.
func begin(t *testing.T, e Engine, script Script) engine.Attempt {
	t.Helper()
	a := NewAttempt(t, script)
	Start(t, e, a)
	AwaitOutput(t, a, "ready")
	return a
}

func ask(t *testing.T, e Engine, a engine.Attempt, req agentapi.Request) agentapi.Answer {
	t.Helper()
	answer, err := e.Ask(t.Context(), a.ID, req)
	if err != nil {
		t.Fatalf("Ask: %v", err)
	}
	if answer.Error != nil {
		t.Fatalf("Ask: refused, %s: %s", answer.Error.Code, answer.Error.Text)
	}
	return answer
}

// sendSignal sends a signal, which must arrive.
func sendSignal(t *testing.T, e Engine, a engine.Attempt, number int) {
	t.Helper()
	answer := ask(t, e, a, signalRequest(number)).Signal
	if answer == nil || answer.Number != number || answer.PID < 2 {
		t.Fatalf("answer to signal %d is %+v; want the number and the process", number, answer)
	}
}

func testSignal(t *testing.T, e Engine) {
	const lastSignal = berth.LastSignal
	for name, test := range map[string]struct {
		script  string
		signals []int
		want    berth.Exit
		output  string
	}{
		"is caught":  {catches, []int{10}, berth.Exit{Code: 5}, "ready\ngot\n"},
		"ends it":    {"echo ready\nsleep 100", []int{15}, berth.Exit{Code: 128 + 15, Signal: 15}, "ready\n"},
		"is ignored": {"trap '' TERM\necho ready\nsleep 100 & wait", []int{15, 9}, berth.Exit{Code: 128 + 9, Signal: 9}, "ready\n"},
		"the last":   {"echo ready\nsleep 100", []int{lastSignal}, berth.Exit{Code: 128 + lastSignal, Signal: lastSignal}, "ready\n"},
	} {
		t.Run(name, func(t *testing.T) {
			a := begin(t, e, Script{Text: test.script})
			for _, number := range test.signals {
				sendSignal(t, e, a, number)
			}
			test.want.Known, test.want.Ran = true, true
			if diff := cmp.Diff(test.want, AwaitExit(t, e, a.ID).Exit); diff != "" {
				t.Errorf("exit (-want +got):\n%s", diff)
			}
			if got := Output(t, a); !strings.HasSuffix(got, test.output) {
				t.Errorf("output is %q; want %q at its end", got, test.output)
			}
		})
	}
}

// testSuspend: a suspended attempt computes nothing, and goes on when it is told to.
func testSuspend(t *testing.T, e Engine) {
	a := begin(t, e, Script{Text: computes})
	for _, number := range []int{berth.SignalSuspend, int(syscall.SIGSTOP)} {
		awaitComputing(t, e, a, true)
		sendSignal(t, e, a, number)
		awaitComputing(t, e, a, false)
		if status, err := e.Status(t.Context(), a.ID); err != nil || status.Phase != engine.PhaseRunning {
			t.Errorf("status of a suspended attempt is %+v, %v; want running", status, err)
		}
		sendSignal(t, e, a, berth.SignalContinue)
	}
	awaitComputing(t, e, a, true)
}

// awaitComputing waits until an attempt that has all of a core computes, or does not.
func awaitComputing(t *testing.T, e Engine, a engine.Attempt, want bool) {
	t.Helper()
	// The agent computes a little for the request itself.
	const between, little = 100 * time.Millisecond, 5 * time.Millisecond
	last := measure(t, e, a)
	for deadline := time.Now().Add(patience); ; {
		time.Sleep(between)
		next := measure(t, e, a)
		if (next.CPU-last.CPU > little) == want {
			return
		}
		if last = next; time.Now().After(deadline) {
			t.Fatalf("it does not become %t that %s computes: %+v", want, a.ID, next)
		}
	}
}

func measure(t *testing.T, e Engine, a engine.Attempt) engine.Usage {
	t.Helper()
	usage, err := e.Usage(t.Context(), a.ID)
	if err != nil {
		t.Fatalf("Usage: %v", err)
	}
	if len(usage) != 1+len(a.Workers) {
		t.Fatalf("Usage of %d nodes, want %d", len(usage), 1+len(a.Workers))
	}
	return usage[0]
}

// testSignalSuspended: what a suspended attempt gets, it sees when it goes on.
func testSignalSuspended(t *testing.T, e Engine) {
	a := begin(t, e, Script{Text: catches})
	sendSignal(t, e, a, berth.SignalSuspend)
	sendSignal(t, e, a, int(syscall.SIGUSR1))
	if got := Output(t, a); strings.Contains(got, "got") {
		t.Errorf("output is %q; a suspended attempt has gone on", got)
	}
	sendSignal(t, e, a, berth.SignalContinue)
	if exit := AwaitExit(t, e, a.ID).Exit; exit.Code != 5 || !strings.HasSuffix(Output(t, a), "got\n") {
		t.Errorf("exit is %+v, output %q; want code 5 and got", exit, Output(t, a))
	}
}

func testStopSuspended(t *testing.T, e Engine) {
	a := begin(t, e, Script{Text: "trap 'exit 7' TERM\necho ready\nsleep 100 & wait", Grace: time.Hour})
	sendSignal(t, e, a, berth.SignalSuspend)
	if err := e.Stop(t.Context(), a.ID, time.Hour); err != nil {
		t.Fatal(err)
	}
	if exit := AwaitExit(t, e, a.ID).Exit; exit.Code != 7 {
		t.Errorf("exit is %+v; want code 7", exit)
	}
}

func testAction(t *testing.T, e Engine) {
	a := begin(t, e, Script{Text: "echo ready\nsleep 100"})
	for name, action := range Actions {
		if answer := ask(t, e, a, actionRequest(name, "")).Action; answer == nil || answer.PID < 2 {
			t.Errorf("answer is %+v; want the process", answer)
		}
		AwaitOutput(t, a, strings.TrimPrefix(action.Args, "echo ")+"\n")
	}
	ask(t, e, a, actionRequest("given", "echo and another"))
	AwaitOutput(t, a, "and another\n")
}

// testActionEnds: an action ends with the command, and what it wrote is kept.
func testActionEnds(t *testing.T, e Engine) {
	a := begin(t, e, Script{Text: "trap 'exit 4' USR1\necho ready\nsleep 100 & wait"})
	ask(t, e, a, actionRequest("", "echo begun\nsleep 100\necho never"))
	AwaitOutput(t, a, "begun\n")
	sendSignal(t, e, a, int(syscall.SIGUSR1))
	if exit := AwaitExit(t, e, a.ID).Exit; exit.Code != 4 || !strings.HasSuffix(Output(t, a), "ready\nbegun\n") {
		t.Errorf("exit is %+v, output %q; want code 4 and the action's first line", exit, Output(t, a))
	}
}

func testInfo(t *testing.T, e Engine) {
	a := begin(t, e, Script{Text: "echo ready\nsleep 100"})
	info := ask(t, e, a, agentapi.Request{Info: &agentapi.InfoRequest{}}).Info
	if info == nil {
		t.Fatal("there is no info")
	}
	if diff := cmp.Diff(Actions, info.Actions); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
}

func testAskRefused(t *testing.T, e Engine) {
	a := begin(t, e, Script{Text: "echo ready\nsleep 100"})
	for _, req := range []agentapi.Request{
		signalRequest(-1), signalRequest(0), signalRequest(berth.LastSignal + 1), actionRequest("missing", ""),
		{},
		actionRequest("long", strings.Repeat("x", agentapi.MaxRequest)),
	} {
		answer, err := e.Ask(t.Context(), a.ID, req)
		if err != nil || answer.Error == nil || answer.Error.Code != agentapi.CodeInvalid || answer.Error.Text == "" {
			t.Errorf("answer is %+v, %v; want the refusal %s", answer, err, agentapi.CodeInvalid)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Ask(ctx, a.ID, signalRequest(berth.SignalContinue)); err == nil || errors.Is(err, engine.ErrNotFound) {
		t.Errorf("Ask with a context that has ended: %v; want an error that is not ErrNotFound", err)
	}
	if _, err := e.Usage(ctx, a.ID); err == nil || errors.Is(err, engine.ErrNotFound) {
		t.Errorf("Usage with a context that has ended: %v; want an error that is not ErrNotFound", err)
	}
}

// assertNotRunning: nothing can be asked of an attempt.
func assertNotRunning(t *testing.T, e Engine, id string) {
	t.Helper()
	for _, req := range requests() {
		if answer, err := e.Ask(t.Context(), id, req); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("Ask of %q: %+v, %v; want ErrNotFound", id, answer, err)
		}
	}
	if usage, err := e.Usage(t.Context(), id); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("Usage of %q: %+v, %v; want ErrNotFound", id, usage, err)
	}
}

func testAskNotRunning(t *testing.T, e Engine) {
	assertNotRunning(t, e, NewAttempt(t, Script{}).ID)
	assertNotRunning(t, e, "../x")
	ended := NewAttempt(t, Script{Text: "exit 0"})
	Start(t, e, ended)
	AwaitExit(t, e, ended.ID)
	assertNotRunning(t, e, ended.ID)
	removed := begin(t, e, Script{Text: "echo ready\nsleep 100"})
	if err := e.Remove(t.Context(), removed.ID); err != nil {
		t.Fatal(err)
	}
	assertNotRunning(t, e, removed.ID)
}

// testAskTooLate: a request during the end is answered, or nothing was done, or nobody knows; and the end is what it was to be.
func testAskTooLate(t *testing.T, e Engine) {
	a := begin(t, e, Script{Text: "trap 'exit 4' USR1\necho ready\nsleep 100 & wait"})
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for {
				answer, err := e.Ask(t.Context(), a.ID, signalRequest(berth.SignalContinue))
				switch {
				case errors.Is(err, engine.ErrNotFound):
					return
				case err == nil && answer.Error != nil:
					t.Errorf("Ask: refused, %s: %s", answer.Error.Code, answer.Error.Text)
					return
				}
			}
		})
	}
	sendSignal(t, e, a, int(syscall.SIGUSR1))
	asking.Wait()
	if exit := AwaitExit(t, e, a.ID).Exit; exit.Code != 4 || exit.Signal != 0 {
		t.Errorf("exit is %+v; want code 4", exit)
	}
}

func testAskConcurrently(t *testing.T, e Engine) {
	a := begin(t, e, Script{Text: "echo ready\nsleep 100"})
	const clients = 16
	var asking sync.WaitGroup
	for i := range clients {
		asking.Go(func() {
			for _, req := range append(requests(), actionRequest("", fmt.Sprintf("echo client %d.", i))) {
				if answer, err := e.Ask(t.Context(), a.ID, req); err != nil || answer.Error != nil {
					t.Errorf("Ask: %+v, %v", answer, err)
				}
			}
		})
	}
	asking.Wait()
	for i := range clients {
		AwaitOutput(t, a, fmt.Sprintf("client %d.\n", i))
	}
}

func testUsage(t *testing.T, e Engine) {
	before := time.Now()
	a := begin(t, e, Script{Text: computes, RAM: 100 << 20})
	awaitComputing(t, e, a, true)
	usage := measure(t, e, a)
	if usage.At.Before(before) || usage.At.After(time.Now()) {
		t.Errorf("it was measured at %v, between %v and now", usage.At, before)
	}
	if usage.CPU <= 0 || usage.CPU > 4*time.Since(before) {
		t.Errorf("%v of CPU time since %v", usage.CPU, before)
	}
	if usage.MemoryLimit != a.RAM || usage.Memory <= 0 || usage.Memory > a.RAM {
		t.Errorf("%d bytes of memory of %d; want some of %d", usage.Memory, usage.MemoryLimit, a.RAM)
	}
	if usage.Processes < 2 {
		t.Errorf("%d processes; want the agent and the command at least", usage.Processes)
	}
}
