package containerd

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"

	containerdclient "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"

	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/image"
)

// snapshotters are those that the engine can use, the best first. native copies, and works on every filesystem.
var snapshotters = []string{"overlayfs", "native"}

// chooseSnapshotter returns the best snapshotter that this containerd has and that works on its filesystem.
func (e *Engine) chooseSnapshotter(ctx context.Context) (string, error) {
	filter := "type==" + plugins.SnapshotPlugin.String()
	answer, err := e.client.IntrospectionService().Plugins(ctx, filter)
	if err != nil {
		return "", fmt.Errorf("snapshotters of containerd: %w", err)
	}
	usable := make(map[string]bool)
	for _, plugin := range answer.GetPlugins() {
		usable[plugin.GetID()] = plugin.GetInitErr() == nil
	}
	for _, name := range snapshotters {
		if usable[name] {
			return name, nil
		}
	}
	return "", fmt.Errorf("containerd has none of the snapshotters %v, but %v", snapshotters, slices.Sorted(maps.Keys(usable)))
}

// root is what an attempt needs of its image.
type root struct {
	digest digest.Digest
	// snapshot is the name of the unpacked image.
	snapshot string
	env      []string
	// native: it is of this machine's own architecture, not of an older one that the machine can run too.
	native bool
}

// rootCache remembers roots by the digest of the image: a digest's content never changes. The zero value is ready.
type rootCache struct {
	mu    sync.Mutex
	roots map[digest.Digest]root
}

func (c *rootCache) get(of digest.Digest) (root, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.roots[of]
	return r, ok
}

func (c *rootCache) add(r root) {
	c.mu.Lock()
	defer c.mu.Unlock()
	const limit = 1000 // some hundred bytes each; more different images than that in one run of the server are read again
	if c.roots == nil || len(c.roots) >= limit {
		c.roots = make(map[digest.Digest]root)
	}
	c.roots[r.digest] = r
}

// root looks up an image. The error wraps engine.ErrNotFound when it is not in the store, engine.ErrRefused when it is for
// other machines.
func (e *Engine) root(ctx context.Context, ref string) (root, error) {
	record, err := e.client.ImageService().Get(ctx, ref)
	if errdefs.IsNotFound(err) {
		return root{}, fmt.Errorf("image %s: %w", ref, engine.ErrNotFound)
	}
	if err != nil {
		return root{}, fmt.Errorf("image %s: %w", ref, err)
	}
	if r, ok := e.roots.get(record.Target.Digest); ok {
		return r, nil
	}
	img := containerdclient.NewImageWithPlatform(e.client, record, image.Matcher())
	config, err := img.Spec(ctx)
	if errdefs.IsNotFound(err) {
		return root{}, image.RefuseBecause(err, "image %s is not for this machine, or not complete", image.Familiar(ref))
	}
	if err != nil {
		return root{}, fmt.Errorf("image %s: %w", ref, err)
	}
	r := root{
		digest: record.Target.Digest, snapshot: identity.ChainID(config.RootFS.DiffIDs).String(),
		env: environment(config.Config.Env), native: config.Architecture == runtime.GOARCH,
	}
	e.roots.add(r)
	return r, nil
}

// prepare makes the attempt's own writable snapshot of an image and returns how it is mounted. The container's record, which is
// there already, keeps it.
func (e *Engine) prepare(ctx context.Context, a engine.Attempt, r root) ([]mount.Mount, error) {
	mounts, err := e.snapshots.Prepare(ctx, a.ID, r.snapshot)
	if errdefs.IsAlreadyExists(err) { // an earlier attempt to start it left one, perhaps used
		if err := e.removeSnapshot(ctx, a.ID); err != nil {
			return nil, err
		}
		mounts, err = e.snapshots.Prepare(ctx, a.ID, r.snapshot)
	}
	if errdefs.IsNotFound(err) { // the image is there but its snapshots are not: somebody removed them with other tools
		if err := e.unpackAgain(ctx, a.Image); err != nil {
			return nil, err
		}
		mounts, err = e.snapshots.Prepare(ctx, a.ID, r.snapshot)
	}
	if err != nil {
		return nil, fmt.Errorf("root filesystem of %s: %w", a.ID, err)
	}
	return mounts, e.boundScratch(a, mounts)
}

func (e *Engine) unpackAgain(ctx context.Context, ref string) error {
	record, err := e.client.ImageService().Get(ctx, ref)
	if err == nil {
		err = containerdclient.NewImageWithPlatform(e.client, record, image.Matcher()).Unpack(ctx, e.snapshotter)
	}
	if err != nil {
		return fmt.Errorf("unpack image %s again: %w", ref, err)
	}
	return nil
}

// removeSnapshot removes an attempt's snapshot, if it is there.
func (e *Engine) removeSnapshot(ctx context.Context, id string) error {
	if err := e.snapshots.Remove(ctx, id); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove root filesystem of %s: %w", id, err)
	}
	return nil
}
