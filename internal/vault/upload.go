package vault

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/crashpoint"
)

// uploads is the directory at the top of a vault that holds what has come of files that are on their way. It is on the file system of
// the vault, so that a file is there at once when it is complete. Jobs cannot enter it; they may remove it, and lose what is in it.
const uploads = ".berth-uploads"

// uploadID is what a client may name an upload.
var uploadID = regexp.MustCompile(`^[a-z0-9]{8,64}$`)

// Upload says which part of a file comes.
type Upload struct {
	// ID names an upload that can be continued: what came of it is kept when it breaks off. Empty for one that cannot.
	ID string
	// Offset is how much of the file was sent before, in bytes.
	Offset int64
}

// Put reads a file from source to its end and puts it at a path, whole, in place of what is there; the directories above it are made.
// A failure leaves what was there before, and of an upload with an ID what came of it, unless the disk is full: then it leaves
// nothing. It returns the size of the file. Conflict when less was sent before than the upload says; Unavailable while another
// request sends to it. An error of source is returned as it is.
func (t *Tree) Put(at string, up Upload, source io.Reader) (size int64, err error) {
	name, err := local(at)
	switch {
	case err != nil:
		return 0, err
	case name == ".":
		return 0, invalid("the name of the file is missing")
	case up.ID != "" && !uploadID.MatchString(up.ID), up.ID == "" && up.Offset > 0:
		return 0, invalidUpload()
	}
	if err := t.makeDir(path.Dir(name)); err != nil {
		return 0, fileError(at, err)
	}
	if info, err := t.root.Stat(name); err == nil && info.IsDir() {
		return 0, fileError(at, &fs.PathError{Op: "put", Path: at, Err: syscall.EISDIR})
	}
	part, err := t.openPart(up)
	if err != nil {
		return 0, fileError(at, err)
	}
	defer func() { _ = part.Close() }() // what matters was synced
	size, errSource, err := receive(part, up.Offset, source)
	if err == nil && errSource == nil {
		err = t.commit(part, name)
	}
	if err != nil || errSource != nil && up.ID == "" {
		_ = t.root.Remove(partName(part)) // a leftover goes with the old ones
	}
	if errSource != nil {
		return size, errSource
	}
	return size, fileError(at, err)
}

// Uploaded returns how much of an upload has come, in bytes; NotFound when nothing has.
func (t *Tree) Uploaded(id string) (int64, error) {
	if !uploadID.MatchString(id) {
		return 0, invalidUpload()
	}
	info, err := t.root.Lstat(path.Join(uploads, id))
	if err != nil {
		return 0, fileError(id, err)
	}
	return info.Size(), nil
}

func invalidUpload() error {
	return &berth.Error{Kind: berth.Invalid, Msg: "Invalid parameter(s)", Detail: "upload: 8 to 64 small letters and digits are allowed, and needed to go on with a file"}
}

// openPart opens the file that holds what has come, and keeps others from writing to it.
func (t *Tree) openPart(up Upload) (*os.File, error) {
	id := up.ID
	if id == "" {
		id = strings.ToLower(rand.Text())
	}
	if err := t.root.Mkdir(uploads, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	part, err := t.root.OpenFile(path.Join(uploads, id), os.O_WRONLY|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	if err := claim(part, up.Offset); err != nil {
		_ = part.Close()
		return nil, err
	}
	return part, nil
}

// claim locks a part and checks that it goes on at offset. More than that may have come before than the client knows.
func claim(part *os.File, offset int64) error {
	if err := syscall.Flock(int(part.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return &berth.Error{Kind: berth.Unavailable, Msg: "The upload is being received by another request", Err: err}
	}
	info, err := part.Stat()
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return berth.Errorf(berth.Conflict, "The upload was replaced by something else")
	case info.Size() < offset:
		return berth.Errorf(berth.Conflict, "The upload has %d bytes, and was to go on at %d", info.Size(), offset)
	}
	return part.Truncate(offset)
}

// receive appends what source has. It tells the errors of the two sides apart.
func receive(part *os.File, offset int64, source io.Reader) (size int64, errSource, err error) {
	if _, err := part.Seek(offset, io.SeekStart); err != nil {
		return offset, nil, err
	}
	const piece = 128 << 10 // there may be hundreds of uploads
	block := make([]byte, piece)
	for size = offset; ; {
		n, errRead := source.Read(block)
		written, errWrite := part.Write(block[:n])
		size += int64(written)
		switch {
		case errWrite != nil:
			return size, nil, errWrite
		case errors.Is(errRead, io.EOF):
			return size, nil, nil
		case errRead != nil:
			return size, errRead, nil
		}
	}
}

// commit makes a complete part the file of this name.
func (t *Tree) commit(part *os.File, name string) error {
	if err := t.give(part, path.Dir(name)); err != nil {
		return err
	}
	if err := errors.Join(part.Chmod(fileMode), part.Sync()); err != nil {
		return err
	}
	crashpoint.Here("vault.commit")
	if err := t.root.Rename(partName(part), name); err != nil {
		return err
	}
	return t.syncDir(path.Dir(name))
}

// syncDir has the name of a file on disk: it is answered that the file is stored.
func (t *Tree) syncDir(name string) error {
	dir, err := t.root.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// partName is the name of a part in the root that opened it.
func partName(part *os.File) string { return path.Join(uploads, path.Base(part.Name())) }

// Forget removes what came of uploads that nobody has continued since before. A job can put something else in the place of their
// directory: that is left alone, and where a link leads too.
func (t *Tree) Forget(before time.Time) error {
	found, err := t.root.Lstat(uploads)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && !found.IsDir():
		return nil
	case err == nil:
		err = t.forgetIn(found, before)
	}
	if err != nil {
		return fmt.Errorf("old uploads: %w", err)
	}
	return nil
}

// forgetIn is Forget when the directory is the one that was found, and not one that a link leads to, made a moment ago.
func (t *Tree) forgetIn(found fs.FileInfo, before time.Time) error {
	parts, err := openDir(t.root, uploads)
	if err != nil {
		return err
	}
	opened, err := parts.open.Stat()
	if err == nil && os.SameFile(found, opened) {
		err = parts.forget(before)
	}
	return errors.Join(err, parts.Close())
}

// forget removes the entries that were written last before.
func (d *Dir) forget(before time.Time) (failed error) {
	for {
		const piece = 1024
		parts, err := d.Next(piece)
		for _, part := range parts {
			if part.Modified.Before(before) {
				failed = errors.Join(failed, d.root.RemoveAll(part.Name))
			}
		}
		if errors.Is(err, io.EOF) {
			return failed
		}
		if err != nil {
			return errors.Join(failed, err)
		}
	}
}
