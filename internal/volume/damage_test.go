package volume

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth"
)

// TestDamaged: what can never be mounted is told from what can be tried again, and nothing of it stays attached.
func TestDamaged(t *testing.T) {
	zeros := func(from, to int64) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			t.Helper()
			all := images(t, path)
			file, err := os.OpenFile(all[len(all)-1], os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = file.WriteAt(make([]byte, to-from), from)
			if err := errors.Join(err, file.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, test := range map[string]struct {
		kind   string
		damage func(t *testing.T, path string)
	}{
		"no file system":   {"block", zeros(0, small)},
		"no descriptors":   {"block", zeros(4096, 8192)},
		"no second image":  {"array", zeros(0, MinImage)},
		"no directory":     {"block", inside(func(mount string) error { return os.Remove(filepath.Join(mount, openDir)) })},
		"a link elsewhere": {"block", inside(func(mount string) error { return relink(filepath.Join(mount, openDir)) })},
		"no keys":          {"encrypted block", inside(func(mount string) error { return os.Remove(filepath.Join(mount, cipherDir, "gocryptfs.conf")) })},
		"nothing encrypted": {"encrypted block", inside(func(mount string) error {
			return os.Rename(filepath.Join(mount, cipherDir), filepath.Join(mount, "lost"))
		})},
	} {
		t.Run(name, func(t *testing.T) {
			v, spec := newVolumes(t), kinds[test.kind]
			path := v.mustCreate(t, spec)
			test.damage(t, path)
			for _, readOnly := range []bool{true, false} {
				request := Request{Path: path, Attempt: "2", ReadOnly: readOnly, Force: true, Password: spec.Password}
				if data, err := v.Attach(t.Context(), request); !errors.Is(err, ErrDamaged) {
					t.Errorf("attached, only to read %v: %q, %v", readOnly, data, err)
				}
				wantNoClaim(t, v)
			}
		})
	}
}

// relink has a link to the root of the machine in place of an empty directory.
func relink(dir string) error { return errors.Join(os.Remove(dir), os.Symlink("/", dir)) }

// inside changes the file system of a volume.
func inside(change func(mount string) error) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		t.Helper()
		vol, err := lock(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		c, err := vol.claim(t.Context(), "1", false)
		if err == nil {
			err = errors.Join(vol.mount(t.Context(), c), change(c.mount()), vol.release(t.Context(), c))
		}
		if err := errors.Join(err, vol.unlock()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAMissingDisk: a volume of which an image is gone is not there.
func TestAMissingDisk(t *testing.T) {
	v := newVolumes(t)
	path := v.mustCreate(t, kinds["array"])
	if err := os.Remove(images(t, path)[1]); err != nil {
		t.Fatal(err)
	}
	for _, readOnly := range []bool{true, false} {
		if _, err := v.Attach(t.Context(), Request{Path: path, Attempt: "1", ReadOnly: readOnly}); berth.KindOf(err) != berth.NotFound {
			t.Errorf("attached, only to read %v: %v", readOnly, err)
		}
	}
}

// TestRemoveFromAFullDisk: when there is no room for anything, a volume can still be removed.
func TestRemoveFromAFullDisk(t *testing.T) {
	v := newVolumes(t)
	if err := os.Mkdir(v.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("disk", v.Dir, "tmpfs", 0, "size=80m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(v.Dir, 0); err != nil {
			t.Error(err)
		}
	})
	path := v.mustCreate(t, kinds["block"])
	full, err := os.Create(filepath.Join(v.Dir, "full"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := full.Write(make([]byte, small)); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	if err := full.Close(); err != nil {
		t.Fatal(err)
	}
	if err := v.Remove(t.Context(), path); err != nil {
		t.Error(err)
	}
	if exists(path) {
		t.Errorf("%s is still there", path)
	}
}

// TestLoopOfAnotherDisk: files on two disks may have the same number, and are not taken for each other.
func TestLoopOfAnotherDisk(t *testing.T) {
	v := newVolumes(t)
	var images []string
	for _, name := range []string{"1", "2"} {
		disk := filepath.Join(v.Dir, name)
		if err := errors.Join(os.MkdirAll(disk, 0o700), unix.Mount("disk", disk, "tmpfs", 0, "size=80m")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(disk, 0); err != nil {
				t.Error(err)
			}
		})
		image := filepath.Join(disk, "image-0")
		if err := reserve(image, small); err != nil {
			t.Fatal(err)
		}
		images = append(images, image)
	}
	device, err := openLoop(t.Context(), images[0], false)
	if err != nil {
		t.Fatal(err)
	}
	for i, image := range images {
		if same, err := hasLoop(device, image); err != nil || same != (i == 0) {
			t.Errorf("the device of %s has %s: %v, %v", images[0], image, same, err)
		}
	}
	if err := device.Close(); err != nil {
		t.Error(err)
	}
	eventually(t, "the device went", func() bool { left, err := loopOf(images[0]); return left == "" && err == nil })
}
