package containerd

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/image/imagetest"
)

func TestImportRootfs(t *testing.T) {
	s := newTestStore(t)
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("the tests need the Debian package busybox-static: %v", err)
	}
	files := []tar.Header{
		{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./bin/busybox", Typeflag: tar.TypeReg, Mode: 0o4755, Size: int64(len(busybox))},
		{Name: "./bin/sh", Typeflag: tar.TypeSymlink, Linkname: "/bin/busybox"},
		{Name: "./bin/cat", Typeflag: tar.TypeLink, Linkname: "./bin/busybox", Mode: 0o4755},
		{Name: "./dev/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./dev/null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3},
		{Name: "./home/me/", Typeflag: tar.TypeDir, Mode: 0o700, Uid: 505, Gid: 506},
		{Name: "../../outside", Typeflag: tar.TypeReg, Mode: 0o644},
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, header := range files {
		if err := w.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if header.Size > 0 {
			if _, err := w.Write(busybox); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	const ref = "docker.io/local/busybox:latest"
	heard := &sentences{}
	var images []engine.Image
	for _, stream := range [][]byte{b.Bytes(), packed(t, "gzip", b.Bytes())} {
		img, err := s.ImportRootfs(t.Context(), bytes.NewReader(stream), ref, heard.tell)
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, img)
	}
	if images[0].Digest != images[1].Digest || images[0].Name != ref || images[0].Size < int64(len(busybox)) {
		t.Errorf("the same tar became %+v", images)
	}
	if !strings.Contains(heard.all(), "unpacking local/busybox:latest") {
		t.Errorf("progress was %q", heard.all())
	}
	snapshotFiles(t, s, ref, func(root string) { checkBusybox(t, root, busybox) })
	if err := s.RemoveImage(t.Context(), ref); err != nil {
		t.Error(err)
	}
	wantNothing(t, s)
}

func checkBusybox(t *testing.T, root string, busybox []byte) {
	t.Helper()
	for _, name := range []string{"bin/busybox", "bin/cat"} {
		if got, err := os.ReadFile(filepath.Join(root, name)); err != nil || !bytes.Equal(got, busybox) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if info, err := os.Stat(filepath.Join(root, "bin/busybox")); err != nil || info.Mode() != 0o755|fs.ModeSetuid {
		t.Errorf("bin/busybox: %v, %v", info.Mode(), err)
	}
	if link, err := os.Readlink(filepath.Join(root, "bin/sh")); err != nil || link != "/bin/busybox" {
		t.Errorf("bin/sh: %q, %v", link, err)
	}
	var stat unix.Stat_t
	if err := unix.Stat(filepath.Join(root, "home/me"), &stat); err != nil || stat.Uid != 505 || stat.Gid != 506 {
		t.Errorf("home/me: %d:%d, %v", stat.Uid, stat.Gid, err)
	}
	if _, err := os.Lstat(filepath.Join(root, "dev/null")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("dev/null came along: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(root, "outside")); err != nil {
		t.Errorf("a path that points outside did not end inside: %v", err)
	}
}

func TestImportRootfsRefuses(t *testing.T) {
	s := newTestStore(t)
	good := imagetest.Tar(t, tar.Header{Name: "bin/sh", Typeflag: tar.TypeReg, Mode: 0o755}, noise(100_000))
	for name, test := range map[string]struct {
		stream []byte
		says   string
	}{
		"nothing":    {nil, "empty"},
		"text":       {bytes.Repeat([]byte("hello "), 1000), "not a valid tar"},
		"ends early": {good[:50_000], "ends in the middle"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.ImportRootfs(t.Context(), bytes.NewReader(test.stream), "docker.io/local/x:latest", nil)
			wantRefused(t, err, test.says)
			wantNothing(t, s)
		})
	}
	t.Run("the sender goes away", func(t *testing.T) {
		broken := errors.New("broken")
		stream := io.MultiReader(bytes.NewReader(good[:50_000]), iotest.ErrReader(broken))
		_, err := s.ImportRootfs(t.Context(), stream, "docker.io/local/x:latest", nil)
		if !errors.Is(err, broken) || errors.Is(err, engine.ErrRefused) {
			t.Errorf("got %v, want the failure of the sender and no refusal", err)
		}
		wantNothing(t, s)
	})
}
