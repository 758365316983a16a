package containerd_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	containerdclient "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"

	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/containerd/cgroup"
	"github.com/berth-hpc/berth/internal/engine/enginetest"
)

// startNodes starts a script on three nodes and waits until it is ready. It is removed after the test.
func startNodes(t *testing.T, e engine.Engine, script string) engine.Attempt {
	t.Helper()
	a := enginetest.NewAttempt(t, enginetest.Script{Text: script, Grace: time.Hour, Nodes: 3})
	enginetest.Start(t, e, a)
	enginetest.AwaitOutput(t, a, "ready")
	return a
}

// containersOf are those of an attempt of three nodes.
func containersOf(a engine.Attempt) []string { return []string{a.ID, a.ID + "-2", a.ID + "-3"} }

// assertGone removes an attempt and checks that nothing of its nodes is left.
func assertGone(t *testing.T, m *machine, e engine.Engine, a engine.Attempt) {
	t.Helper()
	if err := e.Remove(t.Context(), a.ID); err != nil {
		t.Error(err)
	}
	client := clientOf(t, m)
	for _, id := range containersOf(a) {
		assertDead(t, id)
		if exists(shimSocket(m, id)) {
			t.Errorf("the socket of the shim of %s is left", id)
		}
		if _, err := client.LoadContainer(t.Context(), id); err == nil {
			t.Errorf("the record of %s is left", id)
		}
		if _, err := client.SnapshotService("overlayfs").Stat(t.Context(), id); err == nil {
			t.Errorf("the root filesystem of %s is left", id)
		}
	}
}

// testContainerdKilledMidStart: wherever it dies, the attempt has run at most once, and what has not run can be started again.
func testContainerdKilledMidStart(t *testing.T, m *machine) {
	e := m.open(t)
	watch(t, e)
	awaitPing(t, e)
	a := enginetest.NewAttempt(t, enginetest.Script{Text: "echo once\nexit 3", Nodes: 3})
	bridges := privateBridges(t)
	started := make(chan error, 1)
	go func() { started <- e.Start(t.Context(), a) }()
	for len(privateBridges(t)) == len(bridges) && len(started) == 0 { // its nodes are made now
		time.Sleep(time.Millisecond)
	}
	end(t, containerdOf(t, m))
	err := <-started
	awaitPing(t, e)
	status, statusErr := e.Status(t.Context(), a.ID)
	switch {
	case errors.Is(statusErr, engine.ErrNotFound), statusErr == nil && status.Phase == engine.PhaseCreated:
		if err == nil {
			t.Errorf("Start succeeded and the status is %+v, %v", status, statusErr)
		}
		if err := e.Remove(t.Context(), a.ID); err != nil {
			t.Fatal(err)
		}
		if err := e.Start(t.Context(), a); err != nil {
			t.Errorf("Start again: %v", err)
		}
	case statusErr != nil:
		t.Fatal(statusErr)
	}
	enginetest.AwaitExit(t, e, a.ID)
	if n := strings.Count(enginetest.Output(t, a), "once"); n != 1 {
		t.Errorf("the job ran %d times", n)
	}
	assertGone(t, m, e, a)
}

// awaitDead waits until no process of a node is left.
func awaitDead(t *testing.T, id string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) { // the kernel tells nobody
		alive, err := cgroup.Of(id).Populated()
		if err == nil && !alive {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("processes of %s are left: %t, %v", id, alive, err)
		}
	}
}

// privateBridges are the bridges of attempts on this machine.
func privateBridges(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, link := range links(t) {
		if strings.HasPrefix(link.Attrs().Name, "bb") {
			names = append(names, link.Attrs().Name)
		}
	}
	return names
}

// testWorkerShimKilled: how the worker ended is not known, but that it did, also after the others have been ended.
func testWorkerShimKilled(t *testing.T, m *machine) {
	e := m.open(t)
	a := startNodes(t, e, waits)
	kill(t, shimOf(t, a.ID+"-3"), syscall.SIGKILL)
	for status := (engine.Status{}); status.Failed == ""; {
		var err error
		if status, err = e.Status(t.Context(), a.ID); err != nil || status.Phase != engine.PhaseRunning {
			t.Fatalf("status is %+v, %v; want it running", status, err)
		}
		if status.Failed != "" && (status.Failed != a.Workers[1].Hostname || status.Detail == "") {
			t.Errorf("status is %+v; want %s failed", status, a.Workers[1].Hostname)
		}
	}
	if err := e.Stop(t.Context(), a.ID, 0); err != nil {
		t.Fatal(err)
	}
	if exit := enginetest.AwaitExit(t, e, a.ID).Exit; exit.Node != a.Workers[1].Hostname {
		t.Errorf("exit is %+v; want it because of %s", exit, a.Workers[1].Hostname)
	}
	awaitDead(t, a.ID+"-2") // a Stop without grace ends workers too
	assertGone(t, m, e, a)
}

