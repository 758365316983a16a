package enginetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
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

// Run runs the suite. open is called once for each part that needs an engine of its own.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	t.Helper()
	subject := open(t)
	for name, test := range map[string]func(*testing.T, engine.Engine){
		"host":                  testHost,
		"exit":                  testExits,
		"out of memory":         testOutOfMemory,
		"start twice":           testStartTwice,
		"start at once":         testStartConcurrently,
		"start after removal":   testStartAfterRemoval,
		"start refused":         testStartRefused,
		"stop":                  testStop,
		"stop twice":            testStopTwice,
		"not there":             testNotThere,
		"list":                  testList,
		"list fails":            testListFails,
		"remove running":        testRemoveRunning,
		"exit hints":            testExitHints,
		"everything concurrent": testConcurrent,
	} {
		t.Run(name, func(t *testing.T) { test(t, subject.Engine) })
	}
	t.Run("file of an image", func(t *testing.T) { testReadFile(t, subject.Engine) })
	t.Run("agent", func(t *testing.T) { testAgent(t, subject.Engine) })
	t.Run("nodes", func(t *testing.T) { testNodes(t, subject) })
	t.Run("restart of the server", func(t *testing.T) { testRestart(t, subject) })
	t.Run("restart of the server with nodes", func(t *testing.T) { testRestartNodes(t, open(t)) })
}

func testExits(t *testing.T, e engine.Engine) {
	for name, test := range map[string]struct {
		script string
		want   berth.Exit
	}{
		"success":            {"echo hello\nexit 0", berth.Exit{Known: true, Ran: true}},
		"failure":            {"echo hello\nexit 3", berth.Exit{Known: true, Ran: true, Code: 3}},
		"highest code":       {"echo hello\nexit 255", berth.Exit{Known: true, Ran: true, Code: 255}},
		"killed by itself":   {"echo hello\nkill -KILL $$", berth.Exit{Known: true, Ran: true, Code: 128 + 9, Signal: 9}},
		"code like a signal": {"echo hello\nexit 137", berth.Exit{Known: true, Ran: true, Code: 137}},
	} {
		t.Run(name, func(t *testing.T) {
			a := NewAttempt(t, Script{Text: test.script})
			before := time.Now()
			Start(t, e, a)
			status := AwaitExit(t, e, a.ID)
			if diff := cmp.Diff(test.want, status.Exit); diff != "" {
				t.Errorf("exit (-want +got):\n%s", diff)
			}
			if status.ID != a.ID || status.Job != a.Job {
				t.Errorf("status is of %q, job %d; want %q, job %d", status.ID, status.Job, a.ID, a.Job)
			}
			if status.Started.Before(before.Add(-time.Second)) || status.Ended.Before(status.Started) || status.Ended.After(time.Now()) {
				t.Errorf("started %v and ended %v, between %v and now", status.Started, status.Ended, before)
			}
			if got := Output(t, a); !strings.HasSuffix(got, "hello\n") {
				t.Errorf("output is %q; want hello at its end", got)
			}
		})
	}
}

func testOutOfMemory(t *testing.T, e engine.Engine) {
	a := NewAttempt(t, Script{Text: "tail /dev/zero # fake: oom", RAM: 48 << 20})
	Start(t, e, a)
	exit := AwaitExit(t, e, a.ID).Exit
	if !exit.Known || !exit.Ran || !exit.OutOfMemory || exit.Code == 0 {
		t.Errorf("exit is %+v; want a known failure out of memory", exit)
	}
}

