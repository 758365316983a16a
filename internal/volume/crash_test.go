package volume

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestKilledWhileAttaching: the next server finishes what was begun, or ends it.
func TestKilledWhileAttaching(t *testing.T) {
	for _, name := range []string{"array", "encrypted block"} {
		t.Run(name, func(t *testing.T) {
			v, spec := newVolumes(t), kinds[name]
			path := v.mustCreate(t, spec)
			points := []string{"volume.claimed", "volume.looped", "volume.mounted"}
			if spec.Password != "" {
				points = append(points, "volume.decrypted")
			}
			for _, point := range points {
				request := Request{Path: path, Attempt: point, Password: spec.Password}
				child{Dir: v.Dir, Do: "attach", Request: request}.killed(t, point)
				data := v.mustAttach(t, request)
				write(t, filepath.Join(data, point), []byte(point))
				v.mustDetach(t, point)
				wantNoClaim(t, v)

				request.Attempt = "2"
				child{Dir: v.Dir, Do: "attach", Request: request}.killed(t, point)
				request.Attempt = "3"
				wantBusy(t, v, request, true, "2")
				v.mustDetach(t, "2")
				wantNoClaim(t, v)
				wantFile(t, filepath.Join(v.mustAttach(t, request), point), []byte(point))
				v.mustDetach(t, "3")
			}
		})
	}
}

// TestMountThatTheKernelBreaksOff: a server that is killed while it mounts has the kernel leave the file system as if it had been used. It was
// not, and nobody has to say that it shall be repaired; once it was used, somebody has to.
func TestMountThatTheKernelBreaksOff(t *testing.T) {
	for name, readOnly := range map[string]bool{"writer": false, "reader": true} {
		t.Run(name, func(t *testing.T) {
			v := newVolumes(t)
			path := v.mustCreate(t, kinds["block"])
			image := images(t, path)[0]
			write(t, filepath.Join(v.mustAttach(t, Request{Path: path, Attempt: "1"}), "file"), []byte("text"))
			v.mustDetach(t, "1")
			child{Dir: v.Dir, Do: "attach", Request: Request{Path: path, Attempt: "2"}}.killed(t, "volume.looped")
			v.mustDetach(t, "2")
			unclean := func() {
				t.Helper()
				if out, err := exec.CommandContext(t.Context(), "/usr/sbin/debugfs", "-w", "-R", "feature needs_recovery", image).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			unclean()
			wantFile(t, filepath.Join(v.mustAttach(t, Request{Path: path, Attempt: "3", ReadOnly: readOnly}), "file"), []byte("text"))
			v.mustDetach(t, "3")
			v.mustAttach(t, Request{Path: path, Attempt: "4"})
			v.mustDetach(t, "4")
			wantNoClaim(t, v)
			unclean()
			if _, err := v.Attach(t.Context(), Request{Path: path, Attempt: "5"}); !errors.Is(err, ErrUnclean) {
				t.Errorf("attached what was used and not closed: %v", err)
			}
		})
	}
	v := newVolumes(t)
	path := v.mustCreate(t, kinds["block"])
	request := Request{Path: path, Attempt: "1"}
	child{Dir: v.Dir, Do: "attach", Request: request}.killed(t, "volume.mounted")
	v.mustAttach(t, request) // the mount of before
	if vol := (&volume{dir: path}); vol.load() != nil || vol.layout.Mounting {
		t.Error("what is used counts as if it was not")
	}
}

// TestKilledWhileDetaching: the claim stays until nothing is mounted any more.
func TestKilledWhileDetaching(t *testing.T) {
	for _, name := range []string{"array", "encrypted block"} {
		t.Run(name, func(t *testing.T) {
			v, spec := newVolumes(t), kinds[name]
			path := v.mustCreate(t, spec)
			for _, point := range []string{"volume.encrypted", "volume.unmounted"} {
				request := Request{Path: path, Attempt: "1", Password: spec.Password}
				write(t, filepath.Join(v.mustAttach(t, request), point), []byte(point))
				child{Dir: v.Dir, Do: "detach", Request: request}.killed(t, point)
				wantBusy(t, v, Request{Path: path, Attempt: "2", Password: spec.Password}, true, "1")
				wantFile(t, filepath.Join(v.mustAttach(t, request), point), []byte(point)) // the attempt that was being detached may come again
				child{Dir: v.Dir, Do: "detach", Request: request}.killed(t, point)
				v.mustDetach(t, "1")
				wantNoClaim(t, v)
			}
		})
	}
}

// TestKilledWhileRepairing: what was half repaired is unclean, whatever its file system says.
func TestKilledWhileRepairing(t *testing.T) {
	v := newVolumes(t)
	path := v.mustCreate(t, kinds["block"])
	image := images(t, path)[0]
	data := v.mustAttach(t, Request{Path: path, Attempt: "1"})
	syncFiles(t, data)
	copyFile(t, image, image+".torn")
	v.mustDetach(t, "1")
	if err := os.Rename(image+".torn", image); err != nil {
		t.Fatal(err)
	}
	request := Request{Path: path, Attempt: "2", Force: true}
	child{Dir: v.Dir, Do: "attach", Request: request}.killed(t, "volume.repairing")
	// The file system has its word for being clean back as soon as its journal is written, which is the beginning of the repair.
	vol := &volume{dir: path}
	if err := errors.Join(vol.load(), vol.check(t.Context())); err != nil {
		t.Fatal(err)
	}
	request.Force = false
	if _, err := v.Attach(t.Context(), request); !errors.Is(err, ErrUnclean) {
		t.Errorf("attached what was half repaired: %v", err)
	}
	request.Force = true
	v.mustAttach(t, request)
	v.mustDetach(t, "2")
	request.Force = false
	v.mustAttach(t, request)
}

// TestKilledWhileMaking: nothing is left of a volume that was not made completely.
func TestKilledWhileMaking(t *testing.T) {
	v := newVolumes(t)
	for _, point := range []string{"volume.begun", "volume.formatted", "volume.looped", "volume.encrypted", "volume.unmounted"} {
		child{Dir: v.Dir, Do: "create", Spec: kinds["encrypted block"]}.killed(t, point)
		if err := v.Sweep(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		wantNothing(t, v.Dir)
	}
}

// TestKilledWhileRemoving: a volume whose removal was begun is gone, asked for again or not.
func TestKilledWhileRemoving(t *testing.T) {
	v := newVolumes(t)
	for _, again := range []bool{true, false} {
		path := v.mustCreate(t, kinds["block"])
		v.mustAttach(t, Request{Path: path, Attempt: "1"})
		v.mustDetach(t, "1")
		child{Dir: v.Dir, Do: "remove", Request: Request{Path: path}}.killed(t, "volume.removing")
		finish := func() error { return v.Sweep(t.Context(), nil) }
		if again {
			finish = func() error { return v.Remove(t.Context(), path) }
		}
		if err := finish(); err != nil {
			t.Fatal(err)
		}
		wantNothing(t, v.Dir)
	}
}
