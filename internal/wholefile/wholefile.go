// Package wholefile replaces files such that a crash leaves the old one or the new one, and never a part.
package wholefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Unfinished is added to the name of a file while it is written: a crash may leave such a one, which the next Write replaces.
const Unfinished = ".new"

// Write has a file with this content and mode on the disk when it returns nil, in the place of the one that may be there. Two at the same
// time for one path must not be.
func Write(path string, content []byte, mode fs.FileMode) error {
	file, err := os.OpenFile(path+Unfinished, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err := errors.Join(err, file.Chmod(mode), file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+Unfinished, path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir has the names in a directory on the disk.
func SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