func testStartTwice(t *testing.T, e engine.Engine) {
	a := NewAttempt(t, Script{Text: "echo once\nsleep 100"})
	Start(t, e, a)
	AwaitOutput(t, a, "once")
	if err := e.Start(t.Context(), a); !errors.Is(err, engine.ErrExists) {
		t.Errorf("Start of a running attempt: %v; want ErrExists", err)
	}
	if err := e.Stop(t.Context(), a.ID, 0); err != nil {
		t.Fatal(err)
	}
	AwaitExit(t, e, a.ID)
	if err := e.Start(t.Context(), a); !errors.Is(err, engine.ErrExists) {
		t.Errorf("Start of an attempt that has exited: %v; want ErrExists", err)
	}
	missing := a
	missing.Image = "local/missing:latest"
	if err := e.Start(t.Context(), missing); !errors.Is(err, engine.ErrExists) {
		t.Errorf("Start of an attempt that is there while its image is not: %v; want ErrExists", err)
	}
	if n := strings.Count(Output(t, a), "once"); n != 1 {
		t.Errorf("the job began %d times; want once", n)
	}
}

func testStartConcurrently(t *testing.T, e engine.Engine) {
	a := NewAttempt(t, Script{Text: "echo once"})
	t.Cleanup(func() { _ = e.Remove(context.WithoutCancel(t.Context()), a.ID) })
	const starts = 8
	results := make(chan error, starts)
	var wait sync.WaitGroup
	for range starts {
		wait.Go(func() { results <- e.Start(t.Context(), a) })
	}
	wait.Wait()
	close(results)
	var started int
	for err := range results {
		switch {
		case err == nil:
			started++
		case !errors.Is(err, engine.ErrExists):
			t.Errorf("Start: %v; want nil or ErrExists", err)
		}
	}
	AwaitExit(t, e, a.ID)
	if n := strings.Count(Output(t, a), "once"); started != 1 || n != 1 {
		t.Errorf("%d of %d starts succeeded and the job began %d times; want one and once", started, starts, n)
	}
}

// testStartAfterRemoval: what an attempt left in its directory shows that it ran, so it is not started again although the engine
// has forgotten it. One of the two files is enough: the power may have failed before the other was on the disk.
func testStartAfterRemoval(t *testing.T, e engine.Engine) {
	for _, lost := range []string{agentapi.ReportFile, agentapi.OutputFile} {
		a := NewAttempt(t, Script{Text: "echo once\nsleep 100"})
		Start(t, e, a)
		AwaitOutput(t, a, "once")
		if err := errors.Join(e.Remove(t.Context(), a.ID), os.Remove(filepath.Join(a.Dir, lost))); err != nil {
			t.Fatal(err)
		}
		if err := e.Start(t.Context(), a); !errors.Is(err, engine.ErrExists) {
			t.Fatalf("Start of an attempt that ran, without its %s: %v; want ErrExists", lost, err)
		}
		status, err := e.Status(t.Context(), a.ID)
		if err != nil {
			t.Fatal(err)
		}
		if status.Phase != engine.PhaseExited || status.Exit.Known {
			t.Errorf("status is %+v; want exited and not known how", status)
		}
	}
}

func testStartRefused(t *testing.T, e engine.Engine) {
	for name, test := range map[string]struct {
		change func(*engine.Attempt)
		want   error
	}{
		"no such image":  {func(a *engine.Attempt) { a.Image = "local/missing:latest" }, engine.ErrNotFound},
		"no id":          {func(a *engine.Attempt) { a.ID = "" }, engine.ErrRefused},
		"id is a path":   {func(a *engine.Attempt) { a.ID = "../x" }, engine.ErrRefused},
		"id is too long": {func(a *engine.Attempt) { a.ID = strings.Repeat("a", 61) }, engine.ErrRefused},
		"no cores":       {func(a *engine.Attempt) { a.Cores = 0 }, engine.ErrRefused},
		"no memory":      {func(a *engine.Attempt) { a.RAM = 0 }, engine.ErrRefused},
		"relative dir":   {func(a *engine.Attempt) { a.Dir = "x" }, engine.ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			a := NewAttempt(t, Script{Text: "exit 0"})
			test.change(&a)
			if err := e.Start(t.Context(), a); !errors.Is(err, test.want) {
				t.Errorf("Start: %v; want %v", err, test.want)
			}
			if _, err := e.Status(t.Context(), a.ID); !errors.Is(err, engine.ErrNotFound) {
				t.Errorf("Status afterwards: %v; want ErrNotFound", err)
			}
		})
	}
}

