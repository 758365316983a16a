package bridge

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// BenchmarkNodes compares two nodes of a job with two plain namespaces that a bridge joins: the time of a round trip by TCP, and how
// much goes through in a second. They take turns, so that what else the machine does hits both.
func BenchmarkNodes(b *testing.B) {
	n := newNetwork(b)
	job, _ := n.job(b, "berth-1-a", 2)
	pairs := map[string][]*node{"job": job, "plain": plain(b, n)}
	trips, rates := make(map[string][]float64), make(map[string][]float64)
	for b.Loop() {
		for name, pair := range pairs {
			trip, rate := measure(b, pair[0], pair[1])
			trips[name], rates[name] = append(trips[name], trip), append(rates[name], rate)
		}
	}
	median := func(values []float64) float64 {
		slices.Sort(values)
		return values[len(values)/2]
	}
	b.ReportMetric(median(trips["job"]), "job-us/trip")
	b.ReportMetric(median(trips["job"])/median(trips["plain"]), "trip-job/plain")
	b.ReportMetric(median(rates["job"]), "job-GB/s")
	b.ReportMetric(median(rates["plain"])/median(rates["job"]), "rate-plain/job")
}

// plain makes two namespaces with a bridge, as anybody does by hand.
func plain(b *testing.B, n *testNetwork) []*node {
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "bt" + hash(n.cfg.Identity)}}
	if err := n.handle.LinkAdd(bridge); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = n.handle.LinkDel(bridge) })
	if err := n.handle.LinkSetUp(bridge); err != nil {
		b.Fatal(err)
	}
	subnet, err := n.freeSubnet()
	if err != nil {
		b.Fatal(err)
	}
	s := n.segment(bridge.Name, subnet)
	s.index, s.mtu = bridge.Index, n.outside
	address := s.First()
	var pair []*node
	for _, id := range []string{"one", "two"} {
		pair = append(pair, attach(b, s, id+n.cfg.Identity, address))
		address = address.Next()
	}
	return pair
}

// measure returns the microseconds of a round trip and the gigabytes per second from one node to another.
func measure(b *testing.B, from, to *node) (trip, rate float64) {
	const trips, size = 2000, 256 << 20
	var listener net.Listener
	to.do(b, func() (err error) {
		listener, err = new(net.ListenConfig).Listen(b.Context(), "tcp4", ":7000")
		return err
	})
	defer func() { _ = listener.Close() }()
	served := make(chan struct{})
	go func() {
		defer close(served)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.CopyN(conn, conn, trips)
		_, _ = io.CopyN(io.Discard, conn, size)
		_, _ = conn.Write([]byte{1})
	}()
	from.do(b, func() error {
		conn, err := net.Dial("tcp4", netip.AddrPortFrom(to.address, 7000).String())
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		one := make([]byte, 1)
		began := time.Now()
		for range trips {
			if _, err := conn.Write(one); err != nil {
				return err
			}
			if _, err := io.ReadFull(conn, one); err != nil {
				return err
			}
		}
		trip = float64(time.Since(began).Microseconds()) / trips
		block := make([]byte, 1<<20)
		began = time.Now()
		for range size / len(block) {
			if _, err := conn.Write(block); err != nil {
				return err
			}
		}
		_, err = io.ReadFull(conn, one)
		rate = size / 1e9 / time.Since(began).Seconds()
		return err
	})
	<-served
	return trip, rate
}
