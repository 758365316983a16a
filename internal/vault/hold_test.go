package vault

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/berth-hpc/berth"
)

// counting is a hold that counts.
type counting struct{ used, released int }

func (c *counting) Used()                     { c.used++ }
func (c *counting) Recalled() context.Context { return context.Background() }
func (c *counting) Release()                  { c.released++ }

func TestHeldTrees(t *testing.T) {
	hold := &counting{}
	tree, err := OpenHeld(t.TempDir(), hold)
	if err != nil {
		t.Fatal(err)
	}
	put(t, tree, "file", "mine")
	tree.Used()
	if hold.used != 1 || hold.released != 0 {
		t.Errorf("used %d times, released %d times", hold.used, hold.released)
	}
	if err := tree.Close(); err != nil || hold.released != 1 {
		t.Errorf("released %d times, %v", hold.released, err)
	}
	if _, err := OpenHeld(filepath.Join(t.TempDir(), "none"), hold); berth.KindOf(err) != berth.NotFound || hold.released != 2 {
		t.Errorf("of none: %v, released %d times", err, hold.released)
	}
	stays, _, _ := openTree(t)
	stays.Used()
	if stays.Recalled().Done() != nil {
		t.Error("a directory that stays may be recalled")
	}
}

func TestFurnish(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("giving away needs root")
	}
	dir := t.TempDir()
	tree, err := OpenHeld(dir, &counting{})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = tree.Put("file", Upload{ID: "oldupload"}, iotest.TimeoutReader(strings.NewReader("text")))
	if err := Furnish(dir, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Uploaded("oldupload"); err != nil {
		t.Errorf("a new upload is gone: %v", err)
	}
	wantOwner := func(uid int) {
		t.Helper()
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if owner := info.Sys().(*syscall.Stat_t); int(owner.Uid) != uid {
			t.Errorf("it belongs to %d, want %d", owner.Uid, uid)
		}
	}
	wantOwner(berth.DefaultIdentity.UID)
	if err := os.Chown(dir, 1234, 1234); err != nil { // a job with another user has had it
		t.Fatal(err)
	}
	if err := Furnish(dir, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	wantOwner(1234)
	if _, err := tree.Uploaded("oldupload"); berth.KindOf(err) != berth.NotFound {
		t.Errorf("an old upload is there: %v", err)
	}
}
