package containerd

import (
	"context"
	"errors"
	"log/slog"

	"github.com/berth-hpc/berth/internal/engine/containerd/bridge"
	"github.com/berth-hpc/berth/internal/engine/containerd/private"
)

// Shutdown ends the private containerd of a data directory, every attempt in it, and its network, and frees what they have
// outside of the data directory. Images stay. It is for a server that is to be gone for good or that a test has started; a
// server that only stops leaves them alone. Safe to call twice, and when there is none.
func Shutdown(ctx context.Context, dataDir string) error {
	daemon := private.New(private.Config{DataDir: dataDir, Log: slog.New(slog.DiscardHandler)})
	return errors.Join(daemon.Shutdown(ctx), bridge.Remove(ctx, private.Identity(dataDir)))
}
