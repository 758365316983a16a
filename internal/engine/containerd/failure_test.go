package containerd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/containerd/cgroup"
	"github.com/berth-hpc/berth/internal/engine/containerd/private"
	"github.com/berth-hpc/berth/internal/engine/enginetest"
)

// waits is a script that runs until it is stopped, and then ends with 4.
const waits = "trap 'exit 4' TERM\necho ready\nsleep 1000 & wait"

// TestFailures injects each failure into a machine of its own attempts; the machine is shared.
func TestFailures(t *testing.T) {
	m := newMachine(t)
	t.Run("shim killed", func(t *testing.T) { testShimKilled(t, m) })
	t.Run("shim killed before its job began", func(t *testing.T) { testShimKilledEarly(t, m) })
	t.Run("agent killed", func(t *testing.T) { testAgentKilled(t, m) })
	t.Run("containerd killed", func(t *testing.T) { testContainerdKilled(t, m) })
	t.Run("containerd and shim killed", func(t *testing.T) { testContainerdAndShimKilled(t, m) })
	t.Run("containerd does not answer", func(t *testing.T) { testContainerdStuck(t, m) })
	t.Run("shim does not answer", func(t *testing.T) { testShimStuck(t, m) })
	t.Run("agent does not answer", func(t *testing.T) { testAgentStuck(t, m) })
	t.Run("containerd killed while nodes start", func(t *testing.T) { testContainerdKilledMidStart(t, m) })
	t.Run("shim of a worker killed", func(t *testing.T) { testWorkerShimKilled(t, m) })
	t.Run("worker not prepared", func(t *testing.T) { testWorkerUnprepared(t, m) })
	t.Run("shim of the first node killed", func(t *testing.T) { testFirstShimKilled(t, m) })
	t.Run("all shims of an attempt killed", func(t *testing.T) { testAllShimsKilled(t, m) })
	t.Run("attempts listed while one is removed", func(t *testing.T) { testListWhileRemoved(t, m) })
	t.Run("first node killed before its job began", func(t *testing.T) { testFirstKilledEarly(t, m) })
	t.Run("memory of a worker used up", func(t *testing.T) { testWorkerOutOfMemory(t, m) })
	t.Run("server ends while it stops an attempt", func(t *testing.T) { testCloseWhileStopping(t, m) })
}

// testShimKilled: containerd makes up an exit status, which must not be believed, and nothing of the attempt lives on.
func testShimKilled(t *testing.T, m *machine) {
	e := m.open(t)
	exits := e.Exits(t.Context())
	a := start(t, e, waits)
	kill(t, shimOf(t, a.ID), syscall.SIGKILL)
	for id := range exits {
		if id == a.ID {
			break
		}
	}
	status := enginetest.AwaitExit(t, e, a.ID)
	if diff := cmp.Diff(berth.Exit{}, status.Exit); diff != "" {
		t.Errorf("exit is made up (-want +got):\n%s", diff)
	}
	assertDead(t, a.ID)
	if err := e.Start(t.Context(), a); !errors.Is(err, engine.ErrExists) {
		t.Errorf("Start: %v; want ErrExists", err)
	}
	remove(t, e, a.ID)
}

