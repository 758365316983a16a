package containerd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-hpc/berth/internal/engine"
)

// errStalled ends a pull whose registry sends nothing any more.
var errStalled = errors.New("the registry stopped sending")

// every calls fn now and then until the returned function is called, which waits for the last call.
func every(ctx context.Context, interval time.Duration, fn func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				fn(ctx)
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// tell calls progress when there is one.
func tell(progress engine.Progress, format string, args ...any) {
	if progress != nil {
		progress(fmt.Sprintf(format, args...))
	}
}

// megabytes writes a number of bytes as people do.
func megabytes(n int64) string { return fmt.Sprintf("%.1f", float64(n)/1e6) }

// download follows the blobs of one image into the content store.
type download struct {
	store content.Store

	mu      sync.Mutex
	blobs   map[digest.Digest]ocispec.Descriptor
	arrived map[digest.Digest]bool

	// The last sample and when it changed; only sample uses them.
	moved   int64
	movedAt time.Time
}

func newDownload(store content.Store) *download {
	return &download{
		store: store, blobs: make(map[digest.Digest]ocispec.Descriptor), arrived: make(map[digest.Digest]bool), movedAt: time.Now(),
	}
}

// expect adds what a manifest names.
func (d *download) expect(children []ocispec.Descriptor) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, child := range children {
		if !images.IsIndexType(child.MediaType) && !images.IsManifestType(child.MediaType) {
			d.blobs[child.Digest] = child
		}
	}
}

// sample says how far the download is, empty as long as the registry has not said how much there is, and whether something is on its way that has not moved for the given time.
func (d *download) sample(ctx context.Context, stall time.Duration) (sentence string, stalled bool, err error) {
	under, err := d.store.ListStatuses(ctx)
	if err != nil {
		return "", false, fmt.Errorf("look how far the download is: %w", err)
	}
	offsets := make(map[string]int64, len(under))
	for _, status := range under {
		offsets[status.Ref] = status.Offset
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var got, total int64
	active := false
	for dgst, blob := range d.blobs {
		total += blob.Size
		if offset, ok := offsets[remotes.MakeRefKey(ctx, blob)]; ok {
			active = true
			got += offset
			continue
		}
		if d.here(ctx, dgst) {
			got += blob.Size
		}
	}
	if got != d.moved || !active {
		d.moved, d.movedAt = got, time.Now()
	}
	stalled = active && time.Since(d.movedAt) >= stall
	switch {
	case total == 0:
		return "", stalled, nil
	case got == total:
		return megabytes(total) + " MB, unpacking", stalled, nil
	default:
		return megabytes(got) + " of " + megabytes(total) + " MB", stalled, nil
	}
}

// here says whether a blob has arrived; it does not ask twice for one that has.
func (d *download) here(ctx context.Context, dgst digest.Digest) bool {
	if !d.arrived[dgst] {
		_, err := d.store.Info(ctx, dgst)
		d.arrived[dgst] = err == nil
	}
	return d.arrived[dgst]
}
