package bridge

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berth-hpc/berth/internal/engine"
)

const servedPort = 7000

// TestReach: who reaches whom, by TCP and UDP, both ways.
func TestReach(t *testing.T) {
	n := newNetwork(t)
	first, _ := n.job(t, "berth-1-a", 3)
	second, _ := n.job(t, "berth-2-a", 2)
	jobs := [][]*node{first, second, {n.single(t, "berth-3-a")}, {n.single(t, "berth-4-a")}}
	for _, job := range jobs {
		for _, node := range job {
			node.serve(t, servedPort, "I am "+node.id)
		}
	}
	var refused sync.WaitGroup // they take their time
	try := func(job []*node, from, to *node, network string) {
		at := netip.AddrPortFrom(to.address, servedPort)
		switch {
		case from == to:
		case slices.Contains(job, to):
			from.assertAnswer(t, network, at, "I am "+to.id)
		default:
			refused.Go(func() { from.assertNoAnswer(t, network, at) })
		}
	}
	for _, job := range jobs {
		for _, from := range job {
			for _, to := range slices.Concat(jobs...) {
				try(job, from, to, "tcp")
				try(job, from, to, "udp")
			}
		}
	}
	refused.Wait()
	for _, to := range slices.Concat(jobs...) { // so that what was not reached above could be
		(*node)(nil).assertAnswer(t, "tcp", netip.AddrPortFrom(to.address, servedPort), "I am "+to.id)
	}
}

// TestMTU: nodes of a job send each other the largest packets, and the outside such that it takes.
func TestMTU(t *testing.T) {
	n := newNetwork(t)
	job, _ := n.job(t, "berth-1-a", 2)
	for node, want := range map[*node]int{job[0]: privateMTU, n.single(t, "berth-2-a"): n.outside} {
		inside, err := netlink.NewHandleAt(node.space)
		if err != nil {
			t.Fatal(err)
		}
		defer inside.Close()
		link, err := inside.LinkByName("eth0")
		if err != nil {
			t.Fatal(err)
		}
		if got := link.Attrs().MTU; got != want {
			t.Errorf("MTU of %s is %d; want %d", node.id, got, want)
		}
		routes, err := inside.RouteGet(anywhere)
		if err != nil || len(routes) != 1 || routes[0].MTU != n.outside {
			t.Errorf("way of %s to the outside is %+v, %v; want the MTU %d", node.id, routes, err, n.outside)
		}
	}
}

// TestSweep: a restarted server removes the networks of attempts that are gone, and no others.
func TestSweep(t *testing.T) {
	n := newNetwork(t)
	kept, subnet := n.job(t, "berth-1-a", 2)
	lost, _ := n.job(t, "berth-2-a", 2)
	single := n.single(t, "berth-3-a")
	n.reopen(t, State{Used: []netip.Prefix{subnet, netip.PrefixFrom(single.address, 32)}, Private: []string{n.id("berth-1-a")}})
	if err := n.Sweep([]string{n.id("berth-1-a"), kept[0].id, kept[1].id, single.id}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		n.name: true, privateName(n.id("berth-1-a")): true, portName(kept[0].id): true, portName(kept[1].id): true, portName(single.id): true,
		privateName(n.id("berth-2-a")): false, portName(lost[0].id): false, portName(lost[1].id): false,
	} {
		if _, err := n.handle.LinkByName(name); (err == nil) != want {
			t.Errorf("%s is there: %t, %v; want %t", name, err == nil, err, want)
		}
	}
	kept[1].serve(t, servedPort, "still here")
	kept[0].assertAnswer(t, "tcp", netip.AddrPortFrom(kept[1].address, servedPort), "still here")
	if next, err := n.AllocateSubnet(2); err != nil || next.Overlaps(subnet) {
		t.Errorf("the next subnet is %s, %v; want another than %s", next, err, subnet)
	}
	for range 2 {
		if err := n.RemovePrivate(n.id("berth-1-a")); err != nil {
			t.Error(err)
		}
	}
	if _, err := n.handle.LinkByName(privateName(n.id("berth-1-a"))); err == nil {
		t.Error("the bridge of a removed attempt is left")
	}
}

// beyond makes a machine beyond this host, and an address of this host on the way to it.
func beyond(t *testing.T, n *testNetwork) (outside *node, host netip.Addr) {
	t.Helper()
	outside = newSpace(t)
	outside.id = "outside"
	// A subnet of the range that the servers of this machine choose theirs from is nobody else's.
	subnet, err := n.freeSubnet()
	if err != nil {
		t.Fatal(err)
	}
	host = subnet.Addr().Next()
	outside.address = host.Next()
	link := netlink.NewVeth(netlink.LinkAttrs{Name: "bt" + hash(n.cfg.Identity)})
	link.PeerName, link.PeerNamespace = "eth0", netlink.NsFd(outside.space)
	if err := n.handle.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.handle.LinkDel(link) })
	inside, err := netlink.NewHandleAt(outside.space)
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	peer, err := inside.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		n.handle.AddrAdd(link, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(host, subnet.Bits()))}), n.handle.LinkSetUp(link),
		inside.AddrAdd(peer, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(outside.address, subnet.Bits()))}), inside.LinkSetUp(peer),
		inside.RouteAdd(&netlink.Route{LinkIndex: peer.Attrs().Index, Gw: host.AsSlice()}))
	if err != nil {
		t.Fatal(err)
	}
	return outside, host
}

