package vault

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/berth-hpc/berth"
)

func TestOldUploadsAreForgotten(t *testing.T) {
	tree, path, _ := openTree(t)
	if err := tree.Forget(time.Now()); err != nil {
		t.Errorf("without any: %v", err)
	}
	for _, id := range []string{"oldupload", "newupload"} {
		_, _ = tree.Put("file", Upload{ID: id}, io.MultiReader(strings.NewReader("x"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(path, uploads, "oldupload"), old, old); err != nil {
		t.Fatal(err)
	}
	if err := tree.Forget(time.Now().Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	_, errOld := tree.Uploaded("oldupload")
	if n, err := tree.Uploaded("newupload"); berth.KindOf(errOld) != berth.NotFound || n != 1 || err != nil {
		t.Errorf("old: %v; new: %d, %v", errOld, n, err)
	}
}

// TestForgettingFollowsNoLink that a job has put in the place of the uploads: not out of the vault, and not to what else is in it. It is no
// error, or jobs could fill the log.
func TestForgettingFollowsNoLink(t *testing.T) {
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, plant := range map[string]func(string) error{
		"inside":  func(at string) error { return os.Symlink("results", at) },
		"outside": func(at string) error { return os.Symlink(outside, at) },
		"a pipe":  func(at string) error { return syscall.Mkfifo(at, 0o600) },
		"a file":  func(at string) error { return os.WriteFile(at, nil, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			tree, path, _ := openTree(t)
			put(t, tree, "results/file", "mine")
			planted := filepath.Join(path, uploads)
			if err := errors.Join(os.RemoveAll(planted), plant(planted)); err != nil {
				t.Fatal(err)
			}
			if err := tree.Forget(time.Now().Add(time.Hour)); err != nil {
				t.Error(err)
			}
			for _, file := range []string{planted, filepath.Join(path, "results", "file"), filepath.Join(outside, "file")} {
				if _, err := os.Lstat(file); err != nil {
					t.Errorf("it removed %s: %v", file, err)
				}
			}
		})
	}
}

// TestForgettingLooksAtWhatItOpened: the link can come after the look.
func TestForgettingLooksAtWhatItOpened(t *testing.T) {
	tree, path, _ := openTree(t)
	put(t, tree, "results/file", "mine")
	found, err := tree.root.Lstat(uploads)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.RemoveAll(filepath.Join(path, uploads)), os.Symlink("results", filepath.Join(path, uploads))); err != nil {
		t.Fatal(err)
	}
	if err := tree.forgetIn(found, time.Now().Add(time.Hour)); err != nil || text(t, tree, "results/file") != "mine" {
		t.Errorf("%v; the file is %q", err, text(t, tree, "results/file"))
	}
}
