package containerd_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/containerd"
	"github.com/berth-hpc/berth/internal/engine/enginetest"
)

// serves is a script with a web server that says its name; then it fetches from each address that appears as a file in /data/ask, with the
// seconds that it may take before it, and prints what came.
const serves = `mkdir -p /tmp/www && echo "I am $(hostname)" >/tmp/www/index.html
httpd -p 8080 -h /tmp/www
ip -4 addr show eth0
ip route
echo ready
while true; do
	for f in /data/ask/*; do
		[ -e "$f" ] || continue
		address=$(cat $f)
		rm -f $f
		answer=$(printf 'GET / HTTP/1.0\r\n\r\n' | nc -w $address | tail -n 1)
		echo "asked $address: got '$answer'."
	done
	sleep 0.05
done
`

// peer is an attempt in a network.
type peer struct {
	engine.Attempt
	ask, address, gateway string
}

func startPeer(t *testing.T, e engine.Engine) peer {
	t.Helper()
	data := t.TempDir()
	ask := filepath.Join(data, "ask")
	if err := os.Mkdir(ask, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{data, ask} {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	a := enginetest.NewAttempt(t, enginetest.Script{Text: serves})
	a.Mounts = []engine.Mount{{Source: data, Target: "/data"}}
	enginetest.Start(t, e, a)
	enginetest.AwaitOutput(t, a, "ready")
	output := enginetest.Output(t, a)
	find := func(pattern string) string {
		found := regexp.MustCompile(pattern).FindStringSubmatch(output)
		if found == nil {
			t.Fatalf("no %s in the output %q", pattern, output)
		}
		return found[1]
	}
	return peer{Attempt: a, ask: ask, address: find(`inet ([0-9.]+)/`), gateway: find(`default via ([0-9.]+) dev eth0`)}
}

// fetch lets the attempt fetch from an address, with the seconds before it, and returns what it got.
func (p peer) fetch(t *testing.T, address string) string {
	t.Helper()
	temporary := filepath.Join(t.TempDir(), "question")
	if err := os.WriteFile(temporary, []byte(address), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temporary, filepath.Join(p.ask, "question")); err != nil {
		t.Fatal(err)
	}
	prefix := "asked " + address + ": "
	enginetest.AwaitOutput(t, p.Attempt, prefix)
	enginetest.AwaitOutput(t, p.Attempt, ".\n")
	_, answer, _ := strings.Cut(enginetest.Output(t, p.Attempt), prefix)
	return answer
}

// TestNetwork: an attempt reaches the outside, and neither another attempt nor a service of this host.
func TestNetwork(t *testing.T) {
	m := newMachine(t)
	e := m.open(t)
	a, b := startPeer(t, e), startPeer(t, e)
	if a.address == b.address {
		t.Fatalf("both have the address %s", a.address)
	}
	for _, server := range []peer{a, b} { // so that what follows fails for no other reason
		if got, want := fetchFromHost(t, server.address+":8080"), "I am "+server.Hostname; !strings.Contains(got, want) {
			t.Fatalf("this host got %q from %s; want %q", got, server.address, want)
		}
	}
	const nothing, soon, late = "got ''.", "2 ", "60 "
	letIn := serve(t)
	if err := e.LetIn(letIn); err != nil {
		t.Fatal(err)
	}
	beyond := outside(t) // it gives this host the address outsideHost
	for name, test := range map[string]struct {
		from peer
		to   string
		want string
	}{
		"one attempt to the other": {a, soon + b.address + " 8080", nothing},
		"and back":                 {b, soon + a.address + " 8080", nothing},
		"itself":                   {a, late + "127.0.0.1 8080", "got 'I am " + a.Hostname},
		"host by the gateway":      {a, soon + fmt.Sprintf("%s %d", a.gateway, serve(t)), nothing},
		"host where it lets in":    {a, late + fmt.Sprintf("%s %d", a.gateway, letIn), "got 'I am the host"},
		"the same elsewhere":       {a, soon + fmt.Sprintf("%s %d", outsideHost, letIn), nothing},
		"host by another address":  {a, soon + fmt.Sprintf("%s %d", outsideHost, serve(t)), nothing},
		"outside":                  {a, late + beyond, "got 'I am outside"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.from.fetch(t, test.to); !strings.HasPrefix(got, test.want) {
				t.Errorf("got %q; want %q", got, test.want)
			}
		})
	}
}

// TestAddressesAfterRestart: a restarted server does not give out an address that is in use.
func TestAddressesAfterRestart(t *testing.T) {
	m := newMachine(t)
	first := m.open(t)
	old := enginetest.NewAttempt(t, enginetest.Script{Text: "ip -4 addr show eth0 | grep inet\necho ready\nsleep 1000"})
	if err := first.Start(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	enginetest.AwaitOutput(t, old, "ready")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	e := m.open(t)
	defer remove(t, e, old.ID)
	a := startPeer(t, e)
	if strings.Contains(enginetest.Output(t, old), "inet "+a.address+"/") {
		t.Errorf("a new attempt got %s, which is in use", a.address)
	}
}

// TestNoNetwork: without a network there is the loopback, and it is up; but nodes would take themselves for each other.
func TestNoNetwork(t *testing.T) {
	m := newMachine(t)
	m.network = containerd.NetworkNone
	e := m.open(t)
	a := enginetest.NewAttempt(t, enginetest.Script{Text: "ls /sys/class/net\nip addr show lo | grep -c LOOPBACK,UP"})
	enginetest.Start(t, e, a)
	enginetest.AwaitExit(t, e, a.ID)
	if got := enginetest.Output(t, a); !strings.HasSuffix(got, "\nlo\n1\n") {
		t.Errorf("output is %q; want only lo, and up", got)
	}
	several := enginetest.NewAttempt(t, enginetest.Script{Text: "exit 0", Nodes: 2})
	if err := e.Start(t.Context(), several); !errors.Is(err, engine.ErrRefused) {
		t.Errorf("two nodes: %v; want a refusal", err)
	}
	if _, err := e.Status(t.Context(), several.ID); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("of two nodes there is something: %v", err)
	}
}

func fetchFromHost(t *testing.T, address string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// serve runs a web server on all addresses of this host and returns its port.
func serve(t *testing.T) int {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	answer(t, listener, "I am the host")
	return listener.Addr().(*net.TCPAddr).Port
}

func answer(t *testing.T, listener net.Listener, text string) {
	t.Helper()
	server := &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }),
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
}

