package containerd_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/containerd"
	"github.com/berth-hpc/berth/internal/engine/enginetest"
)

// devices is a specification of three devices that stand in for GPUs: each is the kernel's /dev/null under another name, with its
// number in the environment. A driver that describes all of them together adds the last one.
const devices = `{"cdiVersion": "0.6.0", "kind": "example.org/gpu", "devices": [
	{"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/gpu0", "hostPath": "/dev/null"}], "env": ["GPU_0=yes"]}},
	{"name": "1", "containerEdits": {"deviceNodes": [{"path": "/dev/gpu1", "hostPath": "/dev/null"}], "env": ["GPU_1=yes"]}},
	{"name": "2", "containerEdits": {"deviceNodes": [{"path": "/dev/gpu2", "hostPath": "/dev/null"}], "env": ["GPU_2=yes"]}},
	{"name": "all", "containerEdits": {"env": ["GPU_ALL=yes"]}}
]}`

// withGPUs gives a machine the devices.
func withGPUs(t *testing.T) *machine {
	t.Helper()
	m := newMachine(t)
	m.gpus = containerd.GPUConfig{Kind: "example.org/gpu", SpecDirs: []string{t.TempDir()}}
	if err := os.WriteFile(filepath.Join(m.gpus.SpecDirs[0], "example.json"), []byte(devices), 0o600); err != nil {
		t.Fatal(err)
	}
	return m
}

// showsGPUs is a script that shows which devices it has, and can use.
const showsGPUs = "for f in /dev/gpu*; do [ -c $f ] && echo x >$f && echo \"has $f\"; done\nenv | grep GPU_\necho ready\nsleep 1000"

func startGPUs(t *testing.T, e engine.Engine, nodes, gpus int) (engine.Attempt, error) {
	t.Helper()
	a := enginetest.NewAttempt(t, enginetest.Script{Text: showsGPUs, Nodes: nodes})
	a.GPUs = gpus
	return a, e.Start(t.Context(), a)
}

// TestGPUs: every GPU is of one attempt at a time, also after a restart, and comes back.
func TestGPUs(t *testing.T) {
	m := withGPUs(t)
	e := m.open(t)
	if hosts, err := e.Hosts(t.Context()); err != nil || hosts[0].Capacity.GPUs != 3 {
		t.Fatalf("hosts are %+v, %v; want 3 GPUs", hosts, err)
	}
	first, err := startGPUs(t, e, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	enginetest.AwaitOutput(t, first, "ready")
	if got := enginetest.Output(t, first); !strings.Contains(got, "has /dev/gpu0\n") || strings.Contains(got, "gpu1") || !strings.Contains(got, "GPU_0=yes") {
		t.Errorf("the first node shows %q; want /dev/gpu0 alone", got)
	}
	if _, err := startGPUs(t, e, 1, 2); err == nil || errors.Is(err, engine.ErrRefused) {
		t.Errorf("Start with 2 GPUs of which 1 is free: %v; want an error that is no refusal", err)
	}
	if _, err := startGPUs(t, e, 2, 2); !errors.Is(err, engine.ErrRefused) {
		t.Errorf("Start with 4 GPUs: %v; want %v", err, engine.ErrRefused)
	}
	if err := e.Start(t.Context(), first); !errors.Is(err, engine.ErrExists) {
		t.Errorf("Start again: %v; want %v", err, engine.ErrExists)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = m.open(t)
	second, err := startGPUs(t, e, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer remove(t, e, second.ID)
	enginetest.AwaitOutput(t, second, "ready")
	if got := enginetest.Output(t, second); !strings.Contains(got, "has /dev/gpu2\n") || strings.Contains(got, "gpu0") || strings.Contains(got, "gpu1") {
		t.Errorf("the second attempt shows %q; want /dev/gpu2 alone", got)
	}
	remove(t, e, first.ID)
	third, err := startGPUs(t, e, 1, 2)
	if err != nil {
		t.Fatalf("Start with what was given back: %v", err)
	}
	remove(t, e, third.ID)
}

// TestNoGPUs: where there are none, none can be had.
func TestNoGPUs(t *testing.T) {
	m := newMachine(t)
	e := m.open(t)
	if _, err := startGPUs(t, e, 1, 1); !errors.Is(err, engine.ErrRefused) {
		t.Errorf("Start: %v; want %v", err, engine.ErrRefused)
	}
}
