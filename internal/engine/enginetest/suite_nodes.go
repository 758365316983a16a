package enginetest

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine"
)

func testHost(t *testing.T, e engine.Engine) {
	hosts, err := e.Hosts(t.Context())
	if err != nil || len(hosts) == 0 {
		t.Fatalf("Hosts: %+v, %v", hosts, err)
	}
	for _, host := range hosts {
		if one := (berth.Capacity{Cores: 1, RAM: 1, Slots: 1}); host.Name == "" || !host.Capacity.Fits(one) {
			t.Errorf("host is %+v: something is missing", host)
		}
	}
}

// testNodes is the part of the suite about attempts of several nodes.
func testNodes(t *testing.T, s Subject) {
	for name, test := range map[string]func(*testing.T, Subject){
		"peers":                 testPeers,
		"end with the first":    testFirstEnds,
		"one cannot start":      testWorkerCannotStart,
		"one ends":              testWorkerEnds,
		"one ends before":       testWorkerEndsFirst,
		"stop is for the first": testStopNodes,
		"stop now":              testStopNodesNow,
		"remove running":        testRemoveNodes,
		"start twice":           testStartNodesTwice,
		"publish":               testPublish,
		"publish refused":       testPublishRefused,
	} {
		t.Run(name, func(t *testing.T) { test(t, s) })
	}
}

// nodes is how many nodes the attempts of the suite have that have several.
const nodes = 3

// testPeers: all nodes are there, each knows all, and they count as one attempt.
func testPeers(t *testing.T, s Subject) {
	a := NewAttempt(t, Script{Text: "echo ready\nsleep 100", Nodes: nodes})
	Start(t, s.Engine, a)
	AwaitOutput(t, a, "ready")
	peers := peersIn(t, a.Dir)
	want := []string{a.Hostname}
	for _, worker := range a.Workers {
		want = append(want, worker.Hostname)
		if diff := cmp.Diff(peers, peersIn(t, worker.Dir)); diff != "" {
			t.Errorf("the first node and %s know others (-first +worker):\n%s", worker.Hostname, diff)
		}
	}
	var got, addresses []string
	for _, peer := range peers {
		got = append(got, peer.Name)
		if peer.Cores != a.Cores {
			t.Errorf("%s has %d cores; want %d", peer.Name, peer.Cores, a.Cores)
		}
		if peer.Address != "" {
			addresses = append(addresses, peer.Address)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	slices.Sort(addresses)
	if len(slices.Compact(addresses)) != nodes {
		t.Errorf("nodes are %+v; want an address for each", peers)
	}
	if usage := measure(t, s.Engine, a); usage.MemoryLimit != a.RAM { // it counts the nodes
		t.Errorf("memory limit is %d; want %d", usage.MemoryLimit, a.RAM)
	}
	list, err := s.Engine.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list = slices.DeleteFunc(list, func(status engine.Status) bool { return status.Job != a.Job })
	one, err := s.Engine.Status(t.Context(), a.ID)
	if err != nil || one.Phase != engine.PhaseRunning || one.Failed != "" {
		t.Errorf("status is %+v, %v; want running", one, err)
	}
	if diff := cmp.Diff([]engine.Status{one}, list); diff != "" {
		t.Errorf("List and Status differ (-status +list):\n%s", diff)
	}
}

func peersIn(t *testing.T, dir string) []agentapi.Node {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, agentapi.PeersFile))
	if err != nil {
		t.Fatal(err)
	}
	var peers []agentapi.Node
	if err := json.Unmarshal(text, &peers); err != nil {
		t.Fatal(err)
	}
	return peers
}

// testFirstEnds: the attempt ends with its first node, as that did.
func testFirstEnds(t *testing.T, s Subject) {
	a := NewAttempt(t, Script{Text: "echo ready\nexit 3", Nodes: nodes})
	Start(t, s.Engine, a)
	status := AwaitExit(t, s.Engine, a.ID)
	if diff := cmp.Diff(berth.Exit{Known: true, Ran: true, Code: 3}, status.Exit); diff != "" {
		t.Errorf("exit (-want +got):\n%s", diff)
	}
	if status.Failed != "" {
		t.Errorf("status is %+v; no node has failed", status)
	}
	assertNotRunning(t, s.Engine, a.ID)
	// What the engine ends itself later has not ended by itself.
	if err := s.Engine.Stop(t.Context(), a.ID, 0); err != nil {
		t.Errorf("Stop after the exit: %v; want nil", err)
	}
	if exit := AwaitExit(t, s.Engine, a.ID).Exit; exit.Node != "" || exit.Code != 3 {
		t.Errorf("exit after a Stop is %+v; want it as before", exit)
	}
}

