package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

// copied is a database that is a text.
type copied string

func (c copied) Backup(_ context.Context, path string) error {
	if c == "" {
		return fs.ErrInvalid
	}
	return os.WriteFile(path, []byte(c), 0o600)
}

// tree returns the files below a directory.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		name, errRel := filepath.Rel(dir, path)
		files[name] = string(text)
		return errors.Join(err, errRel)
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// backedUp returns a backup of a data directory with two outputs, and the directory.
func backedUp(t *testing.T, outputs bool) ([]byte, string) {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"berth.db": "in use", "credentials": "key", "jobs/0/1/output": "one", "jobs/0/1/report.json": "{}", "jobs/1/1000/output.zst": "two",
		"vaults/ada/data/file": "large", "containerd/x": "y",
	})
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "jobs/0/1/output.zst")); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	maker := Maker{Database: copied("database"), Data: dir, Version: "v1", Now: func() time.Time { return time.Unix(1, 0) }}
	if err := maker.Write(t.Context(), &text, outputs); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "backup-*")); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
	return text.Bytes(), dir
}

func TestABackupIsRestored(t *testing.T) {
	for _, outputs := range []bool{false, true} {
		text, from := backedUp(t, outputs)
		dir := t.TempDir()
		write(t, dir, map[string]string{"restore.new/left": "of a restore that was killed", "credentials": "older", "lock": ""})
		err := Restore(dir, bytes.NewReader(text), func(m Manifest, database string) error {
			want := Manifest{Version: "v1", Made: time.Unix(1, 0).UTC(), Data: from, Outputs: outputs}
			if diff := cmp.Diff(want, m); diff != "" {
				t.Error(diff)
			}
			return os.WriteFile(database, []byte("adapted"), 0o600)
		})
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"berth.db": "adapted", "credentials": "key", "lock": ""}
		if outputs {
			want["jobs/0/1/output"], want["jobs/1/1000/output.zst"] = "one", "two"
		}
		if diff := cmp.Diff(want, tree(t, dir)); diff != "" {
			t.Error(diff)
		}
		if err := Restore(dir, bytes.NewReader(text), nil); !errors.Is(err, ErrInUse) {
			t.Errorf("a directory with a database: %v", err)
		}
	}
}

// TestAnOutputThatIsCompressedMeanwhile is in the backup all the same; one that is deleted is not missed.
func TestAnOutputThatIsCompressedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"1/output.zst": "one"})
	var text bytes.Buffer
	archive := tar.NewWriter(&text)
	for _, name := range []string{"1/output", "2/output"} {
		if err := addOutput(archive, filepath.Join(dir, name), "jobs/"+name); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	reader := tar.NewReader(&text)
	if header, err := reader.Next(); err != nil || header.Name != "jobs/1/output.zst" {
		t.Errorf("%v, %v", header, err)
	}
	if header, err := reader.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("%v, %v", header, err)
	}
}

func TestWhatIsNoWholeBackupLeavesNothing(t *testing.T) {
	whole, _ := backedUp(t, true)
	tests := map[string][]byte{
		"empty": nil, "no archive": []byte("text"), "half": whole[:len(whole)/2], "all but the end": whole[:len(whole)-1],
		"no manifest":      packed(t, tar.Header{Name: "berth.db"}),
		"no database":      packed(t, tar.Header{Name: manifestName}),
		"other files":      packed(t, tar.Header{Name: manifestName}, tar.Header{Name: "bin/berthd"}, tar.Header{Name: "berth.db"}),
		"a path":           packed(t, tar.Header{Name: manifestName}, tar.Header{Name: "jobs/../../output"}, tar.Header{Name: "berth.db"}),
		"a link":           packed(t, tar.Header{Name: manifestName}, tar.Header{Name: "jobs/1/output", Typeflag: tar.TypeSymlink, Linkname: "/etc"}),
		"a file twice":     packed(t, tar.Header{Name: manifestName}, tar.Header{Name: "berth.db"}, tar.Header{Name: "berth.db"}),
		"a file for a dir": packed(t, tar.Header{Name: manifestName}, tar.Header{Name: "jobs/output"}, tar.Header{Name: "jobs/output/output"}),
	}
	for name, text := range tests {
		dir := t.TempDir()
		err := Restore(dir, bytes.NewReader(text), func(Manifest, string) error { return nil })
		if err == nil {
			t.Errorf("%s is restored", name)
		}
		if left := tree(t, dir); len(left) != 0 {
			t.Errorf("%s leaves %v", name, left)
		}
	}
	dir, failed := t.TempDir(), errors.New("failed")
	if err := Restore(dir, bytes.NewReader(whole), func(Manifest, string) error { return failed }); !errors.Is(err, failed) {
		t.Error(err)
	}
	if left := tree(t, dir); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

// packed is a backup with empty files.
func packed(t *testing.T, files ...tar.Header) []byte {
	t.Helper()
	var text bytes.Buffer
	packer, err := zstd.NewWriter(&text)
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewWriter(packer)
	for _, header := range files {
		body := []byte{}
		if header.Name == manifestName {
			if body, err = json.Marshal(Manifest{}); err != nil {
				t.Fatal(err)
			}
		}
		header.Size, header.Mode = int64(len(body)), 0o600
		err := archive.WriteHeader(&header)
		_, errBody := archive.Write(body)
		if err := errors.Join(err, errBody); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(archive.Close(), packer.Close()); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

func TestABackupThatFailsIsNone(t *testing.T) {
	dir := t.TempDir()
	var text bytes.Buffer
	maker := Maker{Database: copied(""), Data: dir, Now: time.Now}
	if err := maker.Write(t.Context(), &text, true); !errors.Is(err, fs.ErrInvalid) || text.Len() != 0 {
		t.Errorf("%v; %d bytes", err, text.Len())
	}
	write(t, dir, map[string]string{"backup-1/berth.db": "left by a crash", "berth.db": "in use"})
	if err := Clean(dir); err != nil {
		t.Fatal(err)
	}
	if left := tree(t, dir); len(left) != 1 || !slices.Contains([]string{"in use"}, left["berth.db"]) {
		t.Errorf("left %v", left)
	}
}
