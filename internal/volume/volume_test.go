package volume

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/wholefile"
)

// TestVolume: what a job writes is there for the next, with its owner and mode, and nothing is attached in between.
func TestVolume(t *testing.T) {
	for name, spec := range kinds {
		t.Run(name, func(t *testing.T) {
			v := newVolumes(t)
			path := v.mustCreate(t, spec)
			wantNoClaim(t, v)
			content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
			request := Request{Path: path, Attempt: "1-a", Password: spec.Password}
			data := v.mustAttach(t, request)
			wantSafe(t, data)
			write(t, filepath.Join(data, "file"), content)
			asUser(t, data, "umask 027; mkdir folder; echo text >folder/own; ln -s own folder/link")
			if again := v.mustAttach(t, request); again != data {
				t.Errorf("attached again at %s; before at %s", again, data)
			}
			if attempts, err := v.Attempts(); err != nil || !slices.Equal(attempts, []string{"1-a"}) {
				t.Errorf("attempts: %v, %v", attempts, err)
			}
			v.mustDetach(t, "1-a")
			v.mustDetach(t, "1-a")
			v.mustDetach(t, "never-attached")
			wantNoClaim(t, v)
			request.Attempt = "2-b"
			data = v.mustAttach(t, request)
			wantFile(t, filepath.Join(data, "file"), content)
			wantFile(t, filepath.Join(data, "folder", "link"), []byte("text\n"))
			wantOwned(t, filepath.Join(data, "folder"), 0o750)
			wantOwned(t, filepath.Join(data, "folder", "own"), 0o640)
			v.mustDetach(t, "2-b")
			wantReserved(t, path, spec.image())
			if err := v.Remove(t.Context(), path); err != nil {
				t.Fatal(err)
			}
			wantNothing(t, v.Dir)
		})
	}
}

func wantNoClaim(t *testing.T, v *Volumes) {
	t.Helper()
	if attempts, err := v.Attempts(); err != nil || len(attempts) > 0 {
		t.Errorf("attempts: %v, %v", attempts, err)
	}
	if left := loops(t, v); len(left) > 0 {
		t.Errorf("loop devices: %v", left)
	}
}

// wantSafe checks that what is mounted at a directory brings no foreign rights.
func wantSafe(t *testing.T, data string) {
	t.Helper()
	var status unix.Statfs_t
	if err := unix.Statfs(data, &status); err != nil {
		t.Fatal(err)
	}
	if status.Flags&unix.ST_NOSUID == 0 || status.Flags&unix.ST_NODEV == 0 {
		t.Errorf("%s is mounted with flags %#x: setuid programs or devices", data, status.Flags)
	}
	entries, err := os.ReadDir(data)
	if err != nil || len(entries) > 0 {
		t.Errorf("a new volume is not empty: %v, %v", entries, err)
	}
}

// jobUser is the user of jobs.
var jobUser = &syscall.Credential{Uid: uint32(berth.DefaultIdentity.UID), Gid: uint32(berth.DefaultIdentity.GID)}

// asUser runs a shell script in a directory as a job's user, who does not get through the directories above it.
func asUser(t *testing.T, data, script string) {
	t.Helper()
	if err := os.Chown(data, int(jobUser.Uid), int(jobUser.Gid)); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-ec", "cd /proc/self/fd/3; "+script)
	cmd.ExtraFiles = []*os.File{dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: jobUser}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", script, err, out)
	}
}

func wantOwned(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	if info.Mode().Perm() != mode || owner.Uid != jobUser.Uid || owner.Gid != jobUser.Gid {
		t.Errorf("%s is %v of %d:%d; want %v of %d:%d", path, info.Mode(), owner.Uid, owner.Gid, mode, jobUser.Uid, jobUser.Gid)
	}
}