// testWorkerCannotStart: all nodes or none, and the command has not run.
func testWorkerCannotStart(t *testing.T, s Subject) {
	a := NewAttempt(t, Script{Text: "echo ready\nexit 3", Nodes: nodes})
	missing := a.Workers[len(a.Workers)-1].Dir
	if err := os.Rename(missing, missing+".gone"); err != nil {
		t.Fatal(err)
	}
	if err := s.Engine.Start(t.Context(), a); err == nil || errors.Is(err, engine.ErrExists) {
		t.Fatalf("Start: %v; want another error", err)
	}
	if status, err := s.Engine.Status(t.Context(), a.ID); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("Status afterwards: %+v, %v; want ErrNotFound", status, err)
	}
	if got := Output(t, a); got != "" {
		t.Errorf("output is %q; the command was not to run", got)
	}
	if err := os.Rename(missing+".gone", missing); err != nil {
		t.Fatal(err)
	}
	Start(t, s.Engine, a)
	if exit := AwaitExit(t, s.Engine, a.ID).Exit; exit.Code != 3 || exit.Node != "" {
		t.Errorf("exit of another start is %+v; want code 3", exit)
	}
}

// testWorkerEnds: a worker that ends while the command runs is told and named, before and after the attempt is stopped.
func testWorkerEnds(t *testing.T, s Subject) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	exits := s.Engine.Exits(ctx)
	a := NewAttempt(t, Script{Text: "echo ready\nsleep 100", Nodes: nodes})
	Start(t, s.Engine, a)
	AwaitOutput(t, a, "ready")
	s.EndWorker(t, a, 2)
	for got := ""; got != a.ID; {
		var open bool
		if got, open = <-exits; !open {
			t.Fatal("the end of a worker was not told")
		}
	}
	cancel()
	for range exits {
	}
	status := awaitStatus(t, s.Engine, a.ID, func(s engine.Status) bool { return s.Failed != "" })
	if status.Phase != engine.PhaseRunning || status.Failed != a.Workers[1].Hostname || !strings.Contains(status.Detail, "signal 9") {
		t.Errorf("status is %+v; want it running, %s failed by signal 9", status, a.Workers[1].Hostname)
	}
	assertStopsBecauseOf(t, s.Engine, a)
}

// assertStopsBecauseOf ends an attempt whose second worker has failed.
func assertStopsBecauseOf(t *testing.T, e Engine, a engine.Attempt) {
	t.Helper()
	if err := e.Stop(t.Context(), a.ID, 0); err != nil {
		t.Fatal(err)
	}
	status := AwaitExit(t, e, a.ID)
	if status.Exit.Node != a.Workers[1].Hostname || status.Failed != "" || status.Exit.Detail == "" {
		t.Errorf("status is %+v; want the end because of %s, and how that ended", status, a.Workers[1].Hostname)
	}
}

// testWorkerEndsFirst: the command ends by itself because a worker has; that one is named, although nobody looked in between.
func testWorkerEndsFirst(t *testing.T, s Subject) {
	a := NewAttempt(t, Script{Text: "trap 'exit 5' TERM\necho ready\nsleep 100 & wait", Nodes: nodes})
	Start(t, s.Engine, a)
	AwaitOutput(t, a, "ready")
	s.EndWorker(t, a, 1)
	sendSignal(t, s.Engine, a, 15)
	exit := AwaitExit(t, s.Engine, a.ID).Exit
	if exit.Node != a.Workers[0].Hostname || exit.Code != 5 {
		t.Errorf("exit is %+v; want code 5 and the node %s", exit, a.Workers[0].Hostname)
	}
}

