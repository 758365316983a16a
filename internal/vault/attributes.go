package vault

import (
	"io/fs"
	"os"
	"time"
)

// Truncate makes a file as long as size says.
func (t *Tree) Truncate(at string, size int64) error {
	file, err := t.OpenFile(at, os.O_WRONLY)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	return fileError(at, file.Truncate(size))
}

// Chmod changes the permissions of a file or a directory, of which others than these bits stay away: a program that runs as its owner
// is none of those that come from outside.
func (t *Tree) Chmod(at string, mode fs.FileMode) error {
	name, err := local(at)
	if err != nil {
		return err
	}
	return fileError(at, t.root.Chmod(name, mode.Perm()))
}

// Chtimes changes when a file was used and written last.
func (t *Tree) Chtimes(at string, accessed, modified time.Time) error {
	name, err := local(at)
	if err != nil {
		return err
	}
	return fileError(at, t.root.Chtimes(name, accessed, modified))
}
