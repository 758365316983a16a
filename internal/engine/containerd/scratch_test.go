package containerd_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-hpc/berth/internal/diskquota"
	"github.com/berth-hpc/berth/internal/diskquota/quotatest"
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

// TestScratch: all nodes of an attempt have one bound together, which goes with it.
func TestScratch(t *testing.T) {
	const bound = 16 << 20
	disk := quotatest.Disk(t, "ext4")
	m := newMachineIn(t, disk)
	e := m.open(t)
	a := enginetest.NewAttempt(t, enginetest.Script{Text: "dd if=/dev/zero of=/tmp/file bs=1M count=20 || echo refused\nsleep 1000", Nodes: 2})
	a.Scratch = bound
	more := filepath.Join(disk, "more")
	if err := os.Mkdir(more, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	enginetest.AwaitOutput(t, a, "refused")
	if err := diskquota.Limit(more, a.Job, bound); err != nil || quotatest.Room(t, more) != bound {
		t.Errorf("another directory of the job has room for %d bytes, %v; want %d", quotatest.Room(t, more), err, bound)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = m.open(t) // which knows of the bound by the record only
	remove(t, e, a.ID)
	if room := quotatest.Room(t, more); room <= bound {
		t.Errorf("the bound is there after the attempt: room for %d bytes", room)
	}
}
