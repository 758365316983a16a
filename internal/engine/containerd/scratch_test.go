package containerd_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/berth-hpc/berth/internal/diskquota"
	"github.com/berth-hpc/berth/internal/engine/containerd"
)

// TestScratchRefused: what cannot be bounded is not promised to be, and nothing is started.
func TestScratchRefused(t *testing.T) {
	cfg := containerd.Config{DataDir: "/dev/shm", AgentPath: agent, Scratch: 1 << 20, Log: testLog(t)}
	if _, err := containerd.Open(t.Context(), cfg); !errors.Is(err, diskquota.ErrOff) {
		t.Errorf("on a filesystem without project quotas: %v; want %v", err, diskquota.ErrOff)
	}
	cfg.Address = "/run/containerd/containerd.sock"
	if _, err := containerd.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "--containerd private") {
		t.Errorf("with the containerd of the system: %v; want an error that says what to do", err)
	}
}
