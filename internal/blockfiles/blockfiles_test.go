package blockfiles

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/vault"
	"github.com/berth-hpc/berth/internal/volume"
)

func wantError(t *testing.T, err error, kind berth.Kind, text string) {
	t.Helper()
	if berth.KindOf(err) != kind || !strings.Contains(fmt.Sprint(err), text) {
		t.Errorf("error %v, want %s %q", err, kind, text)
	}
}

func wantServer(t *testing.T, b *bench, want string) {
	t.Helper()
	if has := b.volumes.has(volume.Server); has != want {
		t.Errorf("the server has it to %q, want %q", has, want)
	}
}

// TestAttachedWhileUsed and a moment longer, so that the next request need not attach it again.
func TestAttachedWhileUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.run(t)()
		tree := b.use(t, false)
		wantServer(t, b, "read")
		time.Sleep(time.Hour)
		wantServer(t, b, "read")
		_ = tree.Close()
		time.Sleep(idle - time.Second)
		wantServer(t, b, "read")
		tree = b.use(t, true)
		wantServer(t, b, "write")
		if other := b.use(t, false); other.Close() != nil {
			t.Error("not closed")
		}
		_ = tree.Close()
		time.Sleep(idle + 2*look)
		wantServer(t, b, "")
	})
}

// TestWhoWritesWaitsForReaders, and nobody comes in between.
func TestWhoWritesWaitsForReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		reader := b.use(t, false)
		_, err := b.Open(t.Context(), home, true)
		wantError(t, err, berth.Conflict, "The vault is in use: another request uses its files")
		wrote := make(chan struct{})
		go func() {
			defer close(wrote)
			tree := b.use(t, true)
			wantServer(t, b, "write")
			time.Sleep(time.Second)
			_ = tree.Close()
		}()
		synctest.Wait()
		gone, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		if _, err := b.Open(gone, home, false); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("another one reads before: %v", err)
		}
		_ = reader.Close()
		<-wrote
		_ = b.use(t, false).Close()
	})
}

// TestAJobGoesFirst: it waits for what is being transferred and for nothing that comes after it.
func TestAJobGoesFirst(t *testing.T) {
	for name, test := range map[string]struct {
		change, readOnly bool
		waits            bool
	}{
		"writes while files are written": {true, false, true},
		"writes while files are read":    {false, false, true},
		"reads while files are written":  {true, true, true},
		"reads while files are read":     {false, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				defer b.run(t)()
				tree := b.use(t, test.change)
				_, err := b.Attach(t.Context(), job(12, test.readOnly))
				busy, waits := errors.AsType[*volume.Busy](err)
				if waits != test.waits || waits && busy.Attempts[0] != volume.Server {
					t.Fatalf("the job gets %v", err)
				}
				if waits {
					_, err := b.Open(t.Context(), home, false)
					wantError(t, err, berth.Conflict, "The vault is in use: job 12 waits for it")
					time.Sleep(time.Second)
					_ = tree.Close()
					b.mustAttach(t, job(12, test.readOnly)) // at once
					wantServer(t, b, "")
				}
				_ = tree.Close()
				_, err = b.Open(t.Context(), home, true)
				wantError(t, err, berth.Conflict, "The vault is in use: job 12 has it")
				if test.readOnly {
					_ = b.use(t, false).Close()
				}
			})
		})
	}
}

// TestAJobThatWaitsNoMore keeps nobody from the files.
func TestAJobThatWaitsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		tree := b.use(t, true)
		if _, err := b.Attach(t.Context(), job(12, false)); err == nil {
			t.Fatal("two write")
		}
		_ = tree.Close()
		_, err := b.Open(t.Context(), home, false)
		wantError(t, err, berth.Conflict, "job 12 waits for it")
		time.Sleep(wishedFor)
		_ = b.use(t, false).Close()
	})
}

