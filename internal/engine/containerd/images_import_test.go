package containerd

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/klauspost/compress/zstd"

	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/image/imagetest"
)

// dockerArchive is what docker save writes: images by their tags.
func dockerArchive(t *testing.T, tagged map[string]v1.Image) []byte {
	t.Helper()
	refs := make(map[name.Reference]v1.Image)
	for tag, img := range tagged {
		ref, err := name.NewTag(tag)
		if err != nil {
			t.Fatal(err)
		}
		refs[ref] = img
	}
	var b bytes.Buffer
	if err := tarball.MultiRefWrite(refs, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// ociArchive is an OCI layout as a tar, with whatever is added to it.
func ociArchive(t *testing.T, add func(layout.Path) error) []byte {
	t.Helper()
	dir := t.TempDir()
	path, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = add(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func named(name string) layout.Option {
	return layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": name})
}

// rewrite copies a tar and lets change look at every file; a nil leaves the file out.
func rewrite(t *testing.T, archive []byte, change func(name string, content []byte) []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeReg {
			if content = change(header.Name, content); content == nil {
				continue
			}
		}
		header.Size = int64(len(content))
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func packed(t *testing.T, how string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&out)
	if how == "zstd" {
		encoder, err := zstd.NewWriter(&out)
		if err != nil {
			t.Fatal(err)
		}
		w = encoder
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestImport(t *testing.T) {
	s := newTestStore(t)
	one, two := imagetest.Image(t, []byte("one"), []byte("more")), imagetest.Image(t, []byte("two"))
	docker := dockerArchive(t, map[string]v1.Image{"local/one:1": one})
	for name, test := range map[string]struct {
		archive []byte
		as      string
		want    []string // the names, and what they hold in data/0
		holds   []string
	}{
		"docker-archive":                  {docker, "", []string{"docker.io/local/one:1"}, []string{"one"}},
		"docker-archive, named":           {docker, "docker.io/my/name:2", []string{"docker.io/my/name:2"}, []string{"one"}},
		"docker-archive, gzip":            {packed(t, "gzip", docker), "", []string{"docker.io/local/one:1"}, []string{"one"}},
		"docker-archive, zstd":            {packed(t, "zstd", docker), "", []string{"docker.io/local/one:1"}, []string{"one"}},
		"docker-archive, two tags of one": {dockerArchive(t, map[string]v1.Image{"a/x:1": one, "a/x:2": one}), "", []string{"docker.io/a/x:1", "docker.io/a/x:2"}, []string{"one", "one"}},
		"docker-archive, two tags, named": {dockerArchive(t, map[string]v1.Image{"a/x:1": one, "a/x:2": one}), "docker.io/my/name:2", []string{"docker.io/my/name:2"}, []string{"one"}},
		"docker-archive, two images":      {dockerArchive(t, map[string]v1.Image{"a/x:1": one, "a/y:1": two}), "", []string{"docker.io/a/x:1", "docker.io/a/y:1"}, []string{"one", "two"}},
		"OCI, full name":                  {ociArchive(t, func(p layout.Path) error { return p.AppendImage(one, named("ghcr.io/a/b:3")) }), "", []string{"ghcr.io/a/b:3"}, []string{"one"}},
		"OCI, short name":                 {ociArchive(t, func(p layout.Path) error { return p.AppendImage(one, named("a/b")) }), "", []string{"docker.io/a/b:latest"}, []string{"one"}},
		"OCI, only a tag, named":          {ociArchive(t, func(p layout.Path) error { return p.AppendImage(one, named("latest")) }), "docker.io/my/name:2", []string{"docker.io/my/name:2"}, []string{"one"}},
		"OCI, no name, named":             {ociArchive(t, func(p layout.Path) error { return p.AppendImage(one) }), "docker.io/my/name:2", []string{"docker.io/my/name:2"}, []string{"one"}},
		"OCI, many platforms": {ociArchive(t, func(p layout.Path) error {
			return p.AppendIndex(imagetest.Index(t, otherArch, "amd64", "arm64"), named("a/many:1"))
		}), "", []string{"docker.io/a/many:1"}, []string{"for " + runtime.GOARCH}},
		"OCI, platforms side by side": {ociArchive(t, func(p layout.Path) error {
			other := imagetest.ImageFor(t, otherArch, []byte("other"))
			return errors.Join(
				p.AppendImage(other, layout.WithPlatform(v1.Platform{OS: "linux", Architecture: otherArch})),
				p.AppendImage(one))
		}), "docker.io/my/name:2", []string{"docker.io/my/name:2"}, []string{"one"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := s.Import(t.Context(), bytes.NewReader(test.archive), test.as, nil)
			if err != nil {
				t.Fatal(err)
			}
			var names, holds []string
			for _, img := range got {
				names = append(names, img.Name)
				holds = append(holds, checkImported(t, s, img))
			}
			if diff := cmp.Diff(test.want, names); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.holds, holds); diff != "" {
				t.Error(diff)
			}
			wantNothing(t, s)
		})
	}
}

// checkImported compares what was answered with what is stored, removes the image, and returns what its first file holds.
func checkImported(t *testing.T, s *imageStore, img engine.Image) (holds string) {
	t.Helper()
	stored, err := s.Image(t.Context(), img.Name)
	if err != nil || cmp.Diff(stored, img) != "" || img.Size == 0 || img.Created.IsZero() {
		t.Errorf("stored is %+v, %v; answered was %+v", stored, err, img)
	}
	snapshotFiles(t, s, img.Name, func(root string) {
		content, err := os.ReadFile(filepath.Join(root, "data", "0"))
		if err != nil {
			t.Error(err)
		}
		holds = string(content)
	})
	if err := s.RemoveImage(t.Context(), img.Name); err != nil {
		t.Error(err)
	}
	return holds
}

func TestImportRefuses(t *testing.T) {
	s := newTestStore(t)
	one, two := imagetest.Image(t, noise(50_000)), imagetest.Image(t, []byte("two"))
	docker := dockerArchive(t, map[string]v1.Image{"local/one:1": one})
	oci := ociArchive(t, func(p layout.Path) error { return p.AppendImage(one, named("a/b:1")) })
	gz := packed(t, "gzip", docker)
	flip := func(archive []byte, what func(name string, content []byte) bool) []byte {
		return rewrite(t, archive, func(name string, content []byte) []byte {
			if what(name, content) {
				content[len(content)/2] ^= 0xff
			}
			return content
		})
	}
	large := func(_ string, content []byte) bool { return len(content) > 10_000 }
	for name, test := range map[string]struct {
		archive []byte
		as      string
		says    string
	}{
		"nothing":            {nil, "", "empty"},
		"text":               {bytes.Repeat([]byte("hello "), 1000), "", "neither a docker-archive nor an OCI layout"},
		"a root filesystem":  {imagetest.Tar(t, tar.Header{Name: "bin/sh", Typeflag: tar.TypeReg, Mode: 0o755}, []byte("x")), "", "root filesystem"},
		"ends early":         {docker[:len(docker)/2], "", "ends in the middle"},
		"gzip ends early":    {gz[:len(gz)/2], "", "ends in the middle"},
		"no name":            {ociArchive(t, func(p layout.Path) error { return p.AppendImage(one) }), "", "no name"},
		"only a tag":         {ociArchive(t, func(p layout.Path) error { return p.AppendImage(one, named("latest")) }), "", "no name"},
		"a name that cannot": {ociArchive(t, func(p layout.Path) error { return p.AppendImage(one, named("A/../b:1")) }), "", "name in the archive"},
		"two images, a name": {dockerArchive(t, map[string]v1.Image{"a/x:1": one, "a/y:1": two}), "docker.io/my/name:2", "several images"},
		"two of one name": {ociArchive(t, func(p layout.Path) error {
			return errors.Join(p.AppendImage(one, named("a/b:1")), p.AppendImage(two, named("docker.io/a/b:1")))
		}), "", "two images"},
		"no images":            {ociArchive(t, func(layout.Path) error { return nil }), "", "holds no image"},
		"another architecture": {dockerArchive(t, map[string]v1.Image{"a/x:1": imagetest.ImageFor(t, otherArch, []byte("x"))}), "", "this machine is linux/"},
		"other architectures": {ociArchive(t, func(p layout.Path) error {
			return p.AppendIndex(imagetest.Index(t, otherArch, "ppc64le"), named("a/b:1"))
		}), "", "linux/s390x, linux/ppc64le"},
		"a damaged layer":            {flip(docker, large), "", "damaged"},
		"a damaged layer, OCI":       {flip(oci, large), "", "lacks sha256:"},
		"a missing layer":            {rewrite(t, docker, func(n string, b []byte) []byte { return unless(large(n, b), b) }), "", "not found"},
		"a missing layer, OCI":       {rewrite(t, oci, func(n string, b []byte) []byte { return unless(large(n, b), b) }), "", "lacks sha256:"},
		"no index, OCI":              {rewrite(t, oci, func(n string, b []byte) []byte { return unless(n == "index.json", b) }), "", "index.json"},
		"an index of no JSON, OCI":   {rewrite(t, oci, func(n string, b []byte) []byte { return instead(n == "index.json", b, "{") }), "", "not valid JSON"},
		"a manifest of no JSON":      {rewrite(t, docker, func(n string, b []byte) []byte { return instead(n == "manifest.json", b, "{]") }), "", "manifest.json"},
		"a manifest of another kind": {rewrite(t, docker, func(n string, b []byte) []byte { return instead(n == "manifest.json", b, `{"a":1}`) }), "", "manifest.json"},
		"an index with a trick": {rewrite(t, oci, func(n string, b []byte) []byte {
			return instead(n == "index.json", b, `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"../../etc/passwd","size":3,"annotations":{"org.opencontainers.image.ref.name":"a/b:1"}}]}`)
		}), "", "no digest"},
		"a layer too few": {rewrite(t, docker, func(n string, b []byte) []byte { return instead(n == "manifest.json", b, withoutLayers(t, b)) }), "", "0 layers"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := s.Import(t.Context(), bytes.NewReader(test.archive), test.as, nil)
			if got != nil {
				t.Errorf("got %v together with %v", got, err)
			}
			wantRefused(t, err, test.says)
			wantNothing(t, s)
		})
	}
}

func unless(leaveOut bool, content []byte) []byte {
	if leaveOut {
		return nil
	}
	return content
}

func instead(replace bool, content []byte, with string) []byte {
	if replace {
		return []byte(with)
	}
	return content
}

// withoutLayers takes the layers out of a docker-archive's manifest.json. Other files are not changed.
func withoutLayers(t *testing.T, manifest []byte) string {
	t.Helper()
	var list []map[string]any
	if json.Unmarshal(manifest, &list) != nil {
		return string(manifest)
	}
	for _, entry := range list {
		entry["Layers"] = []string{}
	}
	b, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What fails on the way is no fault of the archive, leaves nothing, and works the next time.
func TestImportFailures(t *testing.T) {
	s := newTestStore(t)
	docker := dockerArchive(t, map[string]v1.Image{"local/one:1": imagetest.Image(t, noise(50_000))})
	t.Run("the sender goes away", func(t *testing.T) {
		broken := errors.New("broken")
		_, err := s.Import(t.Context(), io.MultiReader(bytes.NewReader(docker[:30_000]), iotest.ErrReader(broken)), "", nil)
		if !errors.Is(err, broken) || errors.Is(err, engine.ErrRefused) {
			t.Errorf("got %v, want the failure of the sender and no refusal", err)
		}
		wantNothing(t, s)
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("the server stops")
		stream := io.MultiReader(bytes.NewReader(docker[:30_000]), onRead(func() { cancel(cause) }), bytes.NewReader(docker[30_000:]))
		if _, err := s.Import(ctx, stream, "", nil); !errors.Is(err, cause) {
			t.Errorf("got %v, want %v", err, cause)
		}
		wantNothing(t, s)
	})
	t.Run("two at a time, and progress", func(t *testing.T) { testImportAtOnce(t, s, docker) })
	t.Run("over another", func(t *testing.T) { testImportOver(t, s) })
}

func testImportAtOnce(t *testing.T, s *imageStore, archive []byte) {
	heard := &sentences{}
	results := make(chan error, 4)
	for i := range cap(results) {
		go func() {
			_, err := s.Import(t.Context(), iotest.OneByteReader(bytes.NewReader(archive)), fmt.Sprintf("docker.io/local/n:%d", i), heard.tell)
			results <- err
		}()
	}
	for range cap(results) {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	list, err := s.Images(t.Context())
	if err != nil || len(list) != cap(results) {
		t.Errorf("got %v, %v", list, err)
	}
	for _, text := range []string{"received ", "unpacking local/n:0"} {
		if !strings.Contains(heard.all(), text) {
			t.Errorf("nobody said %q", text)
		}
	}
}

func testImportOver(t *testing.T, s *imageStore) {
	other := dockerArchive(t, map[string]v1.Image{"x:1": imagetest.Image(t, []byte("new"))})
	if _, err := s.Import(t.Context(), bytes.NewReader(other), "docker.io/local/n:0", nil); err != nil {
		t.Fatal(err)
	}
	snapshotFiles(t, s, "docker.io/local/n:0", func(root string) {
		if content, err := os.ReadFile(filepath.Join(root, "data", "0")); err != nil || string(content) != "new" {
			t.Errorf("it holds %q, %v", content, err)
		}
	})
}

// onRead is an empty reader that calls a function when it is read.
type onRead func()

func (f onRead) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}
