package containerd

import (
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	containerdclient "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/plugins"

	"github.com/berth-hpc/berth/internal/engine"
)

// TestASilentContainerd keeps nobody waiting who asks for images: it says nothing about them.
func TestASilentContainerd(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "socket")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket) // nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	client, err := containerdclient.New(socket, containerdclient.WithDefaultNamespace(Namespace),
		containerdclient.WithDefaultRuntime(plugins.RuntimeRuncV2))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	store := newImageStore(client, "overlayfs", slog.New(slog.DiscardHandler))
	store.look = 10 * time.Millisecond
	if _, err := store.Image(t.Context(), "docker.io/library/busybox:latest"); err == nil || errors.Is(err, engine.ErrNotFound) {
		t.Errorf("Image: %v; want an error that is not ErrNotFound", err)
	}
	if list, err := store.Images(t.Context()); err == nil || list != nil {
		t.Errorf("Images: %v, %v; want nothing and an error", list, err)
	}
}
