package image_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/image"
)

// entry is a file of a tar, as tests compare it.
type entry struct {
	Name, Link, Content string
	Type                byte
	Mode                int64
	UID                 int
	Modified            time.Time
	Xattr               string
}

const xattr = "SCHILY.xattr.user.kind"

func writeTar(t testing.TB, format tar.Format, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{
			Name: e.Name, Linkname: e.Link, Typeflag: e.Type, Mode: e.Mode, Uid: e.UID, ModTime: e.Modified,
			Size: int64(len(e.Content)), Format: format,
		}
		if e.Xattr != "" {
			h.PAXRecords = map[string]string{xattr: e.Xattr}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.Content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readTar(t testing.TB, b []byte) []entry {
	t.Helper()
	var entries []entry
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return entries
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry{
			Name: h.Name, Link: h.Linkname, Content: string(content), Type: h.Typeflag, Mode: h.Mode, UID: h.Uid,
			Modified: h.ModTime, Xattr: h.PAXRecords[xattr],
		})
	}
}

var modified = time.Unix(1_700_000_000, 0)

// rootfs is what a root filesystem is made of, with what must survive the way.
func rootfs() []entry {
	return []entry{
		{Name: "./", Type: tar.TypeDir, Mode: 0o755, Modified: modified},
		{Name: "./bin/", Type: tar.TypeDir, Mode: 0o755, Modified: modified},
		{Name: "./bin/su", Type: tar.TypeReg, Mode: 0o4755, Content: strings.Repeat("binary", 1000), Modified: modified},
		{Name: "./bin/sh", Type: tar.TypeSymlink, Mode: 0o777, Link: "/bin/su", Modified: modified},
		{Name: "./bin/hard", Type: tar.TypeLink, Mode: 0o4755, Link: "./bin/su", Modified: modified},
		{Name: "./run/pipe", Type: tar.TypeFifo, Mode: 0o600, UID: 1234, Modified: modified},
		{Name: "./" + strings.Repeat("long/", 60) + "n\u00e4me", Type: tar.TypeReg, Mode: 0o644, UID: 3_000_000, Modified: modified},
	}
}

func pack(t testing.TB, how string, b []byte) []byte {
	t.Helper()
	var packed bytes.Buffer
	var w io.WriteCloser
	switch how {
	case "gzip":
		w = gzip.NewWriter(&packed)
	case "zstd":
		encoder, err := zstd.NewWriter(&packed)
		if err != nil {
			t.Fatal(err)
		}
		w = encoder
	default:
		return b
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

func TestWriteLayer(t *testing.T) {
	exact := entry{
		Name: "fine", Type: tar.TypeReg, Mode: 0o600, Content: "x", Xattr: "capability", Modified: modified.Add(5 * time.Nanosecond),
	}
	for _, how := range []string{"plain", "gzip", "zstd"} {
		t.Run("gnu "+how, func(t *testing.T) { testWriteLayer(t, how, tar.FormatGNU, rootfs()) })
		t.Run("pax "+how, func(t *testing.T) { testWriteLayer(t, how, tar.FormatPAX, append(rootfs(), exact)) })
	}
}

func testWriteLayer(t *testing.T, how string, format tar.Format, want []entry) {
	t.Helper()
	left := []entry{
		{Name: "./dev/null", Type: tar.TypeChar, Mode: 0o666, Modified: modified},
		{Name: "./bin/.wh.sh", Type: tar.TypeReg, Mode: 0o666, Modified: modified},
	}
	in := pack(t, how, writeTar(t, format, append(left, want...)...))
	var out bytes.Buffer
	source := image.NewSource(bytes.NewReader(in))
	layer, err := image.WriteLayer(&out, source)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, readTar(t, out.Bytes())); diff != "" {
		t.Error(diff)
	}
	wantLayer := image.Layer{Digest: digest.FromBytes(out.Bytes()), Size: int64(out.Len()), Entries: len(want)}
	if diff := cmp.Diff(wantLayer, layer); diff != "" {
		t.Error(diff)
	}
	if source.Count() != int64(len(in)) {
		t.Errorf("counted %d of %d bytes", source.Count(), len(in))
	}
}

func TestWriteLayerRefuses(t *testing.T) {
	good := writeTar(t, tar.FormatPAX, rootfs()...)
	packed := pack(t, "gzip", good)
	checksum := bytes.Clone(packed)
	checksum[len(checksum)-6] ^= 1
	damaged := bytes.Clone(good)
	damaged[512+10] ^= 1 // in the second header
	for name, test := range map[string]struct {
		in   []byte
		says string
	}{
		"nothing":                  {nil, "empty"},
		"no tar":                   {bytes.Repeat([]byte("no tar at all "), 1000), "does not begin like one"},
		"short":                    {[]byte("x"), "ends in the middle"},
		"no entries":               {writeTar(t, tar.FormatPAX), "empty"},
		"only devices":             {writeTar(t, tar.FormatPAX, entry{Name: "null", Type: tar.TypeChar}), "empty"},
		"ends in a file":           {good[:4000], "ends in the middle, after 2 entries"},
		"ends between two entries": {good[:1024], "ends in the middle, after 2 entries"},
		"a damaged header":         {damaged, "damaged after 1 entries"},
		"gzip that ends early":     {packed[:len(packed)-20], "ends in the middle"},
		"gzip of a wrong checksum": {checksum, "damaged"},
		"gzip of nothing":          {[]byte{0x1f, 0x8b, 1}, "gzip"},
		"xz":                       {append([]byte{0xfd, '7', 'z', 'X', 'Z', 0}, good...), "xz"},
		"bzip2":                    {append([]byte("BZh9"), good...), "bzip2"},
		"zstd of nothing":          {[]byte{0x28, 0xb5, 0x2f, 0xfd, 0xff, 0xff, 0xff}, "tar"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := image.WriteLayer(io.Discard, image.NewSource(bytes.NewReader(test.in)))
			if !errors.Is(err, engine.ErrRefused) || !strings.Contains(image.Reason(err), test.says) {
				t.Errorf("got %v, want a refusal that says %q", err, test.says)
			}
		})
	}
}

