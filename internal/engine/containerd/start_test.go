package containerd

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/containers"

	"github.com/berth-hpc/berth/internal/engine/containerd/bridge"
	"github.com/berth-hpc/berth/internal/engine/enginetest"
)

// TestStartTimeout: a start of many nodes has the time that it takes on a slow machine, and a stuck one still ends.
func TestStartTimeout(t *testing.T) {
	for nodes, want := range map[int]time.Duration{1: callTimeout, 2: callTimeout + nodeTimeout, 201: callTimeout + 200*nodeTimeout} {
		if got := startTimeout(nodes); got != want {
			t.Errorf("%d nodes have %s, want %s", nodes, got, want)
		}
	}
}

// unclearRecords makes records and does not tell.
type unclearRecords struct {
	containers.Store
	// deleting is called before a record is deleted.
	deleting func()
}

var errUnclear = errors.New("no answer")

func (u unclearRecords) Create(ctx context.Context, record containers.Container) (containers.Container, error) {
	_, err := u.Store.Create(ctx, record)
	return containers.Container{}, errors.Join(errUnclear, err)
}

func (u unclearRecords) Delete(ctx context.Context, id string) error {
	u.deleting()
	return u.Store.Delete(ctx, id)
}

// TestAnAddressIsGivenBackOnce: after a start of which nobody knows how far it came, what another attempt was given meanwhile stays its own.
func TestAnAddressIsGivenBackOnce(t *testing.T) {
	dataDir := t.TempDir()
	t.Cleanup(func() {
		if err := Shutdown(context.WithoutCancel(t.Context()), dataDir); err != nil {
			t.Error(err)
		}
	})
	e, err := Open(t.Context(), Config{DataDir: dataDir, AgentPath: "/bin/sh", Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	rootfs, err := os.Open(enginetest.BusyboxRootfs(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rootfs.Close() }()
	if _, err := e.ImportRootfs(t.Context(), rootfs, enginetest.Image, nil); err != nil {
		t.Fatal(err)
	}
	deleted := false
	e.containers = unclearRecords{e.containers, func() {
		deleted = true
		for {
			if _, err := e.network.Allocate(); err != nil { // others take all there are
				return
			}
		}
	}}
	if err := e.Start(t.Context(), enginetest.NewAttempt(t, enginetest.Script{Text: "true"})); !errors.Is(err, errUnclear) || !deleted {
		t.Fatalf("Start: %v, record deleted: %t; want %v and true", err, deleted, errUnclear)
	}
	if address, err := e.network.Allocate(); !errors.Is(err, bridge.ErrNoAddress) {
		t.Errorf("%s is given out twice (%v)", address, err)
	}
}
