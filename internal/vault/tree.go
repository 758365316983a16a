package vault

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/berth-hpc/berth"
)

// maxEntries bounds a listing, which is in memory while it is sorted.
const maxEntries = 1_000_000

// Modes of what is made for jobs to find: they own it, and nobody else gets into the folders above the vault.
const (
	fileMode = 0o644
	dirMode  = 0o755
)

// Tree is the files of one vault: what is below its directory and nothing else. Jobs write into it as they like while it is used, so
// every access goes through an os.Root: a link that leads out of it is refused, also one that was made a moment ago. Paths are
// relative to its top, with or without a leading slash; one with ".." is refused. Errors are *berth.Error where the caller can act on
// them. Safe for concurrent use.
type Tree struct {
	root *os.Root
	hold Hold // nil for a directory that stays
}

// Entry is what a listing tells of a file or a directory. A link is listed as itself.
type Entry struct {
	Name string
	Dir  bool
	// Size is in bytes, Modified is when it was written last, Mode is its kind and who may do what with it; all are zero in a listing
	// without details.
	Size     int64
	Mode     fs.FileMode
	Modified time.Time
}

// File is a file of a vault that is open to be read.
type File interface {
	io.ReadSeekCloser
	io.ReaderAt
	Stat() (fs.FileInfo, error)
}

// Open opens the files of a vault, whose directory it makes when no job has needed it yet. The caller closes it. Unsupported for a
// vault that has no directory of the server. Those of block vaults see package blockfiles.
func (d Directories) Open(v berth.Vault) (*Tree, error) {
	if v.Kind != berth.VaultFile {
		return nil, berth.Errorf(berth.Unsupported, "The files of a vault of kind %s can be reached by jobs only", v.Kind)
	}
	if _, err := os.Stat(v.Path); errors.Is(err, fs.ErrNotExist) {
		if err := d.make(v); err != nil {
			return nil, fileError(v.Name, err)
		}
	}
	root, err := os.OpenRoot(v.Path)
	if err != nil {
		return nil, fileError(v.Name, err)
	}
	return &Tree{root: root}, nil
}

// make makes the directory of a vault as its first job would leave it.
func (d Directories) make(v berth.Vault) error {
	dir, err := d.Prepare(v, "", 0)
	if err != nil {
		return err
	}
	return os.Chown(dir, berth.DefaultIdentity.UID, berth.DefaultIdentity.GID)
}

// List lists a directory in no order, without the directories "." and "..". TooLarge for one with more than a million entries.
func (t *Tree) List(dir string, details bool) ([]Entry, error) {
	entries := []Entry{}
	err := t.Each(dir, details, func(some []Entry) error {
		entries = append(entries, some...)
		return nil
	})
	return entries, err
}

// Each is List, some entries at a time, which are the caller's. An error of take ends it and is returned.
func (t *Tree) Each(dir string, details bool, take func([]Entry) error) error {
	open, err := t.OpenDir(dir, details)
	if err != nil {
		return err
	}
	defer func() { _ = open.Close() }()
	for total := 0; ; {
		const piece = 1024
		some, err := open.Next(piece)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if total += len(some); total > maxEntries {
			return berth.Errorf(berth.TooLarge, "A directory with more than %d entries is not listed", maxEntries)
		}
		if err := take(some); err != nil {
			return err
		}
	}
}

// Dir is an open directory, of which little is in memory. It is for one goroutine at a time.
type Dir struct {
	at      string
	root    *os.Root
	open    *os.File
	details bool
	hidden  string // the name of an entry that is not the user's
}

// OpenDir opens a directory to be listed like List does, of any size. The caller closes it.
func (t *Tree) OpenDir(dir string, details bool) (*Dir, error) {
	name, err := local(dir)
	if err != nil {
		return nil, err
	}
	d, err := openDir(t.root, name)
	if err != nil {
		return nil, fileError(dir, err)
	}
	if d.at, d.details = dir, details; name == "." {
		d.hidden = uploads
	}
	return d, nil
}

