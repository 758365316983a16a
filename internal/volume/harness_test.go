package volume

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/crashpoint"
)

const (
	small      = 64 << 20
	smallArray = 2 * MinImage
	password   = "correct horse battery staple"
)

// kinds are the volumes that there are.
var kinds = map[string]Spec{
	"block":           {Size: small, Images: 1},
	"array":           {Size: smallArray, Images: 2},
	"encrypted block": {Size: small, Images: 1, Password: password},
	"encrypted array": {Size: smallArray, Images: 2, Password: password},
}

// some returns the kinds of these names.
func some(names ...string) map[string]Spec {
	chosen := make(map[string]Spec)
	for _, name := range names {
		chosen[name] = kinds[name]
	}
	return chosen
}

// childEnv makes the test binary another server, which does one thing and is killed at a crash point on its way.
const childEnv = "BERTH_VOLUME_TEST_CHILD"

type child struct {
	Dir, Do string
	Spec    Spec
	Request Request
	// Password is the new one.
	Password string
}

func TestMain(m *testing.M) {
	text := os.Getenv(childEnv)
	if text == "" {
		os.Exit(m.Run())
	}
	var c child
	err := json.Unmarshal([]byte(text), &c)
	if err == nil {
		err = c.run()
	}
	_, _ = fmt.Fprintln(os.Stderr, "the child ended by itself:", err)
	os.Exit(1)
}

func (c child) run() (err error) {
	ctx, v := context.Background(), &Volumes{Dir: c.Dir, Log: slog.New(slog.DiscardHandler)}
	switch c.Do {
	case "create":
		_, err = v.Create(ctx, c.Spec)
	case "attach":
		_, err = v.Attach(ctx, c.Request)
	case "detach":
		err = v.Detach(ctx, c.Request.Attempt)
	case "password":
		err = v.ChangePassword(ctx, c.Request, c.Password)
	case "remove":
		err = v.Remove(ctx, c.Request.Path)
	}
	return err
}

// killed runs another server that does something until it is killed at a crash point.
func (c child) killed(t *testing.T, point string) {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(text), crashpoint.Env+"="+point)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("at %s the child was not killed: %v: %s", point, err, stderr.String())
	}
}

// newVolumes returns volumes in a new directory. What is attached at the end of the test is detached.
func newVolumes(t *testing.T) *Volumes {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	v := &Volumes{Dir: filepath.Join(t.TempDir(), "volumes"), Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	t.Cleanup(func() {
		attempts, err := v.Attempts()
		if err != nil {
			t.Error(err)
		}
		for _, attempt := range attempts {
			if err := v.Detach(context.WithoutCancel(t.Context()), attempt); err != nil {
				t.Error(err)
			}
		}
		if left := loops(t, v); len(left) > 0 {
			t.Errorf("loop devices that nobody needs: %v", left)
		}
	})
	return v
}

// loops lists the images that are attached to loop devices.
func loops(t *testing.T, v *Volumes) []string {
	t.Helper()
	backings, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, backing := range backings {
		name, err := os.ReadFile(backing)
		if err == nil && strings.HasPrefix(string(name), v.Dir) {
			found = append(found, strings.TrimSpace(string(name)))
		}
	}
	return found
}

func (v *Volumes) mustCreate(t *testing.T, s Spec) string {
	t.Helper()
	path, err := v.Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func (v *Volumes) mustAttach(t *testing.T, r Request) string {
	t.Helper()
	data, err := v.Attach(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (v *Volumes) mustDetach(t *testing.T, attempt string) {
	t.Helper()
	if err := v.Detach(t.Context(), attempt); err != nil {
		t.Fatal(err)
	}
}

// write makes a file that is on the disk afterwards.
func write(t *testing.T, path string, content []byte) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.Write(content)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		t.Fatal(err)
	}
}

func wantFile(t *testing.T, path string, content []byte) {
	t.Helper()
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, content) {
		t.Fatalf("%s has %d bytes that are not the %d written ones", path, len(have), len(content))
	}
}

// images returns the paths of a volume's images.
func images(t *testing.T, path string) []string {
	t.Helper()
	vol := &volume{dir: path}
	if err := vol.load(); err != nil {
		t.Fatal(err)
	}
	return vol.images()
}

// wantReserved checks that images have their size and all blocks of it.
func wantReserved(t *testing.T, path string, size int64) {
	t.Helper()
	for _, image := range images(t, path) {
		var info unix.Stat_t
		if err := unix.Stat(image, &info); err != nil {
			t.Fatal(err)
		}
		if info.Size != size || info.Blocks*512 < size {
			t.Errorf("%s has %d bytes and %d on the disk; want %d", image, info.Size, info.Blocks*512, size)
		}
	}
}

// contains says whether one of the images of a volume has a text in it.
func contains(t *testing.T, path string, text []byte) bool {
	t.Helper()
	return count(t, images(t, path), text) > 0
}

// count says how often files have a text.
func count(t *testing.T, paths []string, text []byte) (n int) {
	t.Helper()
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		n += bytes.Count(content, text)
	}
	return n
}

// copyFile copies what a file has now.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	source, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	target, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(target, source)
	if err := errors.Join(err, target.Close()); err != nil {
		t.Fatal(err)
	}
}

// syncFiles leaves nothing to be written to the file system of a directory: it does not change any more.
func syncFiles(t *testing.T, data string) {
	t.Helper()
	dir, err := os.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Syncfs(int(dir.Fd())), dir.Close()); err != nil {
		t.Fatal(err)
	}
}

// wantNothing checks that a directory has nothing in it, or is not there.
func wantNothing(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		for _, entry := range entries {
			t.Errorf("%s is left in %s", entry.Name(), dir)
		}
	}
}

// eventually waits for something that other processes bring about.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}
