package sftpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/vault"
)

// holds are those of a vault that somebody else may want.
type holds struct {
	mu       sync.Mutex
	uses     int
	held     []*held
	released chan struct{}
}

type held struct {
	all    *holds
	ctx    context.Context
	recall context.CancelFunc
	once   sync.Once
}

func (h *held) Used() {
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	h.all.uses++
}

func (h *held) Recalled() context.Context { return h.ctx }

func (h *held) Release() {
	h.once.Do(func() {
		h.recall()
		h.all.released <- struct{}{}
	})
}

// open opens file vaults as if others could want them.
func (h *holds) open(dirs vault.Directories) func(context.Context, berth.Vault, bool) (*vault.Tree, error) {
	return func(ctx context.Context, v berth.Vault, _ bool) (*vault.Tree, error) {
		tree, err := dirs.Open(v) // makes it
		if err := errors.Join(err, tree.Close()); err != nil {
			return nil, err
		}
		one := &held{all: h}
		one.ctx, one.recall = context.WithCancel(context.WithoutCancel(ctx))
		h.mu.Lock()
		defer h.mu.Unlock()
		h.held = append(h.held, one)
		return vault.OpenHeld(v.Path, one)
	}
}

// TestAListingIsClosedWhileItIsRead: who reads it gets what is in it or that it was closed, and nothing of another directory.
func TestAListingIsClosedWhileItIsRead(t *testing.T) {
	dir := t.TempDir()
	for i := range 100 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("file", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		closeWhileRead(t, dir)
	}
}

func closeWhileRead(t *testing.T, dir string) {
	one := &held{all: &holds{released: make(chan struct{}, 1)}}
	one.ctx, one.recall = context.WithCancel(t.Context())
	tree, err := vault.OpenHeld(dir, one)
	if err != nil {
		t.Fatal(err)
	}
	open, err := tree.OpenDir("/", true)
	if err != nil {
		t.Fatal(err)
	}
	l := &listing{dir: open, tree: tree, login: &login{server: New(Config{Log: slog.New(slog.DiscardHandler)}), ctx: t.Context()}}
	var closing sync.WaitGroup
	closing.Go(func() { _ = l.Close() })
	infos := slices.Grow([]fs.FileInfo{}, 1)[:1]
	for err == nil {
		_, err = l.ListAt(infos, 0)
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, errRecalled) {
		t.Errorf("listed while it was closed: %v", err)
	}
	closing.Wait()
	if _, err := l.ListAt(infos, 0); !errors.Is(err, errRecalled) {
		t.Errorf("listed after it was closed: %v", err)
	}
}

// TestWhatIsRecalledIsClosed, and says so to who comes back to it. What is open holds its vault until then.
func TestWhatIsRecalledIsClosed(t *testing.T) {
	all := &holds{released: make(chan struct{}, 100)}
	b := newBench(t, func(cfg *Config) {
		dirs := vault.Directories{Files: t.TempDir()}
		opens := all.open(dirs)
		cfg.Open = func(ctx context.Context, v berth.Vault, change bool) (*vault.Tree, error) {
			v.Path = dirs.FilePath(v.Owner, v.Name)
			return opens(ctx, v, change)
		}
	})
	c := b.client(t, "key")
	file, err := c.Create("/data/file")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write([]byte("text")); err != nil {
		t.Fatal(err)
	}
	all.mu.Lock()
	last := all.held[len(all.held)-1]
	uses := all.uses
	all.mu.Unlock()
	if uses == 0 {
		t.Error("writing is no use")
	}
	for len(all.released) > 0 {
		<-all.released
	}
	if last.ctx.Err() != nil {
		t.Error("released while the file is open")
	}
	last.recall()
	<-all.released
	if _, err := file.Write([]byte("more")); err == nil || !strings.Contains(err.Error(), errRecalled.Error()) {
		t.Errorf("written after it was recalled: %v", err)
	}
	_ = file.Close() // of a file that is closed
	if names := list(t, c, "/data"); len(names) != 1 {
		t.Errorf("files: %v", names)
	}
	<-all.released // the listing gives the vault up by itself
}
