// Package enginetest is the conformance suite of engines: what internal/engine promises, tried with real attempts. Its job
// scripts are shell, of the part that internal/engine/fake understands, so both engines run the same tests.
package enginetest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine"
)

// Image is the normalised reference of the image that the suite runs; the factory puts it into the engine's store.
const Image = "local/busybox:latest"

// patience is how long something that must happen may take on a loaded machine.
const patience = time.Minute

// Actions are what the image offers to do. Each is an echo.
var Actions = map[string]agentapi.Action{"greet": {Args: "echo good day", Alt: "Says good day"}}

// Engine is all of what an engine promises. Of images the suite tries only what they hold.
type Engine interface {
	engine.Engine
	engine.Agents
	engine.Meter
	engine.Images
}

// Subject is an engine under test.
type Subject struct {
	Engine Engine
	// Restart returns the engine that a server has after a restart: a new one with the same state. The old one is not used any
	// more.
	Restart func(t *testing.T) Engine
	// Address is an address of the host that ports can be published at.
	Address string
	// EndWorker ends a worker of a running attempt, 1 is the first of them, as the kernel would: with SIGKILL.
	EndWorker func(t *testing.T, a engine.Attempt, worker int)
}

// Script is what the attempt of a test does.
type Script struct {
	// Text is a shell script.
	Text string
	// Grace is the agent's.
	Grace time.Duration
	// RAM is the memory limit in bytes; 256 MiB when it is 0.
	RAM int64
	// Nodes is how many nodes it has; 0 is 1. The first one runs Text.
	Nodes int
}

// numbers gives each attempt of a process a job number of its own.
var numbers atomic.Int64

// NewAttempt makes an attempt that runs a script: the directories of its nodes and what is in them.
func NewAttempt(t testing.TB, script Script) engine.Attempt {
	t.Helper()
	number := numbers.Add(1)
	hostname := fmt.Sprintf("jarvice-job-%d", number)
	a := engine.Attempt{
		ID: berth.NewAttempt(number, strings.ToLower(fmt.Sprintf("%x", time.Now().UnixNano()))), Job: number, Hostname: hostname,
		Image: Image, Cores: 1, RAM: cmp.Or(script.RAM, 256<<20), Dir: t.TempDir(),
	}
	spec := agentapi.Spec{
		Job: number, Name: "20261123193000-ABCDE-enginetest-root_s1", Hostname: hostname,
		Nodes:  []agentapi.Node{{Name: hostname, Cores: 1}},
		User:   agentapi.User{Name: "nimbix", Group: "nimbix", UID: 505, GID: 505},
		Script: script.Text, Grace: script.Grace,
	}
	for i := 2; i <= script.Nodes; i++ {
		worker := engine.Worker{Hostname: fmt.Sprintf("%s-%d", hostname, i), Dir: filepath.Join(a.Dir, fmt.Sprintf("node-%d", i))}
		a.Workers = append(a.Workers, worker)
		spec.Nodes = append(spec.Nodes, agentapi.Node{Name: worker.Hostname, Cores: 1})
	}
	writeSpec(t, a.Dir, spec)
	spec.Script = "sleep 100000" // in case that an agent runs it
	for _, worker := range a.Workers {
		spec.Hostname = worker.Hostname
		writeSpec(t, worker.Dir, spec)
	}
	return a
}

// writeSpec makes a node's directory with its specification.
func writeSpec(t testing.TB, dir string, spec agentapi.Spec) {
	t.Helper()
	text, err := json.Marshal(spec) //nolint:gosec // there are no secrets in it
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(os.MkdirAll(dir, 0o700), os.Chmod(dir, 0o700), //nolint:gosec // a directory
		os.WriteFile(filepath.Join(dir, agentapi.SpecFile), text, 0o600))
	if err != nil {
		t.Fatal(err)
	}
}

// Start starts an attempt and removes it after the test.
func Start(t *testing.T, e engine.Engine, a engine.Attempt) {
	t.Helper()
	t.Cleanup(func() {
		if err := e.Remove(context.WithoutCancel(t.Context()), a.ID); err != nil {
			t.Error(err)
		}
	})
	if err := e.Start(t.Context(), a); err != nil {
		t.Fatalf("Start: %v", err)
	}
}

// AwaitExit waits until an attempt has exited and returns its last status. It looks on every hint of Exits, and now and then.
func AwaitExit(t *testing.T, e engine.Engine, id string) engine.Status {
	t.Helper()
	return awaitStatus(t, e, id, func(s engine.Status) bool { return s.Phase == engine.PhaseExited })
}

func awaitStatus(t *testing.T, e engine.Engine, id string, enough func(engine.Status) bool) engine.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	exits := e.Exits(ctx)
	for {
		status, err := e.Status(ctx, id)
		switch {
		case err != nil:
			t.Fatalf("Status of %s: %v", id, err)
		case enough(status):
			return status
		}
		select {
		case <-exits:
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("attempt %s: nothing more happens, status is %+v", id, status)
		}
	}
}

// AwaitOutput waits until the output of an attempt has a text.
func AwaitOutput(t *testing.T, a engine.Attempt, text string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !strings.Contains(Output(t, a), text) {
		if time.Now().After(deadline) {
			t.Fatalf("output of %s has no %q but is %q", a.ID, text, Output(t, a))
		}
		time.Sleep(5 * time.Millisecond) // the output is a file on the host's disk: nothing tells of it
	}
}

// Output returns what an attempt has written so far.
func Output(t *testing.T, a engine.Attempt) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(a.Dir, agentapi.OutputFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(text)
}
