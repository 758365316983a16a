package fake_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/enginetest"
	"github.com/berth-hpc/berth/internal/engine/fake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newEngine(t *testing.T) *fake.Engine {
	t.Helper()
	actions, err := json.Marshal(enginetest.Actions)
	if err != nil {
		t.Fatal(err)
	}
	e := fake.New(fake.Config{
		Images: []string{enginetest.Image}, Registry: []string{"docker.io/library/alpine:latest"}, Actions: enginetest.Actions,
		Files: map[string]map[string][]byte{enginetest.Image: {agentapi.ActionsFile: actions}},
	})
	_ = t.TempDir() // before the engine's: the test's folders go only after what writes into them has ended
	t.Cleanup(e.Close)
	return e
}

func TestConformance(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) enginetest.Subject {
		e := newEngine(t)
		return enginetest.Subject{
			Engine: e, Address: "192.0.2.200", Restart: func(*testing.T) enginetest.Engine { return e },
			EndWorker: func(_ *testing.T, a engine.Attempt, worker int) { e.EndWorker(a.ID, worker) },
		}
	})
}

func TestDirectives(t *testing.T) {
	for name, test := range map[string]struct {
		script    string
		wantError error
		wantPhase engine.Phase
		wantExit  berth.Exit
	}{
		"start-error":   {"# fake: start-error\nexit 0", fake.ErrBroken, engine.PhaseCreated, berth.Exit{}},
		"start-unknown": {"# fake: start-unknown\nexit 3", fake.ErrBroken, engine.PhaseExited, berth.Exit{Known: true, Ran: true, Code: 3}},
		"unknown-exit":  {"exit 0 # fake: unknown-exit", nil, engine.PhaseExited, berth.Exit{}},
		"oom": {
			"tail /dev/zero # fake: oom", nil, engine.PhaseExited,
			berth.Exit{Known: true, Ran: true, Code: 137, Signal: 9, OutOfMemory: true},
		},
		"unknown command": {"ffmpeg -i x", nil, engine.PhaseExited, berth.Exit{Known: true, Ran: true, Code: 127}},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t)
			exits := e.Exits(t.Context())
			a := enginetest.NewAttempt(t, enginetest.Script{Text: test.script})
			if err := e.Start(t.Context(), a); !errors.Is(err, test.wantError) {
				t.Fatalf("Start: %v; want %v", err, test.wantError)
			}
			if test.wantPhase == engine.PhaseExited {
				<-exits
			}
			status, err := e.Status(t.Context(), a.ID)
			if err != nil {
				t.Fatal(err)
			}
			if status.Phase != test.wantPhase {
				t.Errorf("phase is %s; want %s", status.Phase, test.wantPhase)
			}
			if diff := cmp.Diff(test.wantExit, status.Exit); diff != "" {
				t.Errorf("exit (-want +got):\n%s", diff)
			}
		})
	}
}

// TestNodesDirectives: what goes wrong with a worker.
func TestNodesDirectives(t *testing.T) {
	e := newEngine(t)
	broken := enginetest.NewAttempt(t, enginetest.Script{Text: "exit 0 # fake: worker-error", Nodes: 2})
	if err := e.Start(t.Context(), broken); !errors.Is(err, fake.ErrBroken) {
		t.Errorf("Start: %v; want %v", err, fake.ErrBroken)
	}
	if status, err := e.Status(t.Context(), broken.ID); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("status is %+v, %v; want ErrNotFound", status, err)
	}
	half := enginetest.NewAttempt(t, enginetest.Script{Text: "exit 0 # fake: start-error", Nodes: 2})
	if err := e.Start(t.Context(), half); !errors.Is(err, fake.ErrBroken) {
		t.Errorf("Start: %v; want %v", err, fake.ErrBroken)
	}
	if status, err := e.Status(t.Context(), half.ID); err != nil || status.Phase != engine.PhaseCreated {
		t.Errorf("status is %+v, %v; want created", status, err)
	}
	a := enginetest.NewAttempt(t, enginetest.Script{Text: "sleep 100 # fake: worker-ends", Nodes: 2})
	exits := e.Exits(t.Context())
	enginetest.Start(t, e, a)
	if id := <-exits; id != a.ID {
		t.Errorf("the end of %s was told; want %s", id, a.ID)
	}
	if status, err := e.Status(t.Context(), a.ID); err != nil || status.Failed != a.Workers[0].Hostname {
		t.Errorf("status is %+v, %v; want %s failed", status, err, a.Workers[0].Hostname)
	}
}