func testStop(t *testing.T, e engine.Engine) {
	for name, test := range map[string]struct {
		script     string
		grace      time.Duration
		wantCode   int
		wantSignal syscall.Signal
	}{
		"ends when asked":    {"trap 'exit 7' TERM\necho ready\nsleep 100 & wait", time.Minute, 7, 0},
		"ends by the signal": {"echo ready\nsleep 100", time.Minute, 128 + 15, syscall.SIGTERM},
		"does not listen":    {"trap '' TERM\necho ready\nsleep 100 & wait", 300 * time.Millisecond, 128 + 9, syscall.SIGKILL},
		"is not asked":       {"trap 'exit 7' TERM\necho ready\nsleep 100 & wait", 0, 128 + 9, syscall.SIGKILL},
	} {
		t.Run(name, func(t *testing.T) {
			a := NewAttempt(t, Script{Text: test.script, Grace: test.grace})
			Start(t, e, a)
			AwaitOutput(t, a, "ready")
			if err := e.Stop(t.Context(), a.ID, test.grace); err != nil {
				t.Fatal(err)
			}
			want := berth.Exit{Known: true, Ran: true, Code: test.wantCode, Signal: int(test.wantSignal)}
			if diff := cmp.Diff(want, AwaitExit(t, e, a.ID).Exit); diff != "" {
				t.Errorf("exit (-want +got):\n%s", diff)
			}
			if err := e.Stop(t.Context(), a.ID, test.grace); err != nil {
				t.Errorf("Stop after the exit: %v; want nil", err)
			}
			if got := Output(t, a); !strings.Contains(got, "ready\n") {
				t.Errorf("output is %q; what was written before the stop is missing", got)
			}
		})
	}
}

// testStopTwice: an immediate end overtakes a graceful one.
func testStopTwice(t *testing.T, e engine.Engine) {
	a := NewAttempt(t, Script{Text: "trap '' TERM\necho ready\nsleep 100 & wait", Grace: time.Hour})
	Start(t, e, a)
	AwaitOutput(t, a, "ready")
	for _, grace := range []time.Duration{time.Hour, time.Hour, 0, 0} {
		if err := e.Stop(t.Context(), a.ID, grace); err != nil {
			t.Fatalf("Stop with grace %v: %v", grace, err)
		}
	}
	if exit := AwaitExit(t, e, a.ID).Exit; !exit.Known || exit.Signal != int(syscall.SIGKILL) {
		t.Errorf("exit is %+v; want killed", exit)
	}
}

func testNotThere(t *testing.T, e engine.Engine) {
	id := NewAttempt(t, Script{}).ID
	if _, err := e.Status(t.Context(), id); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("Status: %v; want ErrNotFound", err)
	}
	if err := e.Stop(t.Context(), id, 0); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("Stop: %v; want ErrNotFound", err)
	}
	for range 2 {
		if err := e.Remove(t.Context(), id); err != nil {
			t.Errorf("Remove: %v; want nil", err)
		}
	}
}

func testList(t *testing.T, e engine.Engine) {
	running := NewAttempt(t, Script{Text: "echo ready\nsleep 100"})
	exited := NewAttempt(t, Script{Text: "exit 5"})
	Start(t, e, running)
	Start(t, e, exited)
	AwaitOutput(t, running, "ready")
	AwaitExit(t, e, exited.ID)
	list, err := e.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []engine.Attempt{running, exited} {
		one, err := e.Status(t.Context(), want.ID)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(list, func(s engine.Status) bool { return s.ID == want.ID })
		if i < 0 {
			t.Errorf("the list has no %s: %+v", want.ID, list)
			continue
		}
		if diff := cmp.Diff(one, list[i]); diff != "" {
			t.Errorf("List and Status differ (-status +list):\n%s", diff)
		}
	}
}