// The addresses of the two ends between this host and the outside of the test; of the network for documentation.
const (
	outsideHost = "198.51.100.1"
	outsidePeer = "198.51.100.2"
)

// outside makes a machine beyond this host, a network namespace with a web server, and returns the server's address.
func outside(t *testing.T) string {
	t.Helper()
	space, listener := newSpace(t)
	name := fmt.Sprintf("bt%d", os.Getpid())
	link := netlink.NewVeth(netlink.LinkAttrs{Name: name})
	link.PeerName, link.PeerNamespace = "eth0", netlink.NsFd(space)
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(link) })
	inside, err := netlink.NewHandleAt(space)
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	host, err := netlink.NewHandle()
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	for address, end := range map[string]struct {
		handle *netlink.Handle
		link   string
	}{outsideHost: {host, name}, outsidePeer: {inside, "eth0"}} {
		link, err := end.handle.LinkByName(end.link)
		if err != nil {
			t.Fatal(err)
		}
		if err := end.handle.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(address), Mask: net.CIDRMask(30, 32)}}); err != nil {
			t.Fatal(err)
		}
		if err := end.handle.LinkSetUp(link); err != nil {
			t.Fatal(err)
		}
	}
	answer(t, listener, "I am outside")
	return fmt.Sprintf("%s %d", outsidePeer, listener.Addr().(*net.TCPAddr).Port)
}

// newSpace makes a network namespace and a listener in it. The listener keeps the namespace.
func newSpace(t *testing.T) (netns.NsHandle, net.Listener) {
	t.Helper()
	type result struct {
		space    netns.NsHandle
		listener net.Listener
		err      error
	}
	results := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		space, err := netns.New()
		if err != nil {
			results <- result{err: err}
			return
		}
		listener, err := (&net.ListenConfig{}).Listen(context.WithoutCancel(t.Context()), "tcp4", "0.0.0.0:0")
		results <- result{space: space, listener: listener, err: err}
	}()
	r := <-results
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { _ = r.space.Close() })
	return r.space, r.listener
}
