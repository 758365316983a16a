package containerd

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/image-spec/identity"

	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/image/imagetest"
)

// TestReadFileStaysInTheImage: whatever the image says about where its file is, the host's is not read.
func TestReadFileStaysInTheImage(t *testing.T) {
	s := newTestStore(t)
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, header := range []tar.Header{
		{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "etc/hostname", Typeflag: tar.TypeReg, Mode: 0o600, Size: 6},
		{Name: "absolute", Typeflag: tar.TypeSymlink, Linkname: "/etc/hostname"},
		{Name: "above", Typeflag: tar.TypeSymlink, Linkname: "../../../../../etc/hostname"},
		{Name: "folder", Typeflag: tar.TypeSymlink, Linkname: "/etc"},
		{Name: "dangling", Typeflag: tar.TypeSymlink, Linkname: "/proc/version"},
		{Name: "loop", Typeflag: tar.TypeSymlink, Linkname: "loop"},
		{Name: "fifo", Typeflag: tar.TypeFifo, Mode: 0o644},
	} {
		if err := w.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if header.Size > 0 {
			if _, err := w.Write([]byte("inside")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	const ref = "docker.io/local/x:latest"
	if _, err := s.ImportRootfs(t.Context(), &archive, ref, nil); err != nil {
		t.Fatal(err)
	}
	before := leftovers(t, s)
	for path, want := range map[string]error{
		"/etc/hostname": nil, "etc/hostname": nil, "/absolute": nil, "/above": nil, "/folder/hostname": nil, "/../etc/hostname": nil,
		"/dangling": engine.ErrNotFound, "/loop": engine.ErrNotFound, "/etc/hostname/x": engine.ErrNotFound, "/": engine.ErrNotFound, "": engine.ErrNotFound,
		"/fifo": engine.ErrRefused, "/etc": engine.ErrRefused, "/folder": engine.ErrRefused,
	} {
		got, err := s.ReadFile(t.Context(), ref, path, 6)
		if !errors.Is(err, want) || want == nil && string(got) != "inside" {
			t.Errorf("%q: %q, %v; want %v", path, got, err, want)
		}
	}
	if after := leftovers(t, s); !slices.Equal(before, after) {
		t.Errorf("the store holds %v; want what was there before: %v", after, before)
	}
	wantNoMounts(t)
}

// wantNoMounts fails when something of the test's containerd is mounted.
func wantNoMounts(t *testing.T) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), t.Name()) {
		t.Errorf("an image is still mounted (%v):\n%s", err, mounts)
	}
}

// TestReadFileOfLayers reads from an image of two layers, also when the snapshot of the upper one is gone.
func TestReadFileOfLayers(t *testing.T) {
	s := newTestStore(t)
	ref := imagetest.NewRegistry(t).Push(t, "x:1", imagetest.Image(t, []byte("lower"), []byte("upper")))
	if err := s.Pull(t.Context(), ref, engine.Credentials{}, nil); err != nil {
		t.Fatal(err)
	}
	read := func() {
		t.Helper()
		for path, want := range map[string]string{"/data/0": "lower", "/data/1": "upper"} {
			if got, err := s.ReadFile(t.Context(), ref, path, 100); err != nil || string(got) != want {
				t.Errorf("%s: %q, %v; want %q", path, got, err, want)
			}
		}
	}
	read()
	img, err := s.client.GetImage(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	diffs, err := img.RootFS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.client.SnapshotService(s.snapshotter).Remove(t.Context(), identity.ChainID(diffs).String()); err != nil {
		t.Fatal(err)
	}
	leftovers(t, s) // collects the lower one too: else it could go in the middle of what follows
	read()
	wantNoMounts(t)
}