// TestLostExit: the end of an attempt that nobody tells is seen by Status.
func TestLostExit(t *testing.T) {
	e := newEngine(t)
	ctx, cancel := context.WithCancel(t.Context())
	exits := e.Exits(ctx)
	a := enginetest.NewAttempt(t, enginetest.Script{Text: "exit 0 # fake: lost-exit"})
	enginetest.Start(t, e, a)
	enginetest.AwaitExit(t, e, a.ID)
	cancel()
	for id := range exits {
		t.Errorf("the end of %s was told", id)
	}
}

func TestFail(t *testing.T) {
	e := newEngine(t)
	a := enginetest.NewAttempt(t, enginetest.Script{Text: "exit 0"})
	broken := errors.New("broken")
	for op, call := range map[fake.Operation]func() error{
		fake.Start:     func() error { return e.Start(t.Context(), a) },
		fake.Stop:      func() error { return e.Stop(t.Context(), a.ID, time.Second) },
		fake.Status:    func() error { _, err := e.Status(t.Context(), a.ID); return err },
		fake.List:      func() error { _, err := e.List(t.Context()); return err },
		fake.Remove:    func() error { return e.Remove(t.Context(), a.ID) },
		fake.Ask:       func() error { _, err := e.Ask(t.Context(), a.ID, agentapi.Request{}); return err },
		fake.OpenShell: func() error { _, err := e.OpenShell(t.Context(), a.ID, agentapi.ShellRequest{}); return err },
		fake.Display:   func() error { _, err := e.OpenDisplay(t.Context(), a.ID); return err },
		fake.Usage:     func() error { _, err := e.Usage(t.Context(), a.ID); return err },
	} {
		e.Fail(op, broken)
		if err := call(); !errors.Is(err, broken) {
			t.Errorf("%s: %v; want %v", op, err, broken)
		}
		e.Fail(op, nil)
		if err := call(); errors.Is(err, broken) {
			t.Errorf("%s fails still: %v", op, err)
		}
	}
}

func TestViolations(t *testing.T) {
	e := newEngine(t)
	a := enginetest.NewAttempt(t, enginetest.Script{Text: "sleep 100"})
	enginetest.Start(t, e, a)
	second := enginetest.NewAttempt(t, enginetest.Script{Text: "exit 0"})
	second.Job = a.Job
	enginetest.Start(t, e, second)
	if err := e.Remove(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context(), a); !errors.Is(err, engine.ErrExists) {
		t.Errorf("Start of an attempt that has run: %v; want ErrExists", err)
	}
	empty := enginetest.NewAttempt(t, enginetest.Script{})
	empty.Dir = t.TempDir()
	if err := e.Start(t.Context(), empty); err == nil {
		t.Error("Start without a specification succeeded")
	}
	if got := e.Violations(); len(got) != 3 {
		t.Errorf("violations are %q; want three", got)
	}
}

func TestImages(t *testing.T) {
	e := newEngine(t)
	const pulled, missing = "docker.io/library/alpine:latest", "docker.io/library/nothing:latest"
	if err := e.Pull(t.Context(), pulled, engine.Credentials{}, nil); err != nil {
		t.Error(err)
	}
	if err := e.Pull(t.Context(), missing, engine.Credentials{}, nil); !errors.Is(err, engine.ErrRefused) {
		t.Errorf("Pull of what no registry has: %v; want ErrRefused", err)
	}
	list, err := e.Images(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, image := range list {
		names = append(names, image.Name)
	}
	if want := []string{pulled, enginetest.Image}; !slices.Equal(names, want) {
		t.Errorf("images are %q; want %q", names, want)
	}
	if err := e.RemoveImage(t.Context(), pulled); err != nil {
		t.Error(err)
	}
	if _, err := e.Image(t.Context(), pulled); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("Image after its removal: %v; want ErrNotFound", err)
	}
}
