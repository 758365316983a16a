package containerd_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/berth-hpc/berth/internal/diskquota"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/containerd"
	"github.com/berth-hpc/berth/internal/engine/enginetest"
)

func TestCheckScratch(t *testing.T) {
	cfg := containerd.Config{DataDir: "/dev/shm"}
	if err := cfg.CheckScratch(); !errors.Is(err, diskquota.ErrOff) {
		t.Errorf("on a filesystem without project quotas: %v; want %v", err, diskquota.ErrOff)
	}
	cfg.Address = "/run/containerd/containerd.sock"
	if err := cfg.CheckScratch(); err == nil || !strings.Contains(err.Error(), "--containerd private") {
		t.Errorf("with the containerd of the system: %v; want an error that says what to do", err)
	}
}

// TestScratchRefused: what cannot be bounded is not promised to be, and nothing is started.
func TestScratchRefused(t *testing.T) {
	m := newMachine(t)
	e := m.open(t)
	if e.CheckScratch() == nil {
		t.Skip("this disk has project quotas")
	}
	a := enginetest.NewAttempt(t, enginetest.Script{Text: "true"})
	a.Scratch = 1 << 20
	if err := e.Start(t.Context(), a); !errors.Is(err, engine.ErrRefused) || !errors.Is(err, diskquota.ErrOff) {
		t.Errorf("Start: %v; want that it is refused because %v", err, diskquota.ErrOff)
	}
	if _, err := e.Status(t.Context(), a.ID); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("Status: %v; want %v", err, engine.ErrNotFound)
	}
}
