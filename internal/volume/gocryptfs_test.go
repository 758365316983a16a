package volume

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestNothingCanBeReadInTheImages of an encrypted volume, neither content nor names, and all of it in those of others.
func TestNothingCanBeReadInTheImages(t *testing.T) {
	for name, spec := range some("block", "encrypted block") {
		t.Run(name, func(t *testing.T) {
			v := newVolumes(t)
			path := v.mustCreate(t, spec)
			data := v.mustAttach(t, Request{Path: path, Attempt: "1", Password: spec.Password})
			content := make([]byte, 1<<20)
			_, _ = rand.Read(content)
			file := "a-name-that-tells-" + rand.Text()
			write(t, filepath.Join(data, file), content)
			v.mustDetach(t, "1")
			for what, text := range map[string][]byte{"content": content[:1<<10], "name": []byte(file), "password": []byte(password)} {
				readable := spec.Password == "" && what != "password"
				if contains(t, path, text) != readable {
					t.Errorf("the %s can be read in the images: %v", what, !readable)
				}
			}
		})
	}
}

func TestPasswords(t *testing.T) {
	v := newVolumes(t)
	paths := map[bool]string{true: v.mustCreate(t, kinds["encrypted block"]), false: v.mustCreate(t, kinds["block"])}
	for name, c := range map[string]struct {
		encrypted bool
		password  string
	}{
		"wrong":     {true, "wrong password"},
		"missing":   {true, ""},
		"pointless": {false, password},
	} {
		_, err := v.Attach(t.Context(), Request{Path: paths[c.encrypted], Attempt: "1", Password: c.password})
		if !errors.Is(err, ErrPassword) {
			t.Errorf("%s: %v", name, err)
		}
		wantNoClaim(t, v)
	}
}

// TestPasswordIsNotShown to others on the machine, who see the command lines of all processes.
func TestPasswordIsNotShown(t *testing.T) {
	v := newVolumes(t)
	secret := rand.Text() // no other test on this machine has it
	path := v.mustCreate(t, Spec{Size: small, Images: 1, Password: secret})
	v.mustAttach(t, Request{Path: path, Attempt: "1", Password: secret})
	daemons(t, path) // there is one
	for _, pattern := range []string{"/proc/[0-9]*/cmdline", "/proc/[0-9]*/environ"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err == nil && bytes.Contains(content, []byte(secret)) {
				t.Errorf("%s has the password", file)
			}
		}
	}
	err := filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && count(t, []string{file}, []byte(secret)) > 0 {
			t.Errorf("%s has the password", file)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// daemons returns the processes of gocryptfs that serve a volume.
func daemons(t *testing.T, path string) (pids []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(content, []byte("gocryptfs\x00")) || !bytes.Contains(content, []byte(path)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if len(pids) == 0 {
		t.Fatalf("no gocryptfs for %s", path)
	}
	return pids
}

// TestDaemonIsKilled: what was synced is there, and the volume can be detached, or attached again for the same attempt.
func TestDaemonIsKilled(t *testing.T) {
	v := newVolumes(t)
	request := Request{Path: v.mustCreate(t, kinds["encrypted block"]), Attempt: "1", Password: password}
	data := v.mustAttach(t, request)
	write(t, filepath.Join(data, "file"), []byte("written and synced"))
	kill := func() {
		t.Helper()
		for _, pid := range daemons(t, request.Path) {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		lock, err := os.Open(claim{dir: filepath.Join(request.Path, attached, "1")}.daemon())
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "gocryptfs is dead", func() bool {
			free, err := tryLock(lock)
			_, errData := os.Stat(data)
			return err == nil && free && errors.Is(errData, unix.ENOTCONN)
		})
		if err := lock.Close(); err != nil {
			t.Fatal(err)
		}
	}
	kill()
	wantFile(t, filepath.Join(v.mustAttach(t, request), "file"), []byte("written and synced"))
	kill()
	v.mustDetach(t, "1")
	wantNoClaim(t, v)
	wantFile(t, filepath.Join(v.mustAttach(t, request), "file"), []byte("written and synced"))
}

// TestDaemonOnItsWay: a gocryptfs that a killed server has started is waited for, and no second one is started beside it.
func TestDaemonOnItsWay(t *testing.T) {
	v := newVolumes(t)
	request := Request{Path: v.mustCreate(t, kinds["encrypted block"]), Attempt: "1", Password: password}
	child{Dir: v.Dir, Do: "attach", Request: request}.killed(t, "volume.mounted")
	c := claim{dir: filepath.Join(request.Path, attached, "1")}
	first, err := os.Create(c.daemon())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if free, err := tryLock(first); err != nil || !free {
		t.Fatalf("locked: %v, %v", free, err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.decrypt(soon, password); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second one is started: %v", err)
	}
	if err := first.Close(); err != nil { // as when it fails
		t.Fatal(err)
	}
	v.mustAttach(t, request)
	if pids := daemons(t, request.Path); len(pids) != 1 {
		t.Errorf("%d daemons", len(pids))
	}
}
