// Package containerd runs attempts on one machine by containerd: one that is already there, or a private one of the data
// directory that needs nothing but the installed programs (package private).
//
// containerd's records are the engine's memory, so a restarted server knows every attempt. An attempt's container record is made
// first and is what a second Start of the same attempt collides with; it also keeps containerd's garbage collection away from
// the attempt's snapshot, so no lease is needed. A record without a task whose agent has written nothing never ran.
package containerd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	containerdclient "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/plugins"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/containerd/bridge"
	"github.com/berth-hpc/berth/internal/engine/containerd/private"
)

// Namespace is where the engine keeps its images and containers in containerd.
const Namespace = "berth"

// callTimeout bounds what the engine asks of containerd for one call, because every call may hang. A first unpacking of an
// image is the longest.
const callTimeout = 2 * time.Minute

// nodeTimeout is what each further node adds to the bound of a start. On an idle machine it takes a tenth of a second.
const nodeTimeout = 5 * time.Second

// Modes of a network.
const (
	// NetworkBridge gives each attempt an address behind a bridge of the data directory: it reaches the outside, and no other
	// attempt and no service of this host reach it, nor it them.
	NetworkBridge = "bridge"
	// NetworkNone leaves the loopback only.
	NetworkNone = "none"
)

// NetworkConfig says what network attempts get.
type NetworkConfig struct {
	// Mode is NetworkBridge, the default, or NetworkNone.
	Mode string
}

// Config says which containerd to use and how.
type Config struct {
	// Address is the socket of a containerd that is already there. Empty: a private one, started when it does not run.
	Address string
	// DataDir is the server's data directory, absolute. The private containerd's root and the network's subnet are kept in it,
	// and attempts carry its identity, so that servers that share a containerd see their own attempts only.
	DataDir string
	// AgentPath is the path of the static agent (cmd/berth-init) on this host.
	AgentPath string
	Network   NetworkConfig
	GPUs      GPUConfig
	// PinCPUs gives each node CPUs of its own: as many as it has cores, which no other node runs on that was started with it.
	PinCPUs bool
	// Scratch bounds what the files that an attempt changes and makes may take, in bytes; 0 is no bound. It is for a private containerd on
	// a filesystem with project quotas.
	Scratch int64
	// Programs32Bit allows 32-bit programs in 64-bit images. It costs 20 ms of CPU at each start.
	Programs32Bit bool
	Log           *slog.Logger
}

// Engine implements engine.Engine, engine.Agents, engine.Meter and engine.Images. Its methods may be called concurrently.
type Engine struct {
	*imageStore

	cfg         Config
	log         *slog.Logger
	client      *containerdclient.Client
	snapshotter string
	containers  containers.Store
	tasks       tasks.TasksClient
	snapshots   snapshots.Snapshotter
	// private is nil when the containerd is somebody else's.
	private *private.Daemon
	// network is nil in mode NetworkNone.
	network *bridge.Bridge
	gpus    *gpus
	cpus    *cpus
	// owner is the label value that tells this server's attempts from others'.
	owner   string
	profile profile
	// starting bounds how many containers start at a time: more only lengthens the tail.
	starting *semaphore.Weighted
	ids      keyedLock
	roots    rootCache
	started  startTimes
	ends     endings
	closing  sync.Once
	closed   error
}

var (
	_ engine.Engine = (*Engine)(nil)
	_ engine.Agents = (*Engine)(nil)
	_ engine.Meter  = (*Engine)(nil)
	_ engine.Images = (*Engine)(nil)
)

// Open connects to containerd, starting a private one when the configuration says so, and prepares the network. The caller
// ends it by Close; containerd and the attempts go on.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	cfg, err := checked(cfg)
	if err == nil {
		err = checkScratch(cfg)
	}
	if err != nil {
		return nil, err
	}
	e := &Engine{
		cfg: cfg, log: cfg.Log, owner: private.Identity(cfg.DataDir),
		starting: semaphore.NewWeighted(int64(2 * runtime.NumCPU())),
	}
	if cfg.Address == "" {
		e.private = private.New(private.Config{DataDir: cfg.DataDir, Log: cfg.Log})
		if err := e.private.Ensure(ctx); err != nil {
			return nil, err
		}
		e.cfg.Address = e.private.Address()
	}
	opening, cancel := e.bounded(ctx)
	defer cancel()
	if err := e.open(opening); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