func testStopNodes(t *testing.T, s Subject) {
	a := NewAttempt(t, Script{Text: "trap 'exit 7' TERM\necho ready\nsleep 100 & wait", Grace: time.Hour, Nodes: nodes})
	Start(t, s.Engine, a)
	AwaitOutput(t, a, "ready")
	if err := s.Engine.Stop(t.Context(), a.ID, time.Hour); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(berth.Exit{Known: true, Ran: true, Code: 7}, AwaitExit(t, s.Engine, a.ID).Exit); diff != "" {
		t.Errorf("exit (-want +got):\n%s", diff)
	}
}

func testStopNodesNow(t *testing.T, s Subject) {
	a := NewAttempt(t, Script{Text: "trap 'exit 7' TERM\necho ready\nsleep 100 & wait", Nodes: nodes})
	Start(t, s.Engine, a)
	AwaitOutput(t, a, "ready")
	for range 2 {
		if err := s.Engine.Stop(t.Context(), a.ID, 0); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(berth.Exit{Known: true, Ran: true, Code: 128 + 9, Signal: 9}, AwaitExit(t, s.Engine, a.ID).Exit); diff != "" {
		t.Errorf("exit (-want +got):\n%s", diff)
	}
}

func testRemoveNodes(t *testing.T, s Subject) {
	a := NewAttempt(t, Script{Text: "echo ready\nsleep 100", Nodes: nodes})
	Start(t, s.Engine, a)
	AwaitOutput(t, a, "ready")
	for range 2 {
		if err := s.Engine.Remove(t.Context(), a.ID); err != nil {
			t.Fatalf("Remove: %v", err)
		}
	}
	list, err := s.Engine.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(list, func(status engine.Status) bool { return status.Job == a.Job }) {
		t.Errorf("the list still has something of it: %+v", list)
	}
}

func testStartNodesTwice(t *testing.T, s Subject) {
	a := NewAttempt(t, Script{Text: "echo once\nsleep 100", Nodes: nodes})
	Start(t, s.Engine, a)
	AwaitOutput(t, a, "once")
	if err := s.Engine.Start(t.Context(), a); !errors.Is(err, engine.ErrExists) {
		t.Errorf("Start again: %v; want ErrExists", err)
	}
	if status, err := s.Engine.Status(t.Context(), a.ID); err != nil || status.Phase != engine.PhaseRunning || status.Failed != "" {
		t.Errorf("status is %+v, %v; want it running as before", status, err)
	}
	if n := strings.Count(Output(t, a), "once"); n != 1 {
		t.Errorf("the job began %d times; want once", n)
	}
	// A worker is no attempt.
	if status, err := s.Engine.Status(t.Context(), a.ID+"-"+strconv.Itoa(2)); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("Status of a worker: %+v, %v; want ErrNotFound", status, err)
	}
}

// testRestartNodes: a restarted server knows all nodes and the worker that has failed.
func testRestartNodes(t *testing.T, s Subject) {
	ends := NewAttempt(t, Script{Text: "trap 'exit 4' TERM\necho ready\nsleep 100 & wait", Grace: time.Minute, Nodes: nodes})
	fails := NewAttempt(t, Script{Text: "echo ready\nsleep 100", Nodes: nodes})
	for _, a := range []engine.Attempt{ends, fails} {
		if err := s.Engine.Start(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		AwaitOutput(t, a, "ready")
	}
	s.EndWorker(t, fails, 2)
	e := s.Restart(t)
	t.Cleanup(func() {
		for _, a := range []engine.Attempt{ends, fails} {
			if err := e.Remove(context.WithoutCancel(t.Context()), a.ID); err != nil {
				t.Error(err)
			}
		}
	})
	measure(t, e, ends)
	awaitStatus(t, e, fails.ID, func(status engine.Status) bool { return status.Failed == fails.Workers[1].Hostname })
	assertStopsBecauseOf(t, e, fails)
	if err := e.Stop(t.Context(), ends.ID, time.Minute); err != nil {
		t.Fatal(err)
	}
	if exit := AwaitExit(t, e, ends.ID).Exit; exit.Code != 4 || exit.Node != "" {
		t.Errorf("exit is %+v; want code 4", exit)
	}
}
