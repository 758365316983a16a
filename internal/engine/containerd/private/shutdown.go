package private

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/engine/containerd/cgroup"
)

// endTimeout is how long the daemon may take to end by itself.
const endTimeout = 10 * time.Second

// Shutdown ends the daemon and everything that it runs, and frees what it has outside of the data directory: processes, mounts,
// control groups and its directory in /run. Images and snapshots stay. Safe to call twice, and when it never ran.
func (d *Daemon) Shutdown(ctx context.Context) error {
	if _, err := os.Stat(d.state); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	unlock, err := lock(ctx, filepath.Join(d.state, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.end(ctx); err != nil {
		return err
	}
	// The daemon is dead, so nothing new comes. First the containers, which no killed shim would end, then the shims.
	if err := d.endContainers(ctx); err != nil {
		return err
	}
	if err := d.endShims(ctx); err != nil {
		return err
	}
	if err := unmountBelow(d.state, d.root); err != nil {
		return err
	}
	if err := os.RemoveAll(d.state); err != nil {
		return fmt.Errorf("remove the state of the private containerd: %w", err)
	}
	_ = os.Remove(stateRoot) // when no other private containerd uses it
	return nil
}

// end ends the daemon's own process.
func (d *Daemon) end(ctx context.Context) error {
	pid, running := d.pid()
	if !running {
		return nil
	}
	for _, signal := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := unix.Kill(pid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("end the private containerd: %w", err)
		}
		waiting, cancel := context.WithTimeout(ctx, endTimeout)
		err := waitEnd(waiting, pid)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
	}
	return fmt.Errorf("the private containerd (process %d) does not end", pid)
}

// endContainers kills what runs in the control groups of the daemon's containers, and removes their shims' sockets.
func (d *Daemon) endContainers(ctx context.Context) error {
	bundles, err := filepath.Glob(filepath.Join(d.state, "state", "io.containerd.runtime.v2.task", "*", "*"))
	if err != nil {
		return fmt.Errorf("containers of the private containerd: %w", err)
	}
	var failed error
	for _, bundle := range bundles {
		id, namespace := filepath.Base(bundle), filepath.Base(filepath.Dir(bundle))
		failed = errors.Join(failed, cgroup.Of(id).Remove(ctx))
		_ = os.Remove(ShimSocket(d.Address(), namespace, id)) // it is no harm where it is not
	}
	return failed
}

// endShims kills the shims that the daemon left.
func (d *Daemon) endShims(ctx context.Context) error {
	for _, shim := range Shims(d.Address()) {
		if err := shim.End(ctx); err != nil {
			return err
		}
	}
	return nil
}

// unmountBelow unmounts everything below the directories, innermost first.
func unmountBelow(dirs ...string) error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("mounts: %w", err)
	}
	var points []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		const mountPoint = 4
		if len(fields) <= mountPoint {
			continue
		}
		point := unescape(fields[mountPoint])
		if slices.ContainsFunc(dirs, func(dir string) bool { return strings.HasPrefix(point, dir+"/") }) {
			points = append(points, point)
		}
	}
	slices.Reverse(points) // a mount inside another comes after it
	for _, point := range points {
		err := unix.Unmount(point, unix.MNT_DETACH)
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("unmount %s: %w", point, err)
		}
	}
	return nil
}

// unescape undoes the kernel's octal escapes of space, tab, newline and backslash.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}