func checked(cfg Config) (Config, error) {
	if cfg.Network.Mode == "" {
		cfg.Network.Mode = NetworkBridge
	}
	switch {
	case !filepath.IsAbs(cfg.DataDir):
		return cfg, fmt.Errorf("containerd engine: data directory %q is not absolute", cfg.DataDir)
	case !filepath.IsAbs(cfg.AgentPath):
		return cfg, fmt.Errorf("containerd engine: path of the agent %q is not absolute", cfg.AgentPath)
	case !slices.Contains([]string{NetworkBridge, NetworkNone}, cfg.Network.Mode):
		return cfg, fmt.Errorf("containerd engine: network mode %q is not one of bridge, none", cfg.Network.Mode)
	case os.Geteuid() != 0:
		return cfg, errors.New("containerd engine: running containers needs root")
	}
	return cfg, nil
}

func (e *Engine) open(ctx context.Context) error {
	var err error
	e.client, err = containerdclient.New(e.cfg.Address,
		containerdclient.WithDefaultNamespace(Namespace),
		containerdclient.WithDefaultRuntime(plugins.RuntimeRuncV2),
		// A restarted containerd must be found again soon; the client's own limit is ten seconds.
		containerdclient.WithExtraDialOpts([]grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 5 * time.Second,
		})}),
	)
	if err != nil {
		return fmt.Errorf("connect to containerd at %s: %w", e.cfg.Address, err)
	}
	e.tasks, e.containers = e.client.TaskService(), e.client.ContainerService()
	if err := e.Ping(ctx); err != nil {
		return err
	}
	if e.snapshotter, err = e.chooseSnapshotter(ctx); err != nil {
		return err
	}
	e.imageStore = newImageStore(e.client, e.snapshotter, e.log)
	e.snapshots = e.client.SnapshotService(e.snapshotter)
	if e.profile, err = newProfile(e.cfg, e.private); err != nil {
		return err
	}
	if err := e.openDevices(ctx); err != nil {
		return err
	}
	return e.openNetwork(ctx)
}

// Ping says whether containerd answers and can run containers.
func (e *Engine) Ping(ctx context.Context) error {
	// A filter that matches nothing makes the answer small. The version alone would also come from a containerd whose service of
	// tasks could not be started.
	_, err := e.tasks.List(ctx, &tasks.ListTasksRequest{Filter: "id==none"})
	if err = native(err); err != nil {
		return fmt.Errorf("containerd at %s: %w", e.cfg.Address, err)
	}
	return nil
}

// sweepEvery is how often a private containerd's shims are compared with its records.
const sweepEvery = 10 * time.Second

// Run keeps a private containerd running, and ends shims that it has forgotten, until ctx ends. It does nothing when the
// containerd is somebody else's.
func (e *Engine) Run(ctx context.Context) error {
	if e.private == nil {
		<-ctx.Done()
		return nil
	}
	var sweeping sync.WaitGroup
	sweeping.Go(func() { e.sweep(ctx) })
	defer sweeping.Wait()
	return e.private.Run(ctx)
}

func (e *Engine) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	var seen []private.Shim
	for {
		next, err := e.sweepShims(ctx, seen)
		if err != nil && ctx.Err() == nil {
			e.log.WarnContext(ctx, "shims not compared with their records; looking again later", "error", err)
		}
		seen = next
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Close waits for what the engine still does in the background (a few seconds at most) and disconnects. Attempts go on. Safe to
// call twice.
func (e *Engine) Close() error {
	e.closing.Do(func() { e.closed = e.close() })
	return e.closed
}

func (e *Engine) close() error {
	e.ends.close()
	if e.network != nil {
		e.network.Close()
	}
	if e.client == nil {
		return nil
	}
	if err := e.client.Close(); err != nil {
		return fmt.Errorf("disconnect from containerd: %w", err)
	}
	return nil
}

// Hosts returns this machine: what the kernel lets this process use.
func (e *Engine) Hosts(context.Context) ([]berth.Host, error) {
	name, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name of this host: %w", err)
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return nil, fmt.Errorf("memory of this host: %w", err)
	}
	devices, err := e.gpus.devices()
	if err != nil {
		return nil, err
	}
	ram := int64(info.Totalram) * int64(info.Unit) //nolint:gosec // a machine with 8 EiB of memory is not there yet
	capacity := berth.Capacity{Cores: runtime.NumCPU(), RAM: ram, GPUs: len(devices), Slots: maxAttempts}
	return []berth.Host{{Name: name, Capacity: capacity}}, nil
}

// maxAttempts is how many nodes of attempts this host can have at once: each takes some 10 MB of memory outside its own limit, and an
// address of the bridge.
const maxAttempts = 1000

// bounded is ctx with the limit that every operation has.
func (e *Engine) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, callTimeout)
}

// startTimeout bounds a start of so many nodes, which are made a few at a time, and of which either all run in the end or none.
func startTimeout(nodes int) time.Duration { return callTimeout + time.Duration(nodes-1)*nodeTimeout }

// detached is for work that must be finished although ctx has ended.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	const limit = time.Minute
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}
