package containerd_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	containerdclient "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/containerd"
	"github.com/berth-hpc/berth/internal/engine/containerd/bridge"
	"github.com/berth-hpc/berth/internal/engine/containerd/cgroup"
	"github.com/berth-hpc/berth/internal/engine/containerd/private"
	"github.com/berth-hpc/berth/internal/engine/enginetest"
)

// clientOf returns a client of a machine's containerd, to look behind the engine.
func clientOf(t *testing.T, m *machine) *containerdclient.Client {
	t.Helper()
	client, err := containerdclient.New(private.New(private.Config{DataDir: m.dataDir}).Address(),
		containerdclient.WithDefaultNamespace(containerd.Namespace))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// TestRemoveLeavesNothing looks at everything that an attempt has, before and after.
func TestRemoveLeavesNothing(t *testing.T) {
	m := newMachine(t)
	e := m.open(t)
	client := clientOf(t, m)
	a := start(t, e, waits)
	bundle := filepath.Join(private.StateDir(m.dataDir), "state", "io.containerd.runtime.v2.task", containerd.Namespace, a.ID)
	there := map[string]func() bool{
		"record": func() bool { _, err := client.LoadContainer(t.Context(), a.ID); return !errdefs.IsNotFound(err) },
		"snapshot": func() bool {
			_, err := client.SnapshotService("overlayfs").Stat(t.Context(), a.ID)
			return !errdefs.IsNotFound(err)
		},
		"bundle": func() bool { return exists(bundle) },
		"mount":  func() bool { return strings.Contains(read(t, "/proc/self/mountinfo"), bundle) },
		"runc's state": func() bool {
			return exists(filepath.Join(private.StateDir(m.dataDir), "runc", containerd.Namespace, a.ID))
		},
		"processes": func() bool { alive, err := cgroup.Of(a.ID).Populated(); return alive || err != nil },
		"control group": func() bool {
			return exists("/sys/fs/cgroup/pids"+cgroup.Path(a.ID)) || exists("/sys/fs/cgroup"+cgroup.Path(a.ID))
		},
		"port": func() bool { return ports(t, m) > 0 },
	}
	for what, is := range there {
		if !is() {
			t.Errorf("%s is not there while the attempt runs: the test looks at the wrong place", what)
		}
	}
	if err := e.Remove(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ports(t, m) > 0 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond) // the kernel removes it with the namespace, when it has time
	}
	for what, is := range there {
		if is() {
			t.Errorf("%s is left", what)
		}
	}
}

func shimSocket(m *machine, id string) string {
	return private.ShimSocket(private.New(private.Config{DataDir: m.dataDir}).Address(), containerd.Namespace, id)
}

// links are the interfaces of this machine. Those of other tests come and go.
func links(t *testing.T) []netlink.Link {
	t.Helper()
	for {
		list, err := netlink.LinkList()
		if err == nil {
			return list
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			t.Fatal(err)
		}
	}
}

// ports counts what is attached to a machine's bridge.
func ports(t *testing.T, m *machine) int {
	t.Helper()
	master, err := netlink.LinkByName(bridge.Name(private.Identity(m.dataDir)))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, link := range links(t) {
		if link.Attrs().MasterIndex == master.Attrs().Index {
			n++
		}
	}
	return n
}

// TestGarbageCollection: containerd collects nothing that an attempt needs, also when its image is removed.
func TestGarbageCollection(t *testing.T) {
	m := newMachine(t)
	e := m.open(t)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	a := enginetest.NewAttempt(t, enginetest.Script{Text: "echo kept >/tmp/kept\necho ready\nuntil [ -e /data/go ]; do sleep 0.05; done\n/bin/cat /tmp/kept"})
	a.Mounts = []engine.Mount{{Source: dir, Target: "/data"}}
	enginetest.Start(t, e, a)
	enginetest.AwaitOutput(t, a, "ready")
	if err := e.RemoveImage(t.Context(), enginetest.Image); err != nil {
		t.Fatal(err)
	}
	manager := clientOf(t, m).LeasesService()
	lease, err := manager.Create(t.Context(), leases.WithRandomID())
	if err != nil {
		t.Fatal(err)
	}
	if err := manager.Delete(t.Context(), lease, leases.SynchronousDelete); err != nil { // collects all that nobody needs
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if exit := enginetest.AwaitExit(t, e, a.ID).Exit; exit.Code != 0 || !strings.HasSuffix(enginetest.Output(t, a), "kept\n") {
		t.Errorf("exit is %+v, output %q; want code 0 and kept", exit, enginetest.Output(t, a))
	}
}

// TestSharedContainerd: two servers with one containerd see and touch their own attempts only.
func TestSharedContainerd(t *testing.T) {
	m := newMachine(t)
	first := m.open(t)
	other := &machine{dataDir: t.TempDir(), address: private.New(private.Config{DataDir: m.dataDir}).Address()}
	t.Cleanup(func() {
		if err := containerd.Shutdown(context.WithoutCancel(t.Context()), other.dataDir); err != nil {
			t.Error(err)
		}
	})
	second := other.open(t)
	a := start(t, first, waits)
	if list, err := second.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("List of the other server: %+v, %v; want nothing", list, err)
	}
	if _, err := second.Status(t.Context(), a.ID); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("Status of the other server: %v; want ErrNotFound", err)
	}
	if err := second.Stop(t.Context(), a.ID, 0); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("Stop by the other server: %v; want ErrNotFound", err)
	}
	if _, err := second.Ask(t.Context(), a.ID, infoRequest); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("Ask by the other server: %v; want ErrNotFound", err)
	}
	if err := second.Remove(t.Context(), a.ID); err != nil {
		t.Errorf("Remove by the other server: %v; want nil", err)
	}
	if status, err := first.Status(t.Context(), a.ID); err != nil || status.Phase != engine.PhaseRunning {
		t.Errorf("status is %+v, %v; want running", status, err)
	}
	b := start(t, second, "echo ready\nexit 3") // its shims have the default directories
	if exit := enginetest.AwaitExit(t, second, b.ID).Exit; exit.Code != 3 {
		t.Errorf("exit is %+v; want code 3", exit)
	}
}

