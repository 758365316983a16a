package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/containerd/cgroup"
)

// Usage is engine.Meter. It reads the kernel's files alone and asks containerd nothing, so it is cheap enough for all attempts at
// short intervals.
func (e *Engine) Usage(ctx context.Context, id string) ([]engine.Usage, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("usage of %s: %w", id, err)
	}
	if !engine.ValidID(id) {
		return nil, fmt.Errorf("usage of %q: %w", id, engine.ErrNotFound)
	}
	usage, err := cgroup.Of(id).Usage()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("usage of %s: %w", id, engine.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	all := []engine.Usage{usage}
	for i := 1; ; i++ {
		group := cgroup.Of(workerID(id, i))
		if !group.Exists() {
			return all, nil
		}
		usage, err := group.Usage()
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // one that has ended uses nothing
			return nil, err
		}
		all = append(all, usage)
	}
}
