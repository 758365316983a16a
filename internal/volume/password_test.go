package volume

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const newPassword = "battery staple correct horse"

// changing is what the server asks for to change a password.
func changing(path, password string) Request {
	return Request{Path: path, Attempt: Server, Password: password}
}

// wantPassword checks that a volume has one password and not another, and its file with either.
func wantPassword(t *testing.T, v *Volumes, path, password, not string) {
	t.Helper()
	if _, err := v.Attach(t.Context(), Request{Path: path, Attempt: "wrong", Password: not}); !errors.Is(err, ErrPassword) {
		t.Errorf("attached with another password: %v", err)
	}
	wantFile(t, filepath.Join(v.mustAttach(t, Request{Path: path, Attempt: "right", Password: password}), "file"), []byte("text"))
	v.mustDetach(t, "right")
	wantNoClaim(t, v)
}

// newSecret makes an encrypted volume with a file.
func newSecret(t *testing.T, spec Spec) (*Volumes, string) {
	t.Helper()
	v := newVolumes(t)
	path := v.mustCreate(t, spec)
	write(t, filepath.Join(v.mustAttach(t, Request{Path: path, Attempt: "1", Password: password}), "file"), []byte("text"))
	v.mustDetach(t, "1")
	return v, path
}

func TestPasswordIsChanged(t *testing.T) {
	for name, spec := range some("encrypted block", "encrypted array") {
		t.Run(name, func(t *testing.T) {
			v, path := newSecret(t, spec)
			if err := v.ChangePassword(t.Context(), changing(path, "wrong password"), newPassword); !errors.Is(err, ErrPassword) {
				t.Errorf("with a wrong password: %v", err)
			}
			if err := v.ChangePassword(t.Context(), changing(path, password), ""); !errors.Is(err, ErrPassword) {
				t.Errorf("to none: %v", err)
			}
			wantPassword(t, v, path, password, newPassword)
			v.mustAttach(t, Request{Path: path, Attempt: "job", ReadOnly: true, Password: password})
			err := v.ChangePassword(t.Context(), changing(path, password), newPassword)
			if busy, ok := errors.AsType[*Busy](err); !ok || busy.Attempts[0] != "job" {
				t.Errorf("while somebody has it: %v", err)
			}
			v.mustDetach(t, "job")
			if err := v.ChangePassword(t.Context(), changing(path, password), newPassword); err != nil {
				t.Fatal(err)
			}
			wantPassword(t, v, path, newPassword, password)
		})
	}
	v := newVolumes(t)
	if err := v.ChangePassword(t.Context(), changing(v.mustCreate(t, kinds["block"]), password), newPassword); !errors.Is(err, ErrPassword) {
		t.Errorf("of a volume without one: %v", err)
	}
}

// TestKilledWhileChangingThePassword: the old password or the new one is that of the volume, and the next server can change it again.
func TestKilledWhileChangingThePassword(t *testing.T) {
	v, path := newSecret(t, kinds["encrypted block"])
	now, next := password, newPassword
	for _, kill := range []struct {
		point   string
		changed bool
	}{
		{"volume.looped", false},
		{"volume.password.before", false},
		{"volume.password.after", true},
		{"volume.unmounted", true},
	} {
		child{Dir: v.Dir, Do: "password", Request: changing(path, now), Password: next}.killed(t, kill.point)
		if kill.changed {
			now, next = next, now
		}
		wantBusy(t, v, Request{Path: path, Attempt: "job", Password: now}, true, Server)
		if err := v.DetachFrom(t.Context(), path, Server); err != nil {
			t.Fatal(err)
		}
		wantPassword(t, v, path, now, next)
	}
}

// TestGocryptfsIsKilled while it changes the password: that is the old one or the new one, and can be changed again.
func TestGocryptfsIsKilled(t *testing.T) {
	v, path := newSecret(t, kinds["encrypted block"])
	now, next := password, newPassword
	data := filepath.Join(v.mustHold(t, path), cipherDir)
	if err := os.WriteFile(filepath.Join(data, keysFile+".tmp"), []byte("half of the ke"), 0o400); err != nil { // where it is killed while it writes
		t.Fatal(err)
	}
	if err := v.DetachFrom(t.Context(), path, Server); err != nil {
		t.Fatal(err)
	}
	wantPassword(t, v, path, now, next)
	for after := 60 * time.Millisecond; after < 300*time.Millisecond; after += 60 * time.Millisecond {
		soon, cancel := context.WithTimeout(t.Context(), after)
		err := v.ChangePassword(soon, changing(path, now), next)
		cancel()
		if err == nil {
			now, next = next, now
		} else if _, errNow := v.Attach(t.Context(), Request{Path: path, Attempt: "1", Password: now}); errors.Is(errNow, ErrPassword) {
			now, next = next, now
		}
		v.mustDetach(t, "1")
		wantPassword(t, v, path, now, next)
	}
	if err := v.ChangePassword(t.Context(), changing(path, now), next); err != nil {
		t.Fatal(err)
	}
	wantPassword(t, v, path, next, now)
}

// TestPasswordIsChangedButTheVolumeNotLetGo: who changed it is not told that it was not changed.
func TestPasswordIsChangedButTheVolumeNotLetGo(t *testing.T) {
	v, path := newSecret(t, kinds["encrypted block"])
	inTheWay := filepath.Join(path, attached, Server, "file")
	if err := os.MkdirAll(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := v.ChangePassword(t.Context(), changing(path, password), newPassword); err != nil {
		t.Errorf("changed, and yet: %v", err)
	}
	wantBusy(t, v, Request{Path: path, Attempt: "job", Password: newPassword}, true, Server)
	if err := errors.Join(os.Remove(inTheWay), v.DetachFrom(t.Context(), path, Server)); err != nil {
		t.Fatal(err)
	}
	wantPassword(t, v, path, newPassword, password)
}

// mustHold mounts an encrypted volume for the server without decrypting it.
func (v *Volumes) mustHold(t *testing.T, path string) (mount string) {
	t.Helper()
	vol, c, err := v.enter(t.Context(), changing(path, password))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(vol.mount(t.Context(), c), vol.unlock()); err != nil {
		t.Fatal(err)
	}
	return c.mount()
}

// TestDetachFromOne gives up one volume of somebody who has two.
func TestDetachFromOne(t *testing.T) {
	v := newVolumes(t)
	first, second := v.mustCreate(t, kinds["block"]), v.mustCreate(t, kinds["block"])
	for _, path := range []string{first, second} {
		v.mustAttach(t, Request{Path: path, Attempt: Server})
	}
	for range 2 {
		if err := v.DetachFrom(t.Context(), first, Server); err != nil {
			t.Fatal(err)
		}
	}
	if paths, err := v.AttachedTo(Server); err != nil || len(paths) != 1 || paths[0] != second {
		t.Errorf("attached %v, %v", paths, err)
	}
	if err := v.DetachFrom(t.Context(), filepath.Join(t.TempDir(), filepath.Base(second)), Server); err != nil {
		t.Errorf("from one that is not here: %v", err)
	}
}
