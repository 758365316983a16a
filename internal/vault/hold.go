package vault

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/berth-hpc/berth"
)

// Hold keeps a directory where it is while its files are used. All methods are safe for concurrent use.
type Hold interface {
	// Used says that the files are being used now.
	Used()
	// Recalled ends when somebody waits for the directory and its files have not been used for some time, and with Release.
	Recalled() context.Context
	// Release gives the directory up. It is safe to call twice.
	Release()
}

// OpenHeld opens the files below a directory that is there only as long as it is held. Closing the tree releases it: whatever was opened
// in it must be closed before. An error releases it, too.
func OpenHeld(dir string, hold Hold) (*Tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		hold.Release()
		return nil, fileError("/", err)
	}
	return &Tree{root: root, hold: hold}, nil
}

// Used says that something of the tree is being used. A tree that nobody has to hold does not care.
func (t *Tree) Used() {
	if t.hold != nil {
		t.hold.Used()
	}
}

// Recalled ends when the tree, and what was opened in it, should be closed because somebody waits and nobody uses it, or when it is closed.
func (t *Tree) Recalled() context.Context {
	if t.hold != nil {
		return t.hold.Recalled()
	}
	return context.Background()
}

// Close closes it. Files that were opened stay open, unless the directory was held.
func (t *Tree) Close() error {
	err := t.root.Close()
	if t.hold != nil {
		t.hold.Release()
	}
	return err
}

// Furnish makes a directory as its first job would leave it, unless it had one, and removes what came of uploads to it that nobody has
// continued since before.
func Furnish(dir string, before time.Time) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	tree := &Tree{root: root}
	info, err := root.Stat(".")
	if err == nil {
		owner, ok := info.Sys().(*syscall.Stat_t)
		if ok && owner.Uid == 0 {
			err = root.Chown(".", berth.DefaultIdentity.UID, berth.DefaultIdentity.GID)
		}
	}
	return errors.Join(err, tree.Forget(before), tree.Close())
}