// TestShutdown: nothing of a machine is left outside of its data directory, and the next server finds its images.
func TestShutdown(t *testing.T) {
	m := newMachine(t)
	e := m.open(t)
	a := enginetest.NewAttempt(t, enginetest.Script{Text: waits})
	if err := e.Start(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	enginetest.AwaitOutput(t, a, "ready")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := containerd.Shutdown(t.Context(), m.dataDir); err != nil {
			t.Fatal(err)
		}
	}
	assertDead(t, a.ID)
	if exists(shimSocket(m, a.ID)) {
		t.Error("the shim's socket is left")
	}
	identity := private.Identity(m.dataDir)
	for _, text := range []string{read(t, "/proc/self/mountinfo"), commands(t)} {
		if strings.Contains(text, identity) || strings.Contains(text, m.dataDir) {
			t.Errorf("%s or %s is still in\n%s", identity, m.dataDir, text)
		}
	}
	if exists(private.StateDir(m.dataDir)) {
		t.Error("the state directory is left")
	}
	if _, err := netlink.LinkByName(bridge.Name(identity)); err == nil {
		t.Error("the bridge is left")
	}
	connection, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	tables, err := connection.ListTables()
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		if table.Name == bridge.Name(identity) {
			t.Error("the rules are left")
		}
	}
	again := m.open(t)
	if _, err := again.Image(t.Context(), enginetest.Image); err != nil {
		t.Errorf("Image afterwards: %v", err)
	}
	if status, err := again.Status(t.Context(), a.ID); err != nil || status.Phase != engine.PhaseExited || status.Exit.Known {
		t.Errorf("status afterwards is %+v, %v; want exited and not known how", status, err)
	}
	remove(t, again, a.ID)
}

// commands returns the command lines of all processes.
func commands(t *testing.T) string {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, path := range paths {
		if text, err := os.ReadFile(path); err == nil {
			all.WriteString(strings.ReplaceAll(string(text), "\x00", " ") + "\n")
		}
	}
	return all.String()
}

func exists(path string) bool { _, err := os.Lstat(path); return err == nil }

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestOpenRefuses: what is missing is named.
func TestOpenRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		change func(c *containerd.Config)
		want   string
	}{
		"relative data directory": {func(c *containerd.Config) { c.DataDir = "data" }, `data directory "data"`},
		"relative agent":          {func(c *containerd.Config) { c.AgentPath = "agent" }, `path of the agent "agent"`},
		"unknown network":         {func(c *containerd.Config) { c.Network.Mode = "cni" }, "one of bridge, none"},
		"no containerd there":     {func(c *containerd.Config) { c.Address = "/nonexistent.sock" }, "/nonexistent.sock"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := containerd.Config{DataDir: t.TempDir(), AgentPath: agent, Log: testLog(t)}
			test.change(&cfg)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := containerd.Open(ctx, cfg); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Open: %v; want an error with %q", err, test.want)
			}
		})
	}
	t.Run("programs missing", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		_, err := containerd.Open(t.Context(), containerd.Config{DataDir: t.TempDir(), AgentPath: agent, Log: testLog(t)})
		for _, want := range []string{"containerd (package containerd)", "containerd-shim-runc-v2 (package containerd)", "runc (package runc)"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Open: %v; want an error with %q", err, want)
			}
		}
	})
}
