package containerd_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/containerd"
	"github.com/berth-hpc/berth/internal/engine/enginetest"
)

// agent is the path of the agent that all tests use.
var agent string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "berth-agent-")
	if err == nil {
		defer os.RemoveAll(dir)
		agent, err = enginetest.BuildAgent(context.Background(), dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func TestConformance(t *testing.T) {
	address := hostAddress(t)
	enginetest.Run(t, func(t *testing.T) enginetest.Subject {
		machine := newMachine(t)
		e := machine.open(t)
		return enginetest.Subject{
			Engine: e, Address: address,
			Restart: func(t *testing.T) enginetest.Engine {
				if err := e.Close(); err != nil {
					t.Fatal(err)
				}
				return machine.open(t)
			},
			EndWorker: func(t *testing.T, a engine.Attempt, worker int) { endWorker(t, machine, a, worker) },
		}
	})
}

// hostAddress gives this host one more address, of a network for documentation.
func hostAddress(t *testing.T) string {
	t.Helper()
	link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("ba%d", os.Getpid())}}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(link) })
	address := net.IPv4(203, 0, 113, byte(1+os.Getpid()%250))
	err := netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: address, Mask: net.CIDRMask(32, 32)}})
	if err = errors.Join(err, netlink.LinkSetUp(link)); err != nil {
		t.Fatal(err)
	}
	return address.String()
}

// endWorker kills the agent of a worker and waits until containerd knows.
func endWorker(t *testing.T, m *machine, a engine.Attempt, worker int) {
	t.Helper()
	id := fmt.Sprintf("%s-%d", a.ID, worker+1)
	container, err := clientOf(t, m).LoadContainer(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	task, err := container.Task(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ended, err := task.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kill(t, agentOf(t, id), syscall.SIGKILL)
	<-ended
}

// machine is a data directory with the image of the suite, and a private containerd that ends with the test.
type machine struct {
	dataDir string
	// address and network are of the configuration.
	address, network string
	gpus             containerd.GPUConfig
	pinCPUs          bool
}

func newMachine(t testing.TB) *machine {
	t.Helper()
	return newMachineIn(t, t.TempDir())
}

// newMachineIn is newMachine with a data directory that outlives it.
func newMachineIn(t testing.TB, dataDir string) *machine {
	t.Helper()
	m := &machine{dataDir: dataDir}
	t.Cleanup(func() {
		if err := containerd.Shutdown(context.WithoutCancel(t.Context()), m.dataDir); err != nil {
			t.Error(err)
		}
	})
	e := m.open(t)
	rootfs, err := os.Open(enginetest.BusyboxRootfs(t))
	if err != nil {
		t.Fatal(err)
	}
	defer rootfs.Close()
	if _, err := e.ImportRootfs(t.Context(), rootfs, enginetest.Image, nil); err != nil {
		t.Fatal(err)
	}
	return m
}

// open returns the engine of a server that starts on the machine. It is closed with the test.
func (m *machine) open(t testing.TB) *containerd.Engine {
	t.Helper()
	e, err := containerd.Open(t.Context(), containerd.Config{
		Address: m.address, DataDir: m.dataDir, AgentPath: agent, Network: containerd.NetworkConfig{Mode: m.network}, GPUs: m.gpus,
		PinCPUs: m.pinCPUs, Log: testLog(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func testLog(t testing.TB) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }
