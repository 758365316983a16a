package sftpd

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pkg/sftp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/vault"
)

// place is a path of a client: a vault and a path in it. Without a vault it is the top.
type place struct{ vault, path string }

// placeOf reads a path, which package sftp has cleaned.
func placeOf(path string) place {
	name, rest, _ := strings.Cut(strings.Trim(path, "/"), "/")
	return place{name, rest}
}

// inside says whether it is below the top of a vault.
func (p place) inside() bool { return p.path != "" }

// Fileread opens a file to be read.
func (l *login) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	file, err := l.openFile(r.Filepath, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	return file, nil
}

// Filewrite opens a file to be written.
func (l *login) Filewrite(r *sftp.Request) (io.WriterAt, error) {
	file, err := l.OpenFile(r)
	if err != nil {
		return nil, err
	}
	return file, nil
}

// OpenFile opens a file to be written, and read if the client likes.
func (l *login) OpenFile(r *sftp.Request) (sftp.WriterAtReaderAt, error) {
	asked := r.Pflags()
	flag := os.O_WRONLY
	if asked.Read {
		flag = os.O_RDWR
	}
	for _, one := range []struct {
		is   bool
		flag int
	}{{asked.Creat, os.O_CREATE}, {asked.Trunc, os.O_TRUNC}, {asked.Excl, os.O_EXCL}} {
		if one.is {
			flag |= one.flag
		}
	}
	return l.openFile(r.Filepath, flag)
}

func (l *login) openFile(path string, flag int) (*handle, error) {
	at := placeOf(path)
	tree, err := l.open(at, flag != os.O_RDONLY)
	if err != nil {
		return nil, l.answer(err)
	}
	if err := l.takeHandle(); err != nil {
		_ = tree.Close()
		return nil, l.answer(err)
	}
	file, err := tree.OpenFile(at.path, flag)
	if err != nil {
		l.handles.Add(-1)
		_ = tree.Close()
		return nil, l.answer(err)
	}
	h := &handle{File: file, tree: tree, login: l}
	context.AfterFunc(tree.Recalled(), func() { _ = h.Close() })
	return h, nil
}

// takeHandle counts one more open file or listing. Each has a descriptor of the server.
func (l *login) takeHandle() error {
	if l.handles.Add(1) > maxHandles {
		l.handles.Add(-1)
		return berth.Errorf(berth.Conflict, "A connection may have %d open files", maxHandles)
	}
	return nil
}

// handle is an open file whose errors do not name the directories of the server. When its vault is wanted elsewhere, and the client does
// nothing with it, it is closed.
type handle struct {
	*os.File
	tree   *vault.Tree
	login  *login
	closed sync.Once
}

// Close closes the file. It is safe to call twice, and while the file is used.
func (h *handle) Close() (err error) {
	h.closed.Do(func() {
		h.login.handles.Add(-1)
		err = errors.Join(h.File.Close(), h.tree.Close())
	})
	return withoutPath(err)
}

// WriteAt writes a part of the file.
func (h *handle) WriteAt(p []byte, offset int64) (int, error) {
	h.tree.Used()
	n, err := h.File.WriteAt(p, offset)
	return n, withoutPath(err)
}

// ReadAt reads a part of the file.
func (h *handle) ReadAt(p []byte, offset int64) (int, error) {
	h.tree.Used()
	n, err := h.File.ReadAt(p, offset)
	return n, withoutPath(err)
}

var errRecalled = errors.New("closed, for it was not used and others wait for the vault")

func withoutPath(err error) error {
	if code, ok := errors.AsType[syscall.Errno](err); ok {
		return code
	}
	if errors.Is(err, os.ErrClosed) {
		return errRecalled
	}
	return err
}

// Filecmd changes what is not the content of a file.
func (l *login) Filecmd(r *sftp.Request) error {
	at := placeOf(r.Filepath)
	if !at.inside() {
		return sftp.ErrSSHFxPermissionDenied // vaults themselves are not made, renamed or removed here
	}
	tree, err := l.open(at, true)
	if err != nil {
		return l.answer(err)
	}
	defer func() { _ = tree.Close() }()
	switch r.Method {
	case "Setstat":
		err = setAttributes(tree, at.path, r)
	case "Rename":
		err = rename(tree, at, placeOf(r.Target), false)
	case "PosixRename":
		err = rename(tree, at, placeOf(r.Target), true)
	case "Mkdir":
		err = tree.MakeDir(at.path)
	case "Rmdir":
		err = remove(tree, at.path, true)
	case "Remove":
		err = remove(tree, at.path, false)
	default:
		return sftp.ErrSSHFxOpUnsupported // links lead where they like
	}
	return l.answer(err)
}

// PosixRename is Rename in place of what has the name.
func (l *login) PosixRename(r *sftp.Request) error { return l.Filecmd(r) }

func setAttributes(tree *vault.Tree, path string, r *sftp.Request) error {
	flags, attributes := r.AttrFlags(), r.Attributes()
	if flags.Size {
		if attributes.Size > 1<<62 {
			return berth.Errorf(berth.Invalid, "The size is too large")
		}
		if err := tree.Truncate(path, int64(attributes.Size)); err != nil {
			return err
		}
	}
	if flags.Permissions {
		if err := tree.Chmod(path, attributes.FileMode().Perm()); err != nil {
			return err
		}
	}
	if flags.Acmodtime {
		return tree.Chtimes(path, attributes.AccessTime(), attributes.ModTime())
	}
	return nil // files belong to the jobs of the vault's user, whatever clients say
}