// TestPublish: published ports are reached from outside, from this host and from jobs, and no others are.
func TestPublish(t *testing.T) {
	n := newNetwork(t)
	outside, host := beyond(t, n)
	job, _ := n.job(t, "berth-1-a", 2)
	other := n.single(t, "berth-2-a")
	job[0].serve(t, servedPort, "I am the first")
	job[0].serve(t, servedPort+1, "I am not published")
	outside.serve(t, servedPort, "I am outside")
	ports := []engine.Port{{Protocol: "tcp", Number: servedPort, Host: 7022}, {Protocol: "udp", Number: servedPort}}
	published, err := n.Publish(t.Context(), n.id("berth-1-a"), Publication{Publish: engine.Publish{Address: host.String(), Ports: ports}, To: job[0].address})
	if err != nil || published.Address != host.String() {
		t.Fatalf("Publish: %+v, %v", published, err)
	}
	reached := func(t *testing.T) {
		t.Helper()
		for _, from := range []*node{outside, nil, other, job[1]} {
			from.assertAnswer(t, "tcp", netip.AddrPortFrom(host, 7022), "I am the first")
			from.assertAnswer(t, "udp", netip.AddrPortFrom(host, servedPort), "I am the first")
		}
	}
	reached(t)
	for _, from := range []*node{outside, other} {
		from.assertNoAnswer(t, "tcp", netip.AddrPortFrom(host, servedPort))           // only udp
		from.assertNoAnswer(t, "tcp", netip.AddrPortFrom(host, servedPort+1))         // not published
		from.assertNoAnswer(t, "tcp", netip.AddrPortFrom(job[0].address, servedPort)) // not by the node's address
		from.assertNoAnswer(t, "tcp", netip.AddrPortFrom(job[0].address, servedPort+1))
	}
	job[0].assertAnswer(t, "tcp", netip.AddrPortFrom(outside.address, servedPort), "I am outside")

	n.reopen(t, State{Private: []string{n.id("berth-1-a")}, Published: map[string]Publication{n.id("berth-1-a"): published}})
	reached(t)
	for range 2 {
		if err := n.Unpublish(n.id("berth-1-a")); err != nil {
			t.Fatal(err)
		}
	}
	for _, from := range []*node{outside, nil, other} {
		from.assertNoAnswer(t, "tcp", netip.AddrPortFrom(host, 7022))
		from.assertNoAnswer(t, "udp", netip.AddrPortFrom(host, servedPort))
	}
}

// TestPublishRefused: what is taken is named.
func TestPublishRefused(t *testing.T) {
	n := newNetwork(t)
	_, host := beyond(t, n)
	publish := func(id, address string, port engine.Port) error {
		p := Publication{Publish: engine.Publish{Address: address, Ports: []engine.Port{port}}, To: n.Shared().First()}
		_, err := n.Publish(t.Context(), n.id(id), p)
		return err
	}
	(*node)(nil).serve(t, 7031, "I am the host")
	web := engine.Port{Protocol: "tcp", Number: 80, Host: 7080}
	if err := publish("berth-1-a", host.String(), web); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		address, want string
		port          engine.Port
	}{
		"another job's":    {host.String(), fmt.Sprintf("tcp port %s:7080 is in use by another job", host), engine.Port{Protocol: "tcp", Number: 7080}},
		"a program's":      {host.String(), fmt.Sprintf("tcp port %s:7031 is in use by a program of this host", host), engine.Port{Protocol: "tcp", Number: 7031}},
		"a program's, udp": {host.String(), fmt.Sprintf("udp port %s:7031 is in use by a program of this host", host), engine.Port{Protocol: "udp", Number: 7031}},
		"no address of us": {"198.51.100.77", "198.51.100.77 is no address of this host", web},
		"loopback":         {"127.0.0.1", "ports cannot be published at 127.0.0.1, which is no IPv4 address that others reach", web},
		"not of version 4": {"2001:db8::1", "ports cannot be published at 2001:db8::1, which is no IPv4 address that others reach", web},
	} {
		if err := publish("berth-2-a", test.address, test.port); !errors.Is(err, engine.ErrRefused) || err.Error() != test.want {
			t.Errorf("%s: %v; want %s", name, err, test.want)
		}
	}
	if err := publish("berth-1-a", host.String(), web); err != nil {
		t.Errorf("the same attempt again: %v", err)
	}
	if err := publish("berth-2-a", host.String(), engine.Port{Protocol: "udp", Number: 7080}); err != nil {
		t.Errorf("the same number of the other protocol: %v", err)
	}
	if err := errors.Join(n.Unpublish(n.id("berth-1-a")), publish("berth-3-a", host.String(), web)); err != nil {
		t.Errorf("after the other one has gone: %v", err)
	}
}