// TestWhatNobodyUsesIsRecalled when a job waits, and not before, and not what is used.
func TestWhatNobodyUsesIsRecalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		unused, used := b.use(t, true), b.use(t, false)
		time.Sleep(time.Hour)
		if unused.Recalled().Err() != nil {
			t.Error("recalled without anybody waiting")
		}
		recalled := make(chan struct{})
		context.AfterFunc(unused.Recalled(), func() {
			_ = unused.Close()
			close(recalled)
		})
		used.Used()
		if _, err := b.Attach(t.Context(), job(12, false)); err == nil {
			t.Fatal("the job has it while files are open")
		}
		<-recalled
		if used.Recalled().Err() != nil {
			t.Error("recalled although it is used")
		}
		_ = used.Close()
		b.mustAttach(t, job(12, false))
	})
}

// TestWhoWritesRecallsWhatNobodyReads, so that a file that somebody has left open keeps nobody from writing.
func TestWhoWritesRecallsWhatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		unused := b.use(t, false)
		context.AfterFunc(unused.Recalled(), func() { _ = unused.Close() })
		time.Sleep(idle)
		_ = b.use(t, true).Close()
		wantServer(t, b, "write")
	})
}

// TestAJobThatHasEnded has its volume a moment longer, which is waited for; one that has not is not.
func TestAJobThatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mustAttach(t, job(12, false))
		_, err := b.Open(t.Context(), home, false)
		wantError(t, err, berth.Conflict, "job 12 has it")
		b.volumes.set(func() { b.ended[12] = true })
		_, err = b.Open(t.Context(), home, false)
		wantError(t, err, berth.Conflict, "job 12 has it") // for longer than anybody waits
		go func() {
			time.Sleep(time.Second)
			_ = b.Detach(t.Context(), job(12, false).Attempt)
		}()
		_ = b.use(t, false).Close()
	})
}

// TestWhatAKilledServerLeft is taken away by the next one, or by who comes first.
func TestWhatAKilledServerLeft(t *testing.T) {
	for name, come := range map[string]func(*testing.T, *bench){
		"nobody": func(*testing.T, *bench) { time.Sleep(2 * look) },
		"reader": func(t *testing.T, b *bench) {
			tree := b.use(t, false)
			wantServer(t, b, "read")
			_ = tree.Close()
			time.Sleep(idle + 2*look)
		},
		"job": func(t *testing.T, b *bench) { b.mustAttach(t, job(12, false)) },
		"end": func(t *testing.T, b *bench) {
			b.of(path)
			if err := b.Close(t.Context()); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.volumes.claims[volume.Server] = volume.Request{Path: path, Attempt: volume.Server}
				if name == "nobody" || name == "reader" {
					defer b.run(t)()
				}
				come(t, b)
				wantServer(t, b, "")
			})
		})
	}
}

// TestWhatIsStillUsed somewhere is detached later, and nobody gets it before.
func TestWhatIsStillUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.run(t)()
		_ = b.use(t, false).Close()
		b.volumes.set(func() { b.volumes.busy = fmt.Errorf("unmount: %w", stillUsed) })
		_, err := b.Open(t.Context(), home, true)
		wantError(t, err, berth.Conflict, "The vault is in use")
		if _, err := b.Attach(t.Context(), job(12, false)); err == nil || !errors.Is(err, stillUsed) {
			t.Errorf("the job gets %v", err)
		}
		if err := b.Close(t.Context()); !errors.Is(err, stillUsed) {
			t.Errorf("closed: %v", err)
		}
		b.volumes.set(func() { b.volumes.busy = nil })
		time.Sleep(2 * look)
		wantServer(t, b, "")
	})
}

func TestFilesThatCannotBeHad(t *testing.T) {
	secret := home
	secret.Volume.Encrypted = true
	for name, test := range map[string]struct {
		vault berth.Vault
		fails error
		kind  berth.Kind
		text  string
	}{
		"encrypted":  {secret, nil, berth.Unsupported, "The files of an encrypted vault can be reached by jobs only"},
		"unclean":    {home, volume.ErrUnclean, berth.Conflict, "The filesystem of the vault was not closed properly: berth vault repair home@ada repairs it"},
		"damaged":    {home, volume.ErrDamaged, berth.Internal, "The filesystem of the vault is damaged: ask an administrator"},
		"just used":  {home, &volume.Busy{}, berth.Conflict, "The vault is in use: it has just been used"},
		"not there":  {home, berth.Errorf(berth.NotFound, "The files of the vault are not there"), berth.NotFound, "The files of the vault are not there"},
		"no program": {home, berth.Errorf(berth.Unsupported, "The server lacks e2fsck"), berth.Unsupported, "The server lacks e2fsck"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.volumes.fails = test.fails
				_, err := b.Open(t.Context(), test.vault, false)
				wantError(t, err, test.kind, test.text)
			})
		})
	}
}

