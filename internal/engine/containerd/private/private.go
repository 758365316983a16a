// Package private runs a containerd of one data directory's own. It is a session of its own that outlives whoever started it,
// and so do its containers; the next server with the same data directory finds it among the processes.
//
// Its root (images, snapshots, metadata) is DATA/containerd. Its state and socket are in /run/berth/<identity>, because the path
// of a socket must be short and the state must not survive the machine's next boot.
package private

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stateRoot holds the state of every private containerd of this machine.
const stateRoot = "/run/berth"

const (
	// startTimeout is how long containerd may take to accept connections; with very many containers it takes some seconds.
	startTimeout = time.Minute
	// probeInterval is how often a containerd that is starting is asked whether it accepts connections.
	probeInterval = 20 * time.Millisecond
	// restartPause keeps a containerd that ends at once from being started in a tight loop.
	restartPause = time.Second
)

// Config says whose containerd it is.
type Config struct {
	// DataDir is the data directory, absolute.
	DataDir string
	Log     *slog.Logger
}

// Daemon is the private containerd of a data directory, running or not. Its methods may be called concurrently.
type Daemon struct {
	log     *slog.Logger
	dataDir string
	// root is kept for ever, state until the next boot.
	root, state string
}

// New returns the daemon of a data directory and starts nothing.
func New(cfg Config) *Daemon {
	return &Daemon{
		log: cfg.Log, dataDir: cfg.DataDir,
		root: filepath.Join(cfg.DataDir, "containerd"), state: StateDir(cfg.DataDir),
	}
}

// Identity is a short name of a data directory, different for each: 12 hexadecimal digits.
func Identity(dataDir string) string {
	sum := sha256.Sum256([]byte(filepath.Clean(dataDir)))
	return hex.EncodeToString(sum[:])[:12]
}

// StateDir is where the private containerd of a data directory has its socket and state.
func StateDir(dataDir string) string { return filepath.Join(stateRoot, Identity(dataDir)) }

// ShimSocket is where the shim of a container listens, of the containerd at an address. A shim that was killed leaves it.
func ShimSocket(address, namespace, id string) string {
	return fmt.Sprintf("/run/containerd/s/%x", sha256.Sum256([]byte(filepath.Join(address, namespace, id))))
}

// Address is the daemon's socket.
func (d *Daemon) Address() string { return filepath.Join(d.state, "containerd.sock") }

// RuncRoot is where runc keeps the state of the daemon's containers.
func (d *Daemon) RuncRoot() string { return filepath.Join(d.state, "runc") }

// ContainerdState is where the daemon itself keeps what a boot may forget, the bundles of its containers among it.
func (d *Daemon) ContainerdState() string { return filepath.Join(d.state, "state") }

// configPath is where the daemon's configuration is.
func (d *Daemon) configPath() string { return filepath.Join(d.state, "config.toml") }

// command is what the daemon runs as, and no other.
func (d *Daemon) command() []string { return []string{"containerd", "--config", d.configPath()} }

// LogPath is where the daemon's own log is.
func (d *Daemon) LogPath() string { return filepath.Join(d.root, "containerd.log") }