func rename(tree *vault.Tree, from, to place, replace bool) error {
	if to.vault != from.vault || !to.inside() {
		return berth.Errorf(berth.Unsupported, "A file cannot go to another vault by another name")
	}
	if _, err := tree.Stat(to.path); !replace && berth.KindOf(err) != berth.NotFound {
		return errors.Join(err, berth.Errorf(berth.Conflict, "There is something of this name"))
	}
	return tree.Rename(from.path, to.path)
}

// remove removes a file or a directory, and neither in place of the other.
func remove(tree *vault.Tree, path string, dir bool) error {
	info, err := tree.Lstat(path)
	if err != nil {
		return err
	}
	if info.IsDir() != dir {
		return berth.Errorf(berth.Invalid, "A directory is no file")
	}
	return tree.Remove(path, false)
}

// Filelist lists a directory, or shows one file.
func (l *login) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	switch r.Method {
	case "List":
		return l.list(placeOf(r.Filepath))
	case "Stat":
		return l.stat(r, (*vault.Tree).Stat)
	default:
		return nil, sftp.ErrSSHFxOpUnsupported
	}
}

// Lstat shows one file, and a link itself.
func (l *login) Lstat(r *sftp.Request) (sftp.ListerAt, error) { return l.stat(r, (*vault.Tree).Lstat) }

func (l *login) stat(r *sftp.Request, look func(*vault.Tree, string) (fs.FileInfo, error)) (sftp.ListerAt, error) {
	at := placeOf(r.Filepath)
	if at.vault == "" {
		return lister{directory("/")}, nil
	}
	tree, err := l.open(at, false)
	if err != nil {
		return nil, l.answer(err)
	}
	defer func() { _ = tree.Close() }()
	info, err := look(tree, at.path)
	if err != nil {
		return nil, l.answer(err)
	}
	return lister{info}, nil
}

func (l *login) list(at place) (sftp.ListerAt, error) {
	if at.vault == "" {
		infos, err := l.vaults()
		return lister(infos), l.answer(err)
	}
	tree, err := l.open(at, false)
	if err != nil {
		return nil, l.answer(err)
	}
	if err := l.takeHandle(); err != nil {
		_ = tree.Close()
		return nil, l.answer(err)
	}
	dir, err := tree.OpenDir(at.path, true)
	if err != nil {
		l.handles.Add(-1)
		_ = tree.Close()
		return nil, l.answer(err)
	}
	list := &listing{dir: dir, tree: tree, login: l}
	context.AfterFunc(tree.Recalled(), func() { _ = list.Close() })
	return list, nil
}

// listing is a directory that is read as the client asks for it, so that a large one needs no memory.
type listing struct {
	mu     sync.Mutex
	closed bool
	dir    *vault.Dir
	tree   *vault.Tree
	login  *login
}

// ListAt fills infos with what comes next, whatever the offset: clients can only go on.
func (l *listing) ListAt(infos []fs.FileInfo, _ int64) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, errRecalled
	}
	l.tree.Used()
	for {
		entries, err := l.dir.Next(len(infos))
		for i, entry := range entries {
			infos[i] = listed{entry}
		}
		if err != nil && !errors.Is(err, io.EOF) {
			err = l.login.answer(err)
		}
		if len(entries) > 0 || err != nil {
			return len(entries), err
		}
	}
}

// Close closes the directory. It is safe to call twice, and while the directory is listed: it waits for that, because package os gives the
// memory of an open directory to the next one that is listed.
func (l *listing) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	l.login.handles.Add(-1)
	return errors.Join(l.dir.Close(), l.tree.Close())
}

func (l *login) vaults() ([]fs.FileInfo, error) {
	caller, err := l.again()
	if err != nil {
		return nil, err
	}
	vaults, err := l.server.cfg.Access.FileVaults(context.WithoutCancel(l.ctx), caller)
	infos := make([]fs.FileInfo, len(vaults))
	for i, v := range vaults {
		infos[i] = directory(v.Name)
	}
	return infos, err
}

// lister gives out a listing in pieces.
type lister []fs.FileInfo

// ListAt fills infos with what is from offset on.
func (l lister) ListAt(infos []fs.FileInfo, offset int64) (int, error) {
	if offset >= int64(len(l)) {
		return 0, io.EOF
	}
	n := copy(infos, l[offset:])
	if n < len(infos) {
		return n, io.EOF
	}
	return n, nil
}

// listed is an entry of a vault as clients see it.
type listed struct{ vault.Entry }

// directory is a vault as an entry of the top. It has no time; this is the first that clients know.
func directory(name string) listed {
	return listed{vault.Entry{Name: name, Dir: true, Mode: fs.ModeDir | 0o755, Modified: time.Unix(0, 0)}}
}

func (l listed) Name() string       { return l.Entry.Name }
func (l listed) Size() int64        { return l.Entry.Size }
func (l listed) ModTime() time.Time { return l.Modified }
func (l listed) IsDir() bool        { return l.Dir }
func (l listed) Mode() fs.FileMode  { return l.Entry.Mode }
func (l listed) Sys() any           { return nil }

// answer returns an error as clients understand it.
func (l *login) answer(err error) error {
	if err == nil {
		return nil
	}
	public, ok := errors.AsType[*berth.Error](err)
	if !ok || public.Kind == berth.Internal {
		l.server.cfg.Log.ErrorContext(l.ctx, "sftp request failed", "user", l.user, "error", err)
		return errors.New("internal error")
	}
	denied := []berth.Kind{berth.Forbidden, berth.Unauthenticated, berth.LimitReached}
	switch {
	case public.Kind == berth.NotFound:
		return sftp.ErrSSHFxNoSuchFile
	case slices.Contains(denied, public.Kind):
		return sftp.ErrSSHFxPermissionDenied
	default:
		return errors.New(public.Public())
	}
}