// TestArrayUsesAllDisks: what is written to an array lies in all of its directories, and goes from them.
func TestArrayUsesAllDisks(t *testing.T) {
	v := newVolumes(t)
	v.Dirs = []string{v.Dir, t.TempDir()}
	path := v.mustCreate(t, Spec{Size: smallArray, Images: 2})
	data := v.mustAttach(t, Request{Path: path, Attempt: "1"})
	marker := []byte("what is in all of it\n")
	write(t, filepath.Join(data, "file"), bytes.Repeat(marker, 1<<20))
	v.mustDetach(t, "1")
	for _, image := range images(t, path) {
		if n := count(t, []string{image}, marker); n < 1<<18 {
			t.Errorf("%s has %d of %d markers", image, n, 1<<20)
		}
	}
	if first, second := filepath.Dir(images(t, path)[0]), filepath.Dir(filepath.Dir(images(t, path)[1])); first != path || second != v.Dirs[1] {
		t.Errorf("images are below %s and %s", first, second)
	}
	if err := v.Remove(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	wantNothing(t, v.Dirs...)
}

// TestFull: a full volume is full for its job only, and takes nothing else from the disk.
func TestFull(t *testing.T) {
	for _, name := range []string{"block", "array", "encrypted block"} {
		t.Run(name, func(t *testing.T) {
			v, spec := newVolumes(t), kinds[name]
			path := v.mustCreate(t, spec)
			request := Request{Path: path, Attempt: "1", Password: spec.Password}
			fill := filepath.Join(v.mustAttach(t, request), "fill")
			file, err := os.Create(fill)
			if err != nil {
				t.Fatal(err)
			}
			written, err := file.Write(make([]byte, spec.Size))
			if !errors.Is(err, unix.ENOSPC) || int64(written) > spec.Size {
				t.Errorf("wrote %d bytes: %v", written, err)
			}
			_ = file.Close() // it may find no room either
			wantReserved(t, path, spec.image())
			if err := os.Remove(fill); err != nil {
				t.Fatal(err)
			}
			v.mustDetach(t, "1")
			data := v.mustAttach(t, request)
			write(t, filepath.Join(data, "after"), []byte("after"))
			wantReserved(t, path, spec.image())
		})
	}
}

func TestCreateRefuses(t *testing.T) {
	v := newVolumes(t)
	for name, c := range map[string]struct {
		spec Spec
		kind berth.Kind
	}{
		"no image":        {Spec{Size: small}, berth.Invalid},
		"many images":     {Spec{Size: 1 << 40, Images: MaxImages + 1}, berth.Invalid},
		"small block":     {Spec{Size: MinSize - 1, Images: 1}, berth.Invalid},
		"small array":     {Spec{Size: 2*MinImage - 1, Images: 2}, berth.Invalid},
		"two lines":       {Spec{Size: small, Images: 1, Password: "pass\nword"}, berth.Invalid},
		"large block":     {Spec{Size: 1 << 50, Images: 1}, berth.NoSpace},
		"large encrypted": {Spec{Size: 1 << 50, Images: 4, Password: password}, berth.NoSpace},
	} {
		_, err := v.Create(t.Context(), c.spec)
		if berth.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
		if errors.Is(err, ErrNoRoom) != (c.kind == berth.NoSpace) {
			t.Errorf("%s: not ErrNoRoom, or wrongly: %v", name, err)
		}
	}
	wantNothing(t, v.Dir)
}

// TestMissingProgram names the package that has it.
func TestMissingProgram(t *testing.T) {
	v := newVolumes(t)
	t.Setenv("PATH", t.TempDir())
	_, err := v.Create(t.Context(), kinds["encrypted block"])
	want := "The server lacks gocryptfs, which is in the Debian package gocryptfs"
	if e, ok := errors.AsType[*berth.Error](err); !ok || e.Kind != berth.Unsupported || e.Public() != want {
		t.Errorf("created without gocryptfs: %v", err)
	}
	if err := Check(true, false); err != nil {
		t.Errorf("programs of administrators are not found without the PATH: %v", err)
	}
}

// TestMissingDevice: a server without the devices, as in a container, says which it lacks.
func TestMissingDevice(t *testing.T) {
	v := newVolumes(t)
	for missing, spec := range map[string]Spec{loopDevice: kinds["block"], fuseDevice: kinds["encrypted array"]} {
		text, err := json.Marshal(child{Dir: v.Dir, Do: "create", Spec: spec})
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--propagation", "private", "sh", "-c", `mount -t tmpfs none /dev && exec "$0"`, os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+string(text))
		if out, _ := cmd.CombinedOutput(); !strings.Contains(string(out), "The server lacks the device "+missing) { // it fails
			t.Errorf("without %s: %s", missing, out)
		}
	}
	wantNothing(t, v.Dir)
}

func TestRemove(t *testing.T) {
	v := newVolumes(t)
	path := v.mustCreate(t, kinds["block"])
	v.mustAttach(t, Request{Path: path, Attempt: "1"})
	err := v.Remove(t.Context(), path)
	if busy, ok := errors.AsType[*Busy](err); !ok || !busy.Writer || !slices.Equal(busy.Attempts, []string{"1"}) {
		t.Errorf("removed while attached: %v", err)
	}
	v.mustDetach(t, "1")
	for range 2 {
		if err := v.Remove(t.Context(), path); err != nil {
			t.Error(err)
		}
	}
	wantNothing(t, v.Dir)
	other := t.TempDir()
	for _, foreign := range []string{"", "/", v.Dir, other, filepath.Join(v.Dir, "x"), path + "/.."} {
		if err := v.Remove(t.Context(), foreign); berth.KindOf(err) != berth.Conflict {
			t.Errorf("removed %q: %v", foreign, err)
		}
	}
	if _, err := v.Attach(t.Context(), Request{Path: path, Attempt: "1"}); berth.KindOf(err) != berth.NotFound {
		t.Errorf("attached what is removed: %v", err)
	}
}

// TestSweep deletes what no vault has, unless a job may have left files in it.
func TestSweep(t *testing.T) {
	v := newVolumes(t)
	known, fresh, used := v.mustCreate(t, kinds["block"]), v.mustCreate(t, kinds["block"]), v.mustCreate(t, kinds["block"])
	v.mustAttach(t, Request{Path: used, Attempt: "1"})
	v.mustDetach(t, "1")
	foreign := filepath.Join(v.Dir, "lost+found")
	if err := os.Mkdir(foreign, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := v.Sweep(t.Context(), []string{known}); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]bool{known: true, fresh: false, used: true, foreign: true} {
		if exists(path) != want {
			t.Errorf("%s is there: %v", path, !want)
		}
	}
}

// TestSweepOfAnotherDisk: the images that arrays have on the other disks stay there, also when one of those becomes the first.
func TestSweepOfAnotherDisk(t *testing.T) {
	v := newVolumes(t)
	v.Dirs = []string{v.Dir, t.TempDir()}
	path := v.mustCreate(t, kinds["array"])
	broken := filepath.Join(v.Dirs[1], prefix+strings.Repeat("0", 32)) // begun, and broken off before anything was in it
	if err := os.Mkdir(broken, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(broken, layoutFile+wholefile.Unfinished), nil)
	swapped := &Volumes{Dir: v.Dirs[1], Dirs: []string{v.Dirs[1], v.Dir}, Log: v.Log}
	if err := swapped.Sweep(t.Context(), []string{path}); err != nil {
		t.Fatal(err)
	}
	if exists(broken) {
		t.Errorf("%s is still there", broken)
	}
	v.mustAttach(t, Request{Path: path, Attempt: "1"})
}
