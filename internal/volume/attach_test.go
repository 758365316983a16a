package volume

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestOneWriterOrReaders: a writer has a volume alone, readers share it, and servers that do not know of each other keep to it.
func TestOneWriterOrReaders(t *testing.T) {
	for name, spec := range some("block", "encrypted array") {
		t.Run(name, func(t *testing.T) {
			v := newVolumes(t)
			other := &Volumes{Dir: v.Dir, Log: v.Log}
			path := v.mustCreate(t, spec)
			request := func(attempt string, readOnly bool) Request {
				return Request{Path: path, Attempt: attempt, ReadOnly: readOnly, Password: spec.Password}
			}
			write(t, filepath.Join(v.mustAttach(t, request("writer", false)), "file"), []byte("text"))
			wantBusy(t, other, request("writer 2", false), true, "writer")
			wantBusy(t, other, request("reader", true), true, "writer")
			other.mustDetach(t, "writer")
			for _, reader := range []string{"reader 1", "reader 2"} {
				data := v.mustAttach(t, request(reader, true))
				wantFile(t, filepath.Join(data, "file"), []byte("text"))
				if err := os.WriteFile(filepath.Join(data, "new"), nil, 0o600); !errors.Is(err, unix.EROFS) {
					t.Errorf("a reader writes: %v", err)
				}
			}
			wantBusy(t, other, request("writer", false), false, "reader 1", "reader 2")
			v.mustDetach(t, "reader 1")
			wantBusy(t, other, request("writer", false), false, "reader 2")
			other.mustDetach(t, "reader 2")
			other.mustAttach(t, request("writer", false))
		})
	}
}

func wantBusy(t *testing.T, v *Volumes, r Request, writer bool, attempts ...string) {
	t.Helper()
	_, err := v.Attach(t.Context(), r)
	busy, ok := errors.AsType[*Busy](err)
	if !ok || busy.Writer != writer || !slices.Equal(busy.Attempts, attempts) {
		t.Errorf("attached for %s: %v; want that %v have it", r.Attempt, err, attempts)
	}
}

// TestAtTheSameTime: of writers that come together one gets the volume.
func TestAtTheSameTime(t *testing.T) {
	v := newVolumes(t)
	path := v.mustCreate(t, kinds["block"])
	const servers = 8
	got := make(chan error, servers)
	for i := range servers {
		go func() {
			server := &Volumes{Dir: v.Dir, Log: v.Log}
			_, err := server.Attach(t.Context(), Request{Path: path, Attempt: string(rune('a' + i))})
			got <- err
		}()
	}
	won := 0
	for range servers {
		err := <-got
		if _, busy := errors.AsType[*Busy](err); err != nil && !busy {
			t.Error(err)
		}
		if err == nil {
			won++
		}
	}
	if won != 1 {
		t.Errorf("%d writers have it", won)
	}
}

