package containerd

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	containerdclient "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/opencontainers/image-spec/identity"

	"github.com/berth-hpc/berth/internal/engine/containerd/private"
)

// newTestStore returns an image store on a containerd of its own, which ends with the test.
func newTestStore(t *testing.T) *imageStore {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("containerd needs root: run the tests as root")
	}
	daemon := private.New(private.Config{DataDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		if err := daemon.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	if err := daemon.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	client, err := containerdclient.New(daemon.Address(), containerdclient.WithDefaultNamespace(Namespace))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	store := newImageStore(client, "overlayfs", slog.New(slog.DiscardHandler))
	store.interval = 10 * time.Millisecond
	return store
}

// snapshotFiles mounts the top snapshot of an image read-only and calls look with its root.
func snapshotFiles(t *testing.T, s *imageStore, ref string, look func(root string)) {
	t.Helper()
	// Without a lease the view would be garbage.
	ctx, release, err := s.lease(namespaces.WithNamespace(t.Context(), Namespace))
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	img, err := s.client.GetImage(ctx, ref)
	if err != nil {
		t.Fatal(err)
	}
	if unpacked, err := img.IsUnpacked(ctx, s.snapshotter); err != nil || !unpacked {
		t.Fatalf("%s is not unpacked: %v", ref, err)
	}
	diffIDs, err := img.RootFS(ctx)
	if err != nil {
		t.Fatal(err)
	}
	service := s.client.SnapshotService(s.snapshotter)
	mounts, err := service.View(ctx, "look", identity.ChainID(diffIDs).String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := service.Remove(ctx, "look"); err != nil {
			t.Error(err)
		}
	}()
	if err := mount.WithReadonlyTempMount(ctx, mounts, func(root string) error {
		look(root)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// leftovers returns what is in the store after a collection: blobs, half written blobs, snapshots and leases.
func leftovers(t *testing.T, s *imageStore) []string {
	t.Helper()
	ctx := namespaces.WithNamespace(t.Context(), Namespace)
	service := s.client.LeasesService()
	lease, err := service.Create(ctx, leases.WithRandomID())
	if err != nil {
		t.Fatal(err)
	}
	// Deleting a lease can be told to wait for the collector.
	if err := service.Delete(ctx, lease, leases.SynchronousDelete); err != nil {
		t.Fatal(err)
	}
	var left []string
	if err := s.client.ContentStore().Walk(ctx, func(info content.Info) error {
		left = append(left, "blob "+info.Digest.String())
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	statuses, err := s.client.ContentStore().ListStatuses(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range statuses {
		left = append(left, "half "+status.Ref)
	}
	if err := s.client.SnapshotService(s.snapshotter).Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		left = append(left, "snapshot "+info.Name)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	kept, err := service.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, lease := range kept {
		left = append(left, "lease "+lease.ID)
	}
	slices.Sort(left)
	return left
}