// openDir opens a directory and nothing else: opened by its name alone, a pipe that a job has put there would be waited for without end.
func openDir(root *os.Root, name string) (*Dir, error) {
	folder, err := root.OpenRoot(name + "/.")
	if err != nil {
		return nil, err
	}
	open, err := folder.Open(".")
	if err != nil {
		return nil, errors.Join(err, folder.Close())
	}
	return &Dir{at: name, root: folder, open: open, details: true}, nil
}

// Next returns up to n more entries, perhaps none; io.EOF when there are no more.
func (d *Dir) Next(n int) ([]Entry, error) {
	found, err := d.open.ReadDir(n)
	some := make([]Entry, 0, len(found))
	for _, one := range found {
		entry := Entry{Name: one.Name(), Dir: one.IsDir()}
		if entry.Name != d.hidden && (!d.details || entry.look(d.root)) {
			some = append(some, entry)
		}
	}
	if errors.Is(err, io.EOF) {
		return some, io.EOF
	}
	return some, fileError(d.at, err)
}

// Close closes it.
func (d *Dir) Close() error { return errors.Join(d.open.Close(), d.root.Close()) }

// look fills in the details. It is false when the entry has gone since.
func (e *Entry) look(folder *os.Root) bool {
	info, err := folder.Lstat(e.Name)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	e.Dir, e.Mode, e.Modified = info.IsDir(), info.Mode(), info.ModTime()
	if !e.Dir {
		e.Size = info.Size()
	}
	return true
}

// Stat returns what is at a path, behind links.
func (t *Tree) Stat(at string) (fs.FileInfo, error) {
	name, err := local(at)
	if err != nil {
		return nil, err
	}
	info, err := t.root.Stat(name)
	return info, fileError(at, err)
}

// Lstat returns what is at a path, of a link the link.
func (t *Tree) Lstat(at string) (fs.FileInfo, error) {
	name, err := local(at)
	if err != nil {
		return nil, err
	}
	info, err := t.root.Lstat(name)
	return info, fileError(at, err)
}

// Open opens a file to be read. Invalid for what is no ordinary file: a pipe would have the reader wait for ever.
func (t *Tree) Open(at string) (File, error) { return t.OpenFile(at, os.O_RDONLY) }

// OpenFile opens an ordinary file with the flags of package os. One that it makes belongs to the owner of its directory.
func (t *Tree) OpenFile(at string, flag int) (*os.File, error) {
	name, err := local(at)
	if err != nil {
		return nil, err
	}
	var fresh *os.File
	if flag&os.O_CREATE != 0 {
		fresh, err = t.create(name, flag)
		if err != nil && (!errors.Is(err, fs.ErrExist) || flag&os.O_EXCL != 0) {
			return nil, fileError(at, err)
		}
	}
	if fresh != nil {
		return fresh, nil
	}
	file, err := t.root.OpenFile(name, flag&^(os.O_CREATE|os.O_EXCL)|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fileError(at, err)
	}
	info, err := file.Stat()
	if err == nil && info.Mode().IsRegular() {
		return file, nil
	}
	_ = file.Close()
	if err == nil {
		err = berth.Errorf(berth.Invalid, "Invalid parameter(s): %q is no file", at)
	}
	return nil, fileError(at, err)
}

// create makes a file that is not there yet.
func (t *Tree) create(name string, flag int) (*os.File, error) {
	file, err := t.root.OpenFile(name, flag|os.O_EXCL, fileMode)
	if err != nil {
		return nil, err
	}
	if err := t.give(file, path.Dir(name)); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// give makes the owner of a directory that of a file, by the open file: its name may mean another one by now.
func (t *Tree) give(file *os.File, dir string) error {
	info, err := t.root.Stat(dir)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("owner of %s is not known", dir)
	}
	return file.Chown(int(owner.Uid), int(owner.Gid))
}

