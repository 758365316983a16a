package wholefile_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-hpc/berth/internal/wholefile"
)

// TestWrite: what was there, and what a killed server has left half written, is replaced, its mode included.
func TestWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for name, text := range map[string]string{path: "old and longer", path + wholefile.Unfinished: "half of something longer"} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := wholefile.Write(path, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "new" {
		t.Errorf("the file has %q, %v", text, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != fs.FileMode(0o600) {
		t.Errorf("the mode is %v, %v", info.Mode(), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("beside it there is something: %v, %v", entries, err)
	}
	if err := wholefile.Write(filepath.Join(dir, "no", "file"), nil, 0o600); err == nil {
		t.Error("a file in no directory was written")
	}
}
