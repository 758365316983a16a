package enginetest

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// busybox is the static program of Debian's package busybox-static.
const busybox = "/bin/busybox"

// BusyboxRootfs returns the path of a tar of a small root filesystem, see WriteBusyboxRootfs. The test fails when busybox is
// missing.
func BusyboxRootfs(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "busybox.tar")
	if err := WriteBusyboxRootfs(tb.Context(), path); err != nil {
		tb.Fatal(err)
	}
	return path
}

// WriteBusyboxRootfs writes a tar of a small root filesystem, which needs no network and no image: the machine's busybox with
// all its commands, /etc/passwd, /etc/group, /tmp, and Actions. The same busybox makes the same bytes.
func WriteBusyboxRootfs(ctx context.Context, path string) error {
	program, err := os.ReadFile(busybox)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is missing: install the package busybox-static", busybox)
	}
	if err != nil {
		return fmt.Errorf("busybox root filesystem: %w", err)
	}
	applets, err := exec.CommandContext(ctx, busybox, "--list").Output()
	if err != nil {
		return fmt.Errorf("commands of busybox: %w", err)
	}
	actions, err := json.Marshal(Actions)
	if err != nil {
		return fmt.Errorf("actions: %w", err)
	}
	var text bytes.Buffer
	archive := tar.NewWriter(&text)
	for _, dir := range []string{"bin", "dev", "etc", "etc/NAE", "proc", "root", "run", "sys", "var"} {
		err = errors.Join(err, archive.WriteHeader(&tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755}))
	}
	err = errors.Join(err,
		archive.WriteHeader(&tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}),
		writeFile(archive, "bin/busybox", program, 0o755),
		writeFile(archive, "etc/passwd", []byte("root:x:0:0:root:/root:/bin/sh\n"), 0o644),
		writeFile(archive, "etc/group", []byte("root:x:0:\n"), 0o644),
		writeFile(archive, agentapi.ActionsFile[1:], actions, 0o644),
	)
	for applet := range strings.FieldsSeq(string(applets)) {
		if applet != "busybox" {
			err = errors.Join(err, archive.WriteHeader(&tar.Header{Name: "bin/" + applet, Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}))
		}
	}
	if err := errors.Join(err, archive.Close()); err != nil {
		return fmt.Errorf("busybox root filesystem: %w", err)
	}
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		return fmt.Errorf("busybox root filesystem: %w", err)
	}
	return nil
}

func writeFile(archive *tar.Writer, name string, content []byte, mode int64) error {
	err := archive.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(content))})
	if err != nil {
		return err
	}
	_, err = archive.Write(content)
	return err
}

// BuildAgent compiles the agent (cmd/berth-init) as it is shipped, into a directory, and returns its path.
func BuildAgent(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "berth-init")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "github.com/berth-hpc/berth/cmd/berth-init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if text, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the agent: %w\n%s", err, text)
	}
	return path, nil
}