// A failing disk or a client that goes away in the middle is no reason to refuse what was sent.
func TestWriteLayerFailures(t *testing.T) {
	good := writeTar(t, tar.FormatPAX, rootfs()...)
	broken := errors.New("broken")
	readers := map[string]io.Reader{
		"plain":         io.MultiReader(bytes.NewReader(good[:4000]), iotest.ErrReader(broken)),
		"gzip":          io.MultiReader(bytes.NewReader(pack(t, "gzip", good)[:200]), iotest.ErrReader(broken)),
		"zstd":          io.MultiReader(bytes.NewReader(pack(t, "zstd", good)[:200]), iotest.ErrReader(broken)),
		"at once":       iotest.ErrReader(broken),
		"after the end": io.MultiReader(bytes.NewReader(good), iotest.ErrReader(broken)),
	}
	for name, r := range readers {
		t.Run("reading "+name, func(t *testing.T) {
			_, err := image.WriteLayer(io.Discard, image.NewSource(r))
			if !errors.Is(err, broken) || errors.Is(err, engine.ErrRefused) {
				t.Errorf("got %v, want the failure of the reader and no refusal", err)
			}
		})
	}
	t.Run("writing", func(t *testing.T) {
		_, err := image.WriteLayer(failing{broken}, image.NewSource(bytes.NewReader(good)))
		if !errors.Is(err, broken) || errors.Is(err, engine.ErrRefused) {
			t.Errorf("got %v, want the failure of the writer and no refusal", err)
		}
	})
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func FuzzWriteLayer(f *testing.F) {
	good := writeTar(f, tar.FormatPAX, rootfs()...)
	f.Add(good)
	f.Add(good[:1024])
	f.Add(pack(f, "gzip", good))
	f.Add(pack(f, "zstd", good))
	f.Fuzz(func(t *testing.T, in []byte) {
		var out bytes.Buffer
		layer, err := image.WriteLayer(&out, image.NewSource(bytes.NewReader(in)))
		if err != nil {
			if !errors.Is(err, engine.ErrRefused) {
				t.Errorf("%v is no refusal", err)
			}
			return
		}
		if got := len(readTar(t, out.Bytes())); got != layer.Entries {
			t.Errorf("%d entries were written, %d can be read", layer.Entries, got)
		}
	})
}

// The real tar packs files with holes in two ways; both come out as the files that they were.
func TestWriteLayerSparse(t *testing.T) {
	dir := t.TempDir()
	want := entry{Name: "sparse", Type: tar.TypeReg, Mode: 0o600, Content: strings.Repeat("\x00", 1<<20) + "end", Modified: modified}
	file, err := os.Create(filepath.Join(dir, want.Name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte("end"), 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(file.Chmod(0o600), file.Close(), os.Chtimes(file.Name(), modified, modified)); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"gnu", "pax"} {
		packed, err := exec.CommandContext(t.Context(), "tar", "--sparse", "--format="+format, "--owner=0", "-C", dir, "-c", want.Name).Output()
		if err != nil {
			t.Fatal(err)
		}
		if len(packed) > 1<<19 {
			t.Fatalf("%s: tar wrote %d bytes, so it packed no hole", format, len(packed))
		}
		var out bytes.Buffer
		if _, err := image.WriteLayer(&out, image.NewSource(bytes.NewReader(packed))); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]entry{want}, readTar(t, out.Bytes())); diff != "" {
			t.Errorf("%s: %.300s", format, diff)
		}
	}
}