// Ensure returns when the daemon accepts connections, having started it when it did not run. Safe to call at any time, also by
// two servers at once: it is started once.
func (d *Daemon) Ensure(ctx context.Context) error {
	if err := checkPrograms(); err != nil {
		return err
	}
	for _, dir := range []string{d.root, d.state} {
		if err := os.MkdirAll(dir, 0o711); err != nil { //nolint:gosec // containers' mounts must be reachable by their users
			return fmt.Errorf("directory of the private containerd: %w", err)
		}
	}
	unlock, err := lock(ctx, filepath.Join(d.state, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	pid, running := d.pid()
	if !running {
		if pid, err = d.start(ctx); err != nil {
			return err
		}
		d.log.Info("private containerd started", "pid", pid, "log", d.LogPath())
	}
	return d.accepts(ctx, pid)
}

// checkPrograms says which packages are missing.
func checkPrograms() error {
	packages := map[string]string{"containerd": "containerd", "containerd-shim-runc-v2": "containerd", "runc": "runc"}
	var missing []string
	for _, program := range []string{"containerd", "containerd-shim-runc-v2", "runc"} {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, fmt.Sprintf("%s (package %s)", program, packages[program]))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("missing programs: %s; install them (Debian: apt-get install containerd runc)", strings.Join(missing, ", "))
	}
	return nil
}

func (d *Daemon) start(ctx context.Context) (pid int, err error) {
	if err := d.writeConfig(); err != nil {
		return 0, err
	}
	log, err := os.OpenFile(d.LogPath(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return 0, fmt.Errorf("log of the private containerd: %w", err)
	}
	defer func() { _ = log.Close() }() // the child has its own
	d.removeOrphans(ctx)
	// Not ended with ctx: it outlives this process on purpose.
	command := d.command()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), command[0], command[1:]...)
	cmd.Dir = d.root
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start the private containerd: %w", err)
	}
	pid = cmd.Process.Pid
	if err := cmd.Process.Release(); err != nil {
		return 0, fmt.Errorf("start the private containerd: %w", err)
	}
	return pid, d.shown(ctx, pid)
}

// shown waits until the daemon is found among the processes, for the kernel shows its arguments a moment after it runs, or has ended. One that
// shows others, a script around containerd, would not be found by the next server, and is killed.
func (d *Daemon) shown(ctx context.Context, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		if _, found := d.pid(); found || reap(pid) {
			return nil
		}
		select {
		case <-ctx.Done():
			err := fmt.Errorf("the private containerd (process %d) does not run as %q: have the program itself first in the PATH", pid, d.command())
			return errors.Join(err, unix.Kill(-pid, unix.SIGKILL), waitEnd(context.WithoutCancel(ctx), pid))
		case <-time.After(time.Millisecond):
		}
	}
}

// accepts waits until the daemon accepts connections, or has ended.
func (d *Daemon) accepts(ctx context.Context, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, "unix", d.Address())
		if err == nil {
			return conn.Close()
		}
		if _, running := d.pid(); !running {
			reap(pid)
			return fmt.Errorf("the private containerd (process %d) ended at once; its log is %s: %s", pid, d.LogPath(), d.lastWords())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the private containerd (process %d) does not accept connections: %w", pid, errors.Join(context.Cause(ctx), err))
		case <-time.After(probeInterval):
		}
	}
}

// lastWords is the last line of the daemon's log.
func (d *Daemon) lastWords() string {
	text, err := os.ReadFile(d.LogPath())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

// Run restarts the daemon whenever it has ended, until ctx ends. The daemon goes on then.
func (d *Daemon) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		began := time.Now()
		if err := d.runOnce(ctx); err != nil && ctx.Err() == nil {
			d.log.Error("private containerd", "error", err)
		}
		// Attempts cannot start and end without it, so it comes back at once; but one that keeps failing may not spin.
		if time.Since(began) < restartPause {
			select {
			case <-ctx.Done():
			case <-time.After(restartPause):
			}
		}
	}
	return nil
}

// runOnce makes sure that the daemon runs and returns when it has ended.
func (d *Daemon) runOnce(ctx context.Context) error {
	if err := d.Ensure(ctx); err != nil {
		return err
	}
	pid, running := d.pid()
	if !running {
		return nil
	}
	if err := waitEnd(ctx, pid); err != nil {
		return err
	}
	d.log.Warn("private containerd ended, starting it again", "pid", pid, "log", d.LogPath())
	return nil
}

// lock takes an exclusive lock of a file.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock of the private containerd: %w", err)
	}
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock of the private containerd: %w", err), file.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("lock of the private containerd: %w", context.Cause(ctx)), file.Close())
		case <-time.After(probeInterval):
		}
	}
}