// testWorkerUnprepared: a worker whose agent cannot prepare it says why, while the others run and after they have been ended.
func testWorkerUnprepared(t *testing.T, m *machine) {
	e := m.open(t)
	a := enginetest.NewAttempt(t, enginetest.Script{Text: waits, Grace: time.Hour, Nodes: 3})
	if err := os.WriteFile(filepath.Join(a.Workers[1].Dir, agentapi.SpecFile), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	enginetest.Start(t, e, a)
	const want = "invalid job specification"
	for status := (engine.Status{}); status.Failed == ""; {
		var err error
		if status, err = e.Status(t.Context(), a.ID); err != nil || status.Phase != engine.PhaseRunning {
			t.Fatalf("status is %+v, %v; want it running", status, err)
		}
		if status.Failed != "" && (status.Failed != a.Workers[1].Hostname || !strings.Contains(status.Detail, want)) {
			t.Errorf("status is %+v; want %s failed: %s", status, a.Workers[1].Hostname, want)
		}
	}
	if err := e.Stop(t.Context(), a.ID, 0); err != nil {
		t.Fatal(err)
	}
	if exit := enginetest.AwaitExit(t, e, a.ID).Exit; exit.Node != a.Workers[1].Hostname || !strings.Contains(exit.Detail, want) {
		t.Errorf("exit is %+v; want it because of %s: %s", exit, a.Workers[1].Hostname, want)
	}
	assertGone(t, m, e, a)
}

// testFirstShimKilled: the exit is not known, and the workers have not ended the job.
func testFirstShimKilled(t *testing.T, m *machine) {
	e := m.open(t)
	a := startNodes(t, e, waits)
	kill(t, shimOf(t, a.ID), syscall.SIGKILL)
	if exit := enginetest.AwaitExit(t, e, a.ID).Exit; exit.Known || exit.Node != "" {
		t.Errorf("exit is %+v; want nothing known", exit)
	}
	if err := e.Start(t.Context(), a); !errors.Is(err, engine.ErrExists) {
		t.Errorf("Start: %v; want ErrExists", err)
	}
	assertGone(t, m, e, a)
}

// testAllShimsKilled: what has ended together, as with the machine, is nobody's fault.
func testAllShimsKilled(t *testing.T, m *machine) {
	e := m.open(t)
	a := startNodes(t, e, waits)
	for _, id := range containersOf(a) {
		kill(t, shimOf(t, id), syscall.SIGKILL)
	}
	for _, id := range containersOf(a) {
		awaitDead(t, id)
	}
	if exit := enginetest.AwaitExit(t, e, a.ID).Exit; exit.Known || exit.Node != "" {
		t.Errorf("exit is %+v; want nothing known", exit)
	}
	assertGone(t, m, e, a)
}

// testListWhileRemoved: an attempt of which half is removed keeps nobody from seeing the others.
func testListWhileRemoved(t *testing.T, m *machine) {
	e := m.open(t)
	a := startNodes(t, e, waits)
	kill(t, shimOf(t, a.ID), syscall.SIGKILL)
	enginetest.AwaitExit(t, e, a.ID)
	container, err := clientOf(t, m).LoadContainer(t.Context(), a.ID+"-2")
	if err != nil {
		t.Fatal(err)
	}
	task, err := container.Task(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := task.Delete(t.Context(), containerdclient.WithProcessKill); err != nil {
		t.Fatal(err)
	}
	if err := container.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	list, err := e.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range list {
		if status.ID == a.ID && (status.Phase != engine.PhaseExited || status.Exit.Node != "") {
			t.Errorf("status is %+v; want it exited, by itself", status)
		}
	}
	assertGone(t, m, e, a)
}

// testFirstKilledEarly: an attempt of which only workers are there can be started again.
func testFirstKilledEarly(t *testing.T, m *machine) {
	e := m.open(t)
	a := startNodes(t, e, waits)
	kill(t, shimOf(t, a.ID), syscall.SIGKILL)
	enginetest.AwaitExit(t, e, a.ID)
	for _, name := range []string{agentapi.OutputFile, agentapi.ReportFile} { // as it is before the agent begins
		if err := os.Remove(filepath.Join(a.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	status, err := e.Status(t.Context(), a.ID)
	if err != nil || status.Phase != engine.PhaseCreated || status.Failed != "" {
		t.Errorf("status is %+v, %v; want created", status, err)
	}
	assertGone(t, m, e, a)
	if err := e.Start(t.Context(), a); err != nil {
		t.Fatalf("Start again: %v", err)
	}
	enginetest.AwaitOutput(t, a, "ready")
}

// testWorkerOutOfMemory: the kernel ends a process of a worker, and the command fails because of that: the end says so.
func testWorkerOutOfMemory(t *testing.T, m *machine) {
	e := m.open(t)
	a := enginetest.NewAttempt(t, enginetest.Script{Text: "trap 'exit 5' TERM\necho ready\nsleep 1000 & wait", RAM: 48 << 20, Nodes: 3, Grace: time.Hour})
	enginetest.Start(t, e, a)
	enginetest.AwaitOutput(t, a, "ready")
	container, err := clientOf(t, m).LoadContainer(t.Context(), a.ID+"-2")
	if err != nil {
		t.Fatal(err)
	}
	task, err := container.Task(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := container.Spec(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	spec.Process.Args = []string{"/bin/tail", "/dev/zero"}
	process, err := task.Exec(t.Context(), "eater", spec.Process, cio.NullIO)
	if err != nil {
		t.Fatal(err)
	}
	var ended <-chan containerdclient.ExitStatus
	if ended, err = process.Wait(t.Context()); err == nil {
		err = process.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	<-ended
	if err := e.Stop(t.Context(), a.ID, time.Hour); err != nil {
		t.Fatal(err)
	}
	if exit := enginetest.AwaitExit(t, e, a.ID).Exit; exit.Code != 5 || !exit.OutOfMemory || !strings.Contains(exit.Detail, a.Workers[0].Hostname) {
		t.Errorf("exit is %+v; want code 5, and out of memory on %s", exit, a.Workers[0].Hostname)
	}
	assertGone(t, m, e, a)
}
