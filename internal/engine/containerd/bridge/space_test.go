package bridge

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// patience is how long something that must happen may take on a loaded machine.
const patience = time.Minute

// testNetwork is a network of its own, which is removed after the test.
type testNetwork struct {
	*Bridge
	cfg Config
}

func newNetwork(t testing.TB) *testNetwork {
	t.Helper()
	var random [6]byte
	_, _ = rand.Read(random[:])
	n := &testNetwork{cfg: Config{
		Identity: hex.EncodeToString(random[:]), StateFile: filepath.Join(t.TempDir(), "network.json"),
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}}
	t.Cleanup(func() {
		for range 2 {
			if err := Remove(context.WithoutCancel(t.Context()), n.cfg.Identity); err != nil {
				t.Error(err)
			}
		}
	})
	n.reopen(t, State{})
	return n
}

// id makes an id that no other network of this machine has.
func (n *testNetwork) id(name string) string { return name + n.cfg.Identity }

// reopen is what a restarted server does.
func (n *testNetwork) reopen(t testing.TB, state State) {
	t.Helper()
	b, err := Open(n.cfg, state)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	n.Bridge = b
}

// node is a network namespace with an address.
type node struct {
	id      string
	address netip.Addr
	pid     int
	space   netns.NsHandle
}

// newSpace makes a network namespace, which a process keeps until the test ends.
func newSpace(t testing.TB) *node {
	t.Helper()
	keeper := exec.CommandContext(t.Context(), "sleep", "100000")
	keeper.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // the keeper ends with this thread
	defer runtime.UnlockOSThread()
	if err := keeper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = keeper.Process.Kill()
		_ = keeper.Wait()
	})
	space, err := netns.GetFromPid(keeper.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = space.Close() })
	return &node{pid: keeper.Process.Pid, space: space}
}

// single attaches an attempt of one node.
func (n *testNetwork) single(t testing.TB, id string) *node {
	t.Helper()
	address, err := n.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	return attach(t, n.Shared(), n.id(id), address)
}

// job attaches the nodes of an attempt that has several.
func (n *testNetwork) job(t testing.TB, id string, nodes int) ([]*node, netip.Prefix) {
	t.Helper()
	subnet, err := n.AllocateSubnet(nodes)
	if err != nil {
		t.Fatal(err)
	}
	segment := n.Private(n.id(id), subnet)
	if err := segment.Open(); err != nil {
		t.Fatal(err)
	}
	var all []*node
	address := segment.First()
	for i := range nodes {
		all = append(all, attach(t, segment, n.id(id)+"-"+strconv.Itoa(i+1), address))
		address = address.Next()
	}
	return all, subnet
}

func attach(t testing.TB, segment *Segment, id string, address netip.Addr) *node {
	t.Helper()
	n := newSpace(t)
	n.id, n.address = id, address
	if err := segment.Attach(id, n.pid, address); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) name() string {
	if n == nil {
		return "this host"
	}
	return n.id
}

// do does something in the namespace; nil is this host.
func (n *node) do(t testing.TB, what func() error) {
	t.Helper()
	if err := n.try(what); err != nil {
		t.Fatal(err)
	}
}

func (n *node) try(what func() error) error {
	if n == nil {
		return what()
	}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := netns.Set(n.space); err != nil {
			result <- err
			return
		}
		result <- what()
	}()
	return <-result
}

// serve answers every connection to a port, and every packet, with a text.
func (n *node) serve(t testing.TB, port int, text string) {
	t.Helper()
	at := net.JoinHostPort("0.0.0.0", strconv.Itoa(port))
	var stream net.Listener
	var packets net.PacketConn
	n.do(t, func() (err error) {
		if stream, err = new(net.ListenConfig).Listen(t.Context(), "tcp4", at); err != nil {
			return err
		}
		packets, err = new(net.ListenConfig).ListenPacket(t.Context(), "udp4", at)
		return err
	})
	done := make(chan struct{}, 2)
	go func() {
		defer func() { done <- struct{}{} }()
		for {
			conn, err := stream.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte(text))
			_ = conn.Close()
		}
	}()
	go func() {
		defer func() { done <- struct{}{} }()
		buffer := make([]byte, 1500)
		for {
			_, from, err := packets.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = packets.WriteTo([]byte(text), from)
		}
	}()
	t.Cleanup(func() {
		_, _ = stream.Close(), packets.Close()
		<-done
		<-done
	})
}

// ask returns what is answered at an address, or an error when nothing is within the time.
func (n *node) ask(network string, at netip.AddrPort, within time.Duration) (text string, err error) {
	err = n.try(func() error {
		conn, err := net.DialTimeout(network, at.String(), within)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(within))
		if network == "udp" {
			if _, err := conn.Write([]byte("hello")); err != nil {
				return err
			}
		}
		buffer := make([]byte, 1500)
		count, err := conn.Read(buffer)
		text = string(buffer[:count])
		return err
	})
	return text, err
}

// assertAnswer checks what is answered at an address. Packets can be lost, so it asks again.
func (n *node) assertAnswer(t testing.TB, network string, at netip.AddrPort, want string) {
	t.Helper()
	const within = 5 * time.Second
	deadline := time.Now().Add(patience)
	for {
		got, err := n.ask(network, at, within)
		if err == nil && got == want {
			return
		}
		if time.Now().After(deadline) || err == nil {
			t.Fatalf("from %s to %s %s: %q, %v; want %q", n.name(), network, at, got, err, want)
		}
	}
}

// assertNoAnswer checks that nobody answers at an address soon.
func (n *node) assertNoAnswer(t testing.TB, network string, at netip.AddrPort) {
	t.Helper()
	if got, err := n.ask(network, at, 200*time.Millisecond); err == nil {
		t.Errorf("from %s to %s %s: %q; it must not be reached", n.name(), network, at, got)
	}
}