// TestUnclean: after the machine went down in the middle, somebody has to say that the volume shall be used nevertheless.
func TestUnclean(t *testing.T) {
	v := newVolumes(t)
	path := v.mustCreate(t, kinds["block"])
	image := images(t, path)[0]
	data := v.mustAttach(t, Request{Path: path, Attempt: "1"})
	write(t, filepath.Join(data, "file"), []byte("written and synced"))
	syncFiles(t, data)
	copyFile(t, image, image+".torn") // as the disk is when the power goes now
	v.mustDetach(t, "1")
	tear := func() {
		t.Helper()
		copyFile(t, image+".torn", image+".now")
		if err := os.Rename(image+".now", image); err != nil {
			t.Fatal(err)
		}
	}
	tear()
	for _, readOnly := range []bool{false, true} {
		if _, err := v.Attach(t.Context(), Request{Path: path, Attempt: "2", ReadOnly: readOnly}); !errors.Is(err, ErrUnclean) {
			t.Errorf("attached a torn volume, only to read %v: %v", readOnly, err)
		}
		wantNoClaim(t, v)
	}
	// An attempt that had it when the machine went down is no exception.
	if err := os.MkdirAll(claim{dir: filepath.Join(path, attached, "1")}.mount(), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Attach(t.Context(), Request{Path: path, Attempt: "1"}); !errors.Is(err, ErrUnclean) {
		t.Errorf("attached again after the machine went down: %v", err)
	}
	for _, readOnly := range []bool{true, false} {
		tear()
		data := v.mustAttach(t, Request{Path: path, Attempt: "3", ReadOnly: readOnly, Force: true})
		wantFile(t, filepath.Join(data, "file"), []byte("written and synced"))
		v.mustDetach(t, "3")
	}
	v.mustAttach(t, Request{Path: path, Attempt: "4"})
}

// TestDetachOfWhatIsUsed waits for whoever uses it, inside and outside of this namespace.
func TestDetachOfWhatIsUsed(t *testing.T) {
	for name, spec := range some("block", "encrypted array") {
		t.Run(name, func(t *testing.T) {
			v := newVolumes(t)
			path := v.mustCreate(t, spec)
			request := Request{Path: path, Attempt: "1", Password: spec.Password}
			data := v.mustAttach(t, request)
			open, err := os.Create(filepath.Join(data, "open"))
			if err != nil {
				t.Fatal(err)
			}
			defer open.Close()
			soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err := v.Detach(soon, "1"); !errors.Is(err, unix.EBUSY) {
				t.Errorf("detached with an open file: %v", err)
			}
			if _, err := open.WriteString("still there"); err != nil {
				t.Error(err)
			}
			if err := open.Close(); err != nil {
				t.Fatal(err)
			}
			leave := inNamespace(t)
			soon, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			err = v.Detach(soon, "1")
			if _, busy := errors.AsType[*Busy](err); !busy {
				t.Errorf("detached while another namespace has it mounted: %v", err)
			}
			request.Attempt = "2"
			wantBusy(t, v, request, true, "1")
			leave()
			v.mustDetach(t, "1")
			wantFile(t, filepath.Join(v.mustAttach(t, request), "open"), []byte("still there"))
		})
	}
}

// TestDetachAll leaves nothing of anybody.
func TestDetachAll(t *testing.T) {
	v := newVolumes(t)
	encrypted, block := v.mustCreate(t, kinds["encrypted block"]), v.mustCreate(t, kinds["block"])
	v.mustAttach(t, Request{Path: encrypted, Attempt: "1", Password: password})
	v.mustAttach(t, Request{Path: block, Attempt: "2", ReadOnly: true})
	v.mustAttach(t, Request{Path: block, Attempt: "3", ReadOnly: true})
	for range 2 {
		if err := v.DetachAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantNoClaim(t, v)
	}
}

// inNamespace starts a process with a copy of all mounts, as a container has, which ends when leave is called.
func inNamespace(t *testing.T) (leave func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--propagation", "private", "sh", "-c", "echo ready; read line")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make([]byte, len("ready\n"))
	if _, err := out.Read(ready); err != nil || !bytes.Equal(ready, []byte("ready\n")) {
		t.Errorf("unshare: %q, %v", ready, err)
	}
	leave = sync.OnceFunc(func() {
		_ = in.Close()
		_ = cmd.Wait() // read ends with status 1
	})
	t.Cleanup(leave)
	return leave
}

// TestArrayAfterACrash needs nobody's word: what was synced is there, also for one who only reads.
func TestArrayAfterACrash(t *testing.T) {
	v := newVolumes(t)
	path := v.mustCreate(t, kinds["array"])
	now := images(t, path)
	torn := []string{now[0] + ".torn", now[1] + ".torn"}
	data := v.mustAttach(t, Request{Path: path, Attempt: "1"})
	// Until both are copied at a moment when a synced file is known by the log only.
	eventually(t, "both images of the same moment", func() bool {
		syncFiles(t, data)
		write(t, filepath.Join(data, "file"), []byte("written and synced"))
		copyFile(t, now[0], torn[0])
		copyFile(t, now[1], torn[1])
		first, second := btrfsMoment(t, torn[0]), btrfsMoment(t, torn[1])
		return first == second && first.log != 0
	})
	v.mustDetach(t, "1")
	for _, readOnly := range []bool{true, false} {
		copyFile(t, torn[0], now[0])
		copyFile(t, torn[1], now[1])
		data := v.mustAttach(t, Request{Path: path, Attempt: "2", ReadOnly: readOnly})
		wantFile(t, filepath.Join(data, "file"), []byte("written and synced"))
		v.mustDetach(t, "2")
	}
}

// moment is the state of a btrfs.
type moment struct{ generation, log uint64 }

// btrfsMoment reads the superblock.
func btrfsMoment(t *testing.T, image string) moment {
	t.Helper()
	file, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	super := make([]byte, 4096)
	if _, err := file.ReadAt(super, 64<<10); err != nil {
		t.Fatal(err)
	}
	return moment{generation: binary.LittleEndian.Uint64(super[72:]), log: binary.LittleEndian.Uint64(super[96:])}
}