// MakeDir makes a directory and those above it. One that is there already is fine.
func (t *Tree) MakeDir(at string) error {
	name, err := local(at)
	if err != nil {
		return err
	}
	return fileError(at, t.makeDir(name))
}

func (t *Tree) makeDir(name string) error {
	info, err := t.root.Stat(name)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return &fs.PathError{Op: "mkdir", Path: name, Err: syscall.EEXIST}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := t.makeDir(path.Dir(name)); err != nil {
		return err
	}
	if err := t.root.Mkdir(name, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	made, err := t.root.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	return errors.Join(t.give(made, path.Dir(name)), made.Close())
}

// Remove removes a file or an empty directory, with all everything that is in it too. The top itself stays.
func (t *Tree) Remove(at string, all bool) error {
	name, err := local(at)
	if err != nil {
		return err
	}
	if name == "." {
		return invalid("the top of a vault cannot be removed")
	}
	if _, err := t.root.Lstat(name); err != nil {
		return fileError(at, err)
	}
	if all {
		return fileError(at, t.root.RemoveAll(name))
	}
	return fileError(at, t.root.Remove(name))
}

// Rename gives a file or a directory another name, in place of a file that has it.
func (t *Tree) Rename(from, to string) error {
	before, err := local(from)
	if err != nil {
		return err
	}
	after, err := local(to)
	if err != nil {
		return err
	}
	return fileError(from, t.root.Rename(before, after))
}

// local returns a path as os.Root wants it, "." for the top.
func local(at string) (string, error) {
	if strings.ContainsRune(at, 0) {
		return "", invalid("a path has no NUL")
	}
	var parts []string
	for part := range strings.SplitSeq(at, "/") {
		switch part {
		case "", ".":
		case "..":
			return "", invalid("a path has no ..")
		default:
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return ".", nil
	}
	if parts[0] == uploads {
		return "", notThere(at)
	}
	return strings.Join(parts, "/"), nil
}

func invalid(detail string) error {
	return &berth.Error{Kind: berth.Invalid, Msg: "Invalid parameter(s)", Detail: "path: " + detail}
}

func notThere(at string) error {
	return &berth.Error{Kind: berth.NotFound, Msg: "No such file or directory", Detail: at}
}

// fileError gives an error of the file system the kind that it has for who asked.
func fileError(at string, err error) error {
	if _, known := errors.AsType[*berth.Error](err); err == nil || known {
		return err
	}
	code, isCode := errors.AsType[syscall.Errno](err)
	if !isCode { // os.Root has no exported error for it
		return &berth.Error{Kind: berth.Invalid, Msg: "Invalid parameter(s)", Detail: "path: it leaves the vault", Err: err}
	}
	var kind berth.Kind
	var text string
	switch code {
	case syscall.ENOENT:
		kind, text = berth.NotFound, "No such file or directory"
	case syscall.ENOTDIR, syscall.EISDIR, syscall.ENAMETOOLONG, syscall.ELOOP, syscall.EINVAL, syscall.ENXIO:
		kind, text = berth.Invalid, "Invalid parameter(s): path"
	case syscall.EEXIST, syscall.ENOTEMPTY, syscall.EBUSY:
		kind, text = berth.Conflict, "Something is in the way"
	case syscall.ENOSPC, syscall.EDQUOT:
		kind, text = berth.NoSpace, "No space left"
	case syscall.EROFS, syscall.EACCES, syscall.EPERM:
		kind, text = berth.Forbidden, "The server may not do this"
	default:
		return err
	}
	return &berth.Error{Kind: kind, Msg: text, Detail: reason(at, kind, code), Err: err}
}

func reason(at string, kind berth.Kind, code syscall.Errno) string {
	if kind == berth.NotFound {
		return at
	}
	return at + ": " + code.Error()
}