func testListFails(t *testing.T, e engine.Engine) {
	Start(t, e, NewAttempt(t, Script{Text: "sleep 100"}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if list, err := e.List(ctx); err == nil || list != nil {
		t.Errorf("List with a context that has ended: %+v, %v; want nothing and an error", list, err)
	}
}

func testRemoveRunning(t *testing.T, e engine.Engine) {
	a := NewAttempt(t, Script{Text: "echo ready\nsleep 100"})
	Start(t, e, a)
	AwaitOutput(t, a, "ready")
	for range 2 {
		if err := e.Remove(t.Context(), a.ID); err != nil {
			t.Fatalf("Remove: %v", err)
		}
	}
	if _, err := e.Status(t.Context(), a.ID); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("Status afterwards: %v; want ErrNotFound", err)
	}
	list, err := e.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(list, func(s engine.Status) bool { return s.ID == a.ID }) {
		t.Error("the list still has it")
	}
	if !strings.Contains(Output(t, a), "ready") {
		t.Error("the directory has lost its output: it is the caller's")
	}
}

func testExitHints(t *testing.T, e engine.Engine) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	exits := e.Exits(ctx)
	a := NewAttempt(t, Script{Text: "exit 0"})
	Start(t, e, a)
	for got := ""; got != a.ID; {
		var open bool
		if got, open = <-exits; !open {
			t.Fatal("no exit was told")
		}
	}
	cancel()
	for range exits {
	}
}

// testConcurrent does everything to some attempts at once; at the end nothing of them is left.
func testConcurrent(t *testing.T, e engine.Engine) {
	var wait sync.WaitGroup
	ids := make(map[string]bool)
	for range 3 {
		a := NewAttempt(t, Script{Text: "sleep 100"})
		ids[a.ID] = true
		wait.Go(func() { _ = e.Start(t.Context(), a) })
		wait.Go(func() { _ = e.Stop(t.Context(), a.ID, 0) })
		wait.Go(func() { _, _ = e.Status(t.Context(), a.ID) })
		wait.Go(func() { _, _ = e.List(t.Context()) })
		wait.Go(func() { _ = e.Remove(t.Context(), a.ID) })
	}
	wait.Wait()
	for id := range ids {
		if err := e.Remove(t.Context(), id); err != nil {
			t.Errorf("Remove: %v", err)
		}
	}
	list, err := e.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range list {
		if ids[status.ID] {
			t.Errorf("%s is left: %+v", status.ID, status)
		}
	}
}

func testRestart(t *testing.T, subject Subject) {
	ends := NewAttempt(t, Script{Text: "trap 'exit 4' TERM\necho ready\nsleep 100 & wait", Grace: time.Minute})
	ended := NewAttempt(t, Script{Text: "exit 6"})
	for _, a := range []engine.Attempt{ends, ended} {
		if err := subject.Engine.Start(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	AwaitOutput(t, ends, "ready")
	AwaitExit(t, subject.Engine, ended.ID)
	e := subject.Restart(t)
	t.Cleanup(func() {
		for _, a := range []engine.Attempt{ends, ended} {
			if err := e.Remove(context.WithoutCancel(t.Context()), a.ID); err != nil {
				t.Error(err)
			}
		}
	})
	status, err := e.Status(t.Context(), ends.ID)
	if err != nil || status.Phase != engine.PhaseRunning {
		t.Fatalf("status of the running attempt: %+v, %v; want it running", status, err)
	}
	if err := e.Start(t.Context(), ends); !errors.Is(err, engine.ErrExists) {
		t.Errorf("Start again: %v; want ErrExists", err)
	}
	sendSignal(t, e, ends, berth.SignalContinue)
	if exit := AwaitExit(t, e, ended.ID).Exit; exit.Code != 6 {
		t.Errorf("exit before the restart is %+v; want code 6", exit)
	}
	if err := e.Stop(t.Context(), ends.ID, time.Minute); err != nil {
		t.Fatal(err)
	}
	if exit := AwaitExit(t, e, ends.ID).Exit; exit.Code != 4 {
		t.Errorf("exit after the restart is %+v; want code 4", exit)
	}
}