// TestAlone: what is done with a whole volume needs it alone, and lets go of what is only attached.
func TestAlone(t *testing.T) {
	for name, do := range map[string]struct {
		do   func(*testing.T, *bench) error
		done func(*bench) bool
	}{
		"remove": {
			func(t *testing.T, b *bench) error { return b.Remove(t.Context(), path) },
			func(b *bench) bool { return b.volumes.removed },
		},
		"repair": {
			func(t *testing.T, b *bench) error { return b.Repair(t.Context(), path) },
			func(b *bench) bool { return b.volumes.has(volume.Server) == "" },
		},
		"password": {
			func(t *testing.T, b *bench) error { return b.ChangePassword(t.Context(), path, "old", "new") },
			func(b *bench) bool { return b.volumes.changed == "server: old -> new" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				tree := b.use(t, false)
				if busy, ok := errors.AsType[*volume.Busy](do.do(t, b)); !ok || busy.Attempts[0] != volume.Server {
					t.Error("done while its files are used")
				}
				_ = tree.Close()
				b.volumes.set(func() { b.volumes.fails = volume.ErrUnclean }) // which only a repair does not mind
				if err := do.do(t, b); err != nil || !do.done(b) {
					t.Errorf("not done: %v", err)
				}
			})
		})
	}
}

// TestAPasswordLeavesAClaim when the volume is not let go at once: it goes for a job, or by itself.
func TestAPasswordLeavesAClaim(t *testing.T) {
	for name, come := range map[string]func(*testing.T, *bench){
		"nobody": func(*testing.T, *bench) { time.Sleep(2 * look) },
		"job":    func(t *testing.T, b *bench) { b.mustAttach(t, job(12, false)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				if name == "nobody" {
					defer b.run(t)()
				}
				b.volumes.holds = true
				if err := b.ChangePassword(t.Context(), path, "old", "new"); err != nil {
					t.Fatal(err)
				}
				come(t, b)
				wantServer(t, b, "")
			})
		})
	}
}

// TestOneVolumeAtATime is repaired or has its password changed, and others are used meanwhile.
func TestOneVolumeAtATime(t *testing.T) {
	for name, do := range map[string]func(context.Context, *bench) error{
		"repair":   func(ctx context.Context, b *bench) error { return b.Repair(ctx, path) },
		"password": func(ctx context.Context, b *bench) error { return b.ChangePassword(ctx, path, "old", "new") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				err := b.oneAtATime(t.Context(), func() error {
					gone, leave := context.WithTimeout(t.Context(), time.Hour)
					defer leave()
					if err := do(gone, b); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("both at a time: %v", err)
					}
					_ = b.use(t, false).Close()
					return nil
				})
				if err := errors.Join(err, do(t.Context(), b)); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestUploadsAndOwners: a vault that no job has had belongs to the user of jobs, and old uploads go.
func TestUploadsAndOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		if os.Geteuid() != 0 {
			t.Skip("giving away needs root")
		}
		tree := b.use(t, true)
		_, err := tree.Put("dir/file", vault.Upload{}, strings.NewReader("text"))
		if err := errors.Join(err, tree.Close()); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"", "dir", "dir/file"} {
			info, err := os.Stat(filepath.Join(b.volumes.dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if owner := info.Sys().(*syscall.Stat_t); int(owner.Uid) != berth.DefaultIdentity.UID || int(owner.Gid) != berth.DefaultIdentity.GID {
				t.Errorf("%q belongs to %d:%d", name, owner.Uid, owner.Gid)
			}
		}
	})
}
