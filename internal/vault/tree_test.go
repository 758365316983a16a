package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
)

// openTree returns the files of a vault that is at path, and a directory beside it that nobody may reach.
func openTree(t *testing.T) (tree *Tree, path, outside string) {
	t.Helper()
	base := t.TempDir()
	d := Directories{Files: filepath.Join(base, "vaults"), Scratch: filepath.Join(base, "scratch")}
	v := berth.Vault{Name: "data", Owner: "ada", Kind: berth.VaultFile, Path: d.FilePath("ada", "data")}
	tree, err := d.Open(v)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	outside = filepath.Join(base, "outside")
	if err := os.Mkdir(outside, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	return tree, v.Path, outside
}

func put(t *testing.T, tree *Tree, at, text string) {
	t.Helper()
	if size, err := tree.Put(at, Upload{}, strings.NewReader(text)); err != nil || size != int64(len(text)) {
		t.Fatalf("Put %s: %d, %v", at, size, err)
	}
}

// text returns a file, or what kind of error there is.
func text(t *testing.T, tree *Tree, at string) string {
	t.Helper()
	file, err := tree.Open(at)
	if err != nil {
		return string(berth.KindOf(err))
	}
	defer file.Close()
	content, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func names(t *testing.T, tree *Tree, dir string) []string {
	t.Helper()
	entries, err := tree.List(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	found := []string{}
	for _, e := range entries {
		found = append(found, fmt.Sprintf("%s %d %v", e.Name, e.Size, e.Dir))
	}
	slices.Sort(found)
	return found
}

func TestFilesAreStoredReadListedAndRemoved(t *testing.T) {
	tree, path, _ := openTree(t)
	put(t, tree, "/a/b/one.txt", "one")
	put(t, tree, "a//./two", "twotwo")
	if err := tree.MakeDir("a/empty/deep"); err != nil {
		t.Fatal(err)
	}
	put(t, tree, "a/two", "2") // in place of the old one
	if diff := cmp.Diff([]string{"b 0 true", "empty 0 true", "two 1 false"}, names(t, tree, "/a/")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a 0 true"}, names(t, tree, "/")); diff != "" {
		t.Errorf("the top shows what is not the user's: %s", diff)
	}
	if got := text(t, tree, "a/b/one.txt"); got != "one" {
		t.Errorf("read %q", got)
	}
	for at, want := range map[string]berth.Kind{"a": berth.Conflict, "/": berth.Invalid, "a/none": berth.NotFound, "a/two": ""} {
		if err := tree.Remove(at, false); berth.KindOf(err) != want {
			t.Errorf("Remove %s: %v", at, err)
		}
	}
	if err := tree.Remove("a", true); err != nil || len(names(t, tree, ".")) != 0 {
		t.Errorf("Remove with everything: %v", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

// TestOwnerOfUploads: the jobs of the vault's user own what comes from outside.
func TestOwnerOfUploads(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	tree, path, _ := openTree(t)
	put(t, tree, "new/file", "x")
	if err := os.Mkdir(filepath.Join(path, "other"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(path, "other"), 1234, 1235); err != nil {
		t.Fatal(err)
	}
	put(t, tree, "other/dir/file", "x")
	for at, want := range map[string][2]uint32{"new": {505, 505}, "new/file": {505, 505}, "other/dir": {1234, 1235}, "other/dir/file": {1234, 1235}} {
		info, err := os.Stat(filepath.Join(path, at))
		if err != nil {
			t.Fatal(err)
		}
		if stat := info.Sys().(*syscall.Stat_t); stat.Uid != want[0] || stat.Gid != want[1] || info.Mode().Perm()&0o444 != 0o444 {
			t.Errorf("%s belongs to %d:%d, mode %v", at, stat.Uid, stat.Gid, info.Mode())
		}
	}
}

// TestNothingLeadsOutside: a job can write any link and any pipe into its vault.
func TestNothingLeadsOutside(t *testing.T) {
	tree, path, outside := openTree(t)
	for name, target := range map[string]string{
		"absolute": outside, "relative": "../../../outside", "file": filepath.Join(outside, "secret"), "proc": "/proc/self/root",
		"loop": "loop", "dangling": "nowhere",
	} {
		if err := os.Symlink(target, filepath.Join(path, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(path, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{
		"absolute/secret", "relative/secret", "file", "proc/etc/passwd", "../../../outside/secret", "a/../../x", "..", "loop", "pipe", ".",
		"nul\x00", strings.Repeat("x", 300), strings.Repeat("x/", 3000), "/" + outside + "/secret", "dangling", ".berth-uploads", ".berth-uploads/x",
	} {
		kinds := []berth.Kind{berth.Invalid, berth.NotFound}
		if got := text(t, tree, at); !slices.Contains(kinds, berth.Kind(got)) {
			t.Errorf("Open %.40q: %.40q", at, got)
		}
	}
	refuseWrites(t, tree)
	if _, err := tree.List("absolute", true); berth.KindOf(err) != berth.Invalid {
		t.Errorf("List: %v", err)
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) != 1 {
		t.Errorf("outside there is %v, %v", left, err)
	}
	put(t, tree, "file", "mine") // the link itself is replaced
	if secret, err := os.ReadFile(filepath.Join(outside, "secret")); err != nil || string(secret) != "secret" {
		t.Errorf("secret %q, %v", secret, err)
	}
	if err := tree.Remove("absolute", true); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(outside, "secret")); err != nil {
		t.Error(err)
	}
}

// refuseWrites tries to change what is outside.
func refuseWrites(t *testing.T, tree *Tree) {
	t.Helper()
	for _, at := range []string{"absolute/new", "relative/new", "proc/tmp/new", "../new", "nul\x00/new", ".berth-uploads/new"} {
		_, errPut := tree.Put(at, Upload{}, strings.NewReader("x"))
		_, errOpen := tree.OpenFile(at, os.O_CREATE|os.O_WRONLY)
		for _, err := range []error{errPut, errOpen, tree.MakeDir(at), tree.Remove(strings.TrimSuffix(at, "new")+"secret", true), tree.Rename("dangling", at)} {
			if kind := berth.KindOf(err); kind != berth.Invalid && kind != berth.NotFound {
				t.Errorf("%q: %v", at, err)
			}
		}
	}
}

func TestABrokenUploadIsContinued(t *testing.T) {
	tree, _, _ := openTree(t)
	put(t, tree, "file", "old")
	broken := errors.New("broken")
	up := Upload{ID: "upload01"}
	if _, err := tree.Uploaded(up.ID); berth.KindOf(err) != berth.NotFound {
		t.Errorf("before: %v", err)
	}
	_, err := tree.Put("file", up, io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || text(t, tree, "file") != "old" {
		t.Fatalf("%v; the file is %q", err, text(t, tree, "file"))
	}
	if n, err := tree.Uploaded(up.ID); err != nil || n != 3 {
		t.Errorf("uploaded %d, %v", n, err)
	}
	if _, err := tree.Put("file", Upload{ID: up.ID, Offset: 4}, strings.NewReader("x")); berth.KindOf(err) != berth.Conflict {
		t.Errorf("a gap: %v", err)
	}
	for _, id := range []string{"short", "../../../x", "UPPERCASE", strings.Repeat("x", 65)} {
		_, err := tree.Put("file", Upload{ID: id}, strings.NewReader("x"))
		if _, errAsked := tree.Uploaded(id); berth.KindOf(err) != berth.Invalid || berth.KindOf(errAsked) != berth.Invalid {
			t.Errorf("upload %q: %v, %v", id, err, errAsked)
		}
	}
	up.Offset = 2 // the client knows of less than has come
	if size, err := tree.Put("file", up, strings.NewReader("CD")); err != nil || size != 4 || text(t, tree, "file") != "abCD" {
		t.Errorf("%d, %v; the file is %q", size, err, text(t, tree, "file"))
	}
	if _, err := tree.Uploaded(up.ID); berth.KindOf(err) != berth.NotFound {
		t.Errorf("after: %v", err)
	}
}

// TestOnlyOneSendsToAnUpload: what two connections send must not mix.
func TestOnlyOneSendsToAnUpload(t *testing.T) {
	tree, _, _ := openTree(t)
	reader, writer := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := tree.Put("file", Upload{ID: "upload01"}, reader)
		done <- err
	}()
	if _, err := io.WriteString(writer, "first"); err != nil { // it has the upload now
		t.Fatal(err)
	}
	if _, err := tree.Put("file", Upload{ID: "upload01"}, strings.NewReader("second")); berth.KindOf(err) != berth.Unavailable {
		t.Errorf("second: %v", err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || text(t, tree, "file") != "first" {
		t.Errorf("%v; the file is %q", err, text(t, tree, "file"))
	}
}

func TestABrokenUploadWithoutANameLeavesNothing(t *testing.T) {
	tree, path, _ := openTree(t)
	if _, err := tree.Put("file", Upload{}, iotest.ErrReader(io.ErrUnexpectedEOF)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	left, err := os.ReadDir(filepath.Join(path, uploads))
	if err != nil || len(left) != 0 || text(t, tree, "file") != string(berth.NotFound) {
		t.Errorf("left %v, %v", left, err)
	}
}

// TestAPipeIsNotWaitedFor: jobs can put one wherever a directory is expected, and nobody ever writes to it.
func TestAPipeIsNotWaitedFor(t *testing.T) {
	tree, path, _ := openTree(t)
	for _, name := range []string{"pipe", uploads} {
		if err := syscall.Mkfifo(filepath.Join(path, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("pipe", filepath.Join(path, "link")); err != nil {
		t.Fatal(err)
	}
	_, errUpload := tree.Put("file", Upload{}, strings.NewReader("x"))
	if berth.KindOf(errUpload) != berth.Invalid {
		t.Errorf("Put: %v", errUpload)
	}
	for what, do := range map[string]func() error{
		"List":           func() error { _, err := tree.List("pipe", true); return err },
		"List by a link": func() error { _, err := tree.List("link", true); return err },
	} {
		done := make(chan error, 1)
		go func() { done <- do() }()
		select {
		case err := <-done:
			if err == nil {
				t.Errorf("%s: a pipe is no directory", what)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s waits for a pipe", what)
		}
	}
	if _, err := tree.List("pipe", true); berth.KindOf(err) != berth.Invalid {
		t.Errorf("List: %v", err)
	}
}

// TestAFullDisk has a file system of its own.
func TestAFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	tree, err := Directories{}.Open(berth.Vault{Name: "data", Owner: "ada", Kind: berth.VaultFile, Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	put(t, tree, "file", "old")
	for _, up := range []Upload{{}, {ID: "upload01"}} {
		_, err = tree.Put("file", up, bytes.NewReader(make([]byte, 2<<20)))
		if berth.KindOf(err) != berth.NoSpace || text(t, tree, "file") != "old" {
			t.Errorf("%v; the file is %q", err, text(t, tree, "file"))
		}
	}
	if left, err := os.ReadDir(filepath.Join(dir, uploads)); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
	put(t, tree, "small", "there is room again")
}

func TestOtherKindsHaveNoFilesHere(t *testing.T) {
	_, err := Directories{}.Open(berth.Vault{Name: "x", Kind: berth.VaultEphemeral})
	if berth.KindOf(err) != berth.Unsupported {
		t.Error(err)
	}
	_, err = Directories{}.Open(berth.Vault{Name: "x", Kind: berth.VaultFile, Path: "/proc/self/status"})
	if berth.KindOf(err) != berth.Invalid || errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