// testShimKilledEarly: the attempt's job has not begun, so it can be started again.
func testShimKilledEarly(t *testing.T, m *machine) {
	e := m.open(t)
	a := start(t, e, waits)
	kill(t, shimOf(t, a.ID), syscall.SIGKILL)
	enginetest.AwaitExit(t, e, a.ID)
	// The directory as it is before the agent begins.
	for _, name := range []string{agentapi.OutputFile, agentapi.ReportFile} {
		if err := os.Remove(filepath.Join(a.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	status, err := e.Status(t.Context(), a.ID)
	if err != nil {
		t.Fatal(err)
	}
	if status.Phase != engine.PhaseCreated {
		t.Errorf("phase is %s; want created", status.Phase)
	}
	remove(t, e, a.ID)
	if err := e.Start(t.Context(), a); err != nil {
		t.Errorf("Start again: %v", err)
	}
	enginetest.AwaitOutput(t, a, "ready")
}

func testAgentKilled(t *testing.T, m *machine) {
	e := m.open(t)
	a := start(t, e, waits)
	kill(t, agentOf(t, a.ID), syscall.SIGKILL)
	want := berth.Exit{Known: true, Ran: true, Code: 128 + 9, Signal: 9}
	if diff := cmp.Diff(want, enginetest.AwaitExit(t, e, a.ID).Exit); diff != "" {
		t.Errorf("exit (-want +got):\n%s", diff)
	}
	assertDead(t, a.ID)
}

// testContainerdKilled: the attempts do not notice; the watcher brings a new containerd, which knows them.
func testContainerdKilled(t *testing.T, m *machine) {
	e := m.open(t)
	watch(t, e)
	a := start(t, e, waits)
	quick := start(t, e, "echo ready\nsleep 0.2\nexit 5")
	exits := e.Exits(t.Context())
	end(t, containerdOf(t, m)) // a dying one may still answer
	awaitPing(t, e)
	status, err := e.Status(t.Context(), a.ID)
	if err != nil || status.Phase != engine.PhaseRunning {
		t.Fatalf("status is %+v, %v; want running", status, err)
	}
	if known, err := private.Connected(shimSocket(m, a.ID)); !known {
		t.Errorf("containerd does not know the shim any more (%v)", err)
	}
	for id := range exits { // it ended while nobody looked
		if id == quick.ID {
			break
		}
	}
	if exit := enginetest.AwaitExit(t, e, quick.ID).Exit; exit.Code != 5 {
		t.Errorf("exit of the one that ended meanwhile is %+v; want code 5", exit)
	}
	if err := e.Stop(t.Context(), a.ID, time.Minute); err != nil {
		t.Fatal(err)
	}
	if exit := enginetest.AwaitExit(t, e, a.ID).Exit; exit.Code != 4 {
		t.Errorf("exit is %+v; want code 4", exit)
	}
}

// testContainerdAndShimKilled: nobody is left who could tell, except the agent's report.
func testContainerdAndShimKilled(t *testing.T, m *machine) {
	e := m.open(t)
	reported := start(t, e, "echo ready\nexit 7")
	enginetest.AwaitExit(t, e, reported.ID)
	silent := start(t, e, waits)
	end(t, containerdOf(t, m)) // a dying one may still answer
	for _, a := range []engine.Attempt{reported, silent} {
		kill(t, shimOf(t, a.ID), syscall.SIGKILL)
	}
	watch(t, e)
	awaitPing(t, e)
	if exit := enginetest.AwaitExit(t, e, reported.ID).Exit; !exit.Known || exit.Code != 7 {
		t.Errorf("exit is %+v; want the reported code 7", exit)
	}
	if exit := enginetest.AwaitExit(t, e, silent.ID).Exit; exit.Known {
		t.Errorf("exit is %+v; want unknown", exit)
	}
	for _, a := range []engine.Attempt{reported, silent} {
		assertDead(t, a.ID)
		remove(t, e, a.ID)
		if exists(shimSocket(m, a.ID)) {
			t.Errorf("the socket of the shim of %s is left", a.ID)
		}
	}
}

// testContainerdStuck: a call that hangs ends with its context and says nothing about the attempt.
func testContainerdStuck(t *testing.T, m *machine) {
	e := m.open(t)
	a := start(t, e, waits)
	pid := containerdOf(t, m)
	freeze(t, pid)
	defer kill(t, pid, syscall.SIGCONT)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := e.Status(ctx, a.ID); err == nil || errors.Is(err, engine.ErrNotFound) {
		t.Errorf("Status: %v; want an error that is not ErrNotFound", err)
	}
	if list, err := e.List(ctx); err == nil || list != nil {
		t.Errorf("List: %+v, %v; want nothing and an error", list, err)
	}
	if err := e.Ping(ctx); err == nil {
		t.Error("Ping succeeded")
	}
}

// testShimStuck: containerd leaves such a task out of its list, but it is neither gone nor at its end.
func testShimStuck(t *testing.T, m *machine) {
	e := m.open(t)
	a := start(t, e, waits)
	pid := shimOf(t, a.ID)
	freeze(t, pid)
	list, err := e.List(t.Context())
	kill(t, pid, syscall.SIGCONT)
	if err == nil && !slices.ContainsFunc(list, func(s engine.Status) bool { return s.ID == a.ID && s.Phase == engine.PhaseRunning }) {
		t.Errorf("the list is %+v; want an error, or %s running", list, a.ID)
	}
}

// testAgentStuck: an attempt that does not end when asked to is killed, although the caller's context has ended.
func testAgentStuck(t *testing.T, m *machine) {
	e := m.open(t)
	a := start(t, e, waits)
	freeze(t, agentOf(t, a.ID))
	ctx, cancel := context.WithCancel(t.Context())
	if err := e.Stop(ctx, a.ID, 0); err != nil {
		t.Fatal(err)
	}
	cancel()
	if exit := enginetest.AwaitExit(t, e, a.ID).Exit; !exit.Known || exit.Signal != 9 {
		t.Errorf("exit is %+v; want killed", exit)
	}
}

// testCloseWhileStopping: Close waits until the attempt is dead, and not for one that has a grace.
func testCloseWhileStopping(t *testing.T, m *machine) {
	e := m.open(t)
	now := enginetest.NewAttempt(t, enginetest.Script{Text: waits})
	later := enginetest.NewAttempt(t, enginetest.Script{Text: "trap '' TERM\necho ready\nsleep 1000 & wait", Grace: time.Hour})
	for _, a := range []engine.Attempt{now, later} {
		if err := e.Start(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		enginetest.AwaitOutput(t, a, "ready")
	}
	freeze(t, agentOf(t, now.ID))
	if err := e.Stop(t.Context(), now.ID, 0); err != nil {
		t.Fatal(err)
	}
	if err := e.Stop(t.Context(), later.ID, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	again := m.open(t)
	enginetest.AwaitExit(t, again, now.ID)
	assertDead(t, now.ID)
	status, err := again.Status(t.Context(), later.ID)
	if err != nil || status.Phase != engine.PhaseRunning {
		t.Errorf("status of the one with a grace is %+v, %v; want running", status, err)
	}
	remove(t, again, now.ID)
	remove(t, again, later.ID)
}

// start starts a script and waits until it is ready. It is removed after the test.
func start(t *testing.T, e engine.Engine, script string) engine.Attempt {
	t.Helper()
	a := enginetest.NewAttempt(t, enginetest.Script{Text: script, Grace: time.Hour})
	enginetest.Start(t, e, a)
	enginetest.AwaitOutput(t, a, "ready")
	return a
}

func remove(t *testing.T, e engine.Engine, id string) {
	t.Helper()
	if err := e.Remove(t.Context(), id); err != nil {
		t.Error(err)
	}
	assertDead(t, id)
}

// watch runs the engine's watcher until the test ends.
func watch(t *testing.T, e interface {
	Run(ctx context.Context) error
},
) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// awaitPing waits until containerd is gone or answers again.
func awaitPing(t *testing.T, e interface {
	Ping(ctx context.Context) error
},
) {
	t.Helper()
	for e.Ping(t.Context()) != nil {
		time.Sleep(20 * time.Millisecond) // connections tell of nothing
	}
}

func kill(t *testing.T, pid int, signal syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, signal); err != nil {
		t.Fatalf("signal %d to process %d: %v", signal, pid, err)
	}
}

// freeze stops a process, end kills it. They return when none of its threads runs any more, which takes a while after the signal.
func freeze(t *testing.T, pid int) { t.Helper(); halt(t, pid, syscall.SIGSTOP, "T") }
func end(t *testing.T, pid int)    { t.Helper(); halt(t, pid, syscall.SIGKILL, "ZX") }

// halt sends a signal to a process and waits until each of its threads is in one of the states.
func halt(t *testing.T, pid int, signal syscall.Signal, states string) {
	t.Helper()
	kill(t, pid, signal)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) { // the kernel tells its parent only
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		running := slices.DeleteFunc(threads, func(thread string) bool {
			text, err := os.ReadFile(thread)
			_, state, _ := strings.Cut(string(text), ") ")
			return err != nil || strings.Contains(states, state[:1])
		})
		if len(running) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d goes on after signal %d: %v", pid, signal, running)
		}
	}
}

// assertDead checks that no process of an attempt is left.
func assertDead(t *testing.T, id string) {
	t.Helper()
	if alive, err := cgroup.Of(id).Populated(); err != nil || alive {
		t.Errorf("processes of %s are left: %t, %v", id, alive, err)
	}
}

// shimOf returns the process id of an attempt's shim.
func shimOf(t *testing.T, id string) int {
	t.Helper()
	return processWith(t, "containerd-shim-runc-v2", id)
}

// containerdOf returns the process id of a machine's containerd.
func containerdOf(t *testing.T, m *machine) int {
	t.Helper()
	return processWith(t, "containerd", filepath.Join(private.StateDir(m.dataDir), "config.toml"))
}

// agentOf returns the process id of an attempt's agent on this host.
func agentOf(t *testing.T, id string) int {
	t.Helper()
	lists, err := filepath.Glob("/sys/fs/cgroup/*" + cgroup.Path(id) + "/cgroup.procs")
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range append(lists, "/sys/fs/cgroup"+cgroup.Path(id)+"/cgroup.procs") {
		text, err := os.ReadFile(list)
		if err != nil {
			continue
		}
		for field := range strings.FieldsSeq(string(text)) {
			if command, err := os.ReadFile("/proc/" + field + "/cmdline"); err == nil && strings.HasPrefix(string(command), agentapi.Init) {
				pid, err := strconv.Atoi(field)
				if err != nil {
					t.Fatal(err)
				}
				return pid
			}
		}
	}
	t.Fatalf("no agent of %s", id)
	return 0
}

func processWith(t *testing.T, program, argument string) int {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		arguments := strings.Split(string(bytes.TrimRight(text, "\x00")), "\x00")
		if filepath.Base(arguments[0]) == program && slices.Contains(arguments, argument) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	t.Fatalf("no process of %s with the argument %s", program, argument)
	return 0
}
