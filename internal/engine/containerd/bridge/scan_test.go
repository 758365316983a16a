package bridge

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Marks in every frame that an intruder sends, and in the last one that a watcher has to see.
var (
	intruderMark = []byte("intruder")
	lastMark     = []byte("the-last")
)

// everybody are the hardware addresses of what is for all: broadcast, and multicast to all nodes by IPv4 and by IPv6.
var everybody = []net.HardwareAddr{
	{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {0x01, 0x00, 0x5e, 0x00, 0x00, 0x01}, {0x33, 0x33, 0x00, 0x00, 0x00, 0x01},
}

// allNodes is the address of all nodes of a link.
var allNodes = netip.MustParseAddr("ff02::1")

const (
	// filterBridged are settings of each network namespace: whether rules see what is bridged. They are there with the module br_netfilter.
	filterBridged = "/proc/sys/net/bridge/bridge-nf-call-"
	// filterEnv tells a child of TestScanInAnotherSpace what to make of it.
	filterEnv = "BERTH_TEST_FILTER_BRIDGED"
)

// TestScanInAnotherSpace is TestScan in network namespaces whose rules see what is bridged, and whose do not: neither opens anything.
func TestScanInAnotherSpace(t *testing.T) {
	if _, err := os.Stat(filterBridged + "iptables"); err != nil {
		t.Skip("the rules of this machine never see what is bridged, which TestScan has tried")
	}
	for _, value := range []string{"0", "1"} {
		child := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestScan$", "-test.v")
		child.Env = append(os.Environ(), filterEnv+"="+value)
		child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
		runtime.LockOSThread() // the child ends with this thread
		out, err := child.CombinedOutput()
		runtime.UnlockOSThread()
		if err != nil || !bytes.Contains(out, []byte("--- PASS: TestScan ")) {
			t.Errorf("with %s*=%s: %v\n%s", filterBridged, value, err, out)
		}
	}
}

// TestScan: a job that sends whatever it likes, with whichever sender, to one or to all, gets not one frame to a node of another job, and
// takes nothing that is sent to it.
func TestScan(t *testing.T) {
	if value := os.Getenv(filterEnv); value != "" {
		for _, kind := range []string{"iptables", "ip6tables", "arptables"} {
			if err := os.WriteFile(filterBridged+kind, []byte(value), 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	n := newNetwork(t)
	victims, subnet := n.job(t, "berth-1-a", 2)
	alone := n.single(t, "berth-2-a")
	intruders, _ := n.job(t, "berth-3-a", 2)
	intruders = append(intruders, n.single(t, "berth-4-a"))
	gateways := map[netip.Addr]net.HardwareAddr{
		subnet.Addr().Next(): hardwareAddress(privateName(n.id("berth-1-a"))), n.Shared().gateway.Addr(): hardwareAddress(n.name),
	}
	watched := []*node{victims[0], victims[1], alone}
	var seen []<-chan []byte
	for _, victim := range watched {
		victim.serve(t, servedPort, "I am "+victim.id)
		seen = append(seen, victim.watch(t))
	}
	all := []netip.Addr{netip.MustParseAddr("255.255.255.255"), netip.MustParseAddr("224.0.0.1")}
	for _, of := range []netip.Prefix{subnet, n.addresses.subnet} {
		all = append(all, lastOf(of))
	}
	for _, intruder := range intruders {
		intruder.scan(t, watched, gateways, all)
	}
	for i, victim := range watched { // this host and the other nodes of the job still find it
		(*node)(nil).assertAnswer(t, "tcp", netip.AddrPortFrom(victim.address, servedPort), "I am "+victim.id)
		(*node)(nil).lastTo(t, victim.address)
		if frame := <-seen[i]; frame != nil {
			t.Errorf("%s got the frame %x of an intruder", victim.id, frame)
		}
	}
	victims[0].assertAnswer(t, "tcp", netip.AddrPortFrom(victims[1].address, servedPort), "I am "+victims[1].id)
}

// lastOf is the broadcast address of a subnet.
func lastOf(subnet netip.Prefix) netip.Addr {
	address := subnet.Masked().Addr().As4()
	number := binary.BigEndian.Uint32(address[:]) | (1<<(32-subnet.Bits()) - 1)
	binary.BigEndian.PutUint32(address[:], number)
	return netip.AddrFrom4(address)
}

// watch returns the first frame of an intruder that the node gets before the last frame, or nil.
func (n *node) watch(t *testing.T) <-chan []byte {
	t.Helper()
	var socket int
	n.do(t, func() (err error) {
		socket, err = rawSocket("eth0")
		return err
	})
	found := make(chan []byte, 1)
	go func() {
		defer func() { _ = unix.Close(socket) }()
		_ = unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(patience.Seconds())})
		var bad []byte
		buffer := make([]byte, 1<<16)
		for {
			count, _, err := unix.Recvfrom(socket, buffer, 0)
			switch {
			case errors.Is(err, unix.EINTR):
				continue
			case err != nil:
				found <- []byte("nothing came, not even the last frame: " + err.Error())
				return
			case bytes.Contains(buffer[:count], lastMark):
				found <- bad
				return
			case bytes.Contains(buffer[:count], intruderMark):
				bad = slices.Clone(buffer[:count])
			}
		}
	}()
	return found
}

// lastTo sends what ends a watch, until it has certainly come: packets can be lost.
func (n *node) lastTo(t *testing.T, to netip.Addr) {
	t.Helper()
	n.do(t, func() error {
		conn, err := net.Dial("udp", netip.AddrPortFrom(to, servedPort).String())
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
			if _, err := conn.Write(lastMark); err != nil {
				return err
			}
			_ = conn.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := conn.Read(make([]byte, 100)); err == nil {
				return nil
			}
		}
		return errors.New("no answer to the last packet")
	})
}

// rawSocket sends and gets whole frames.
func rawSocket(name string) (int, error) {
	protocol := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(protocol))
	if err != nil {
		return 0, err
	}
	link, err := net.InterfaceByName(name)
	if err == nil {
		err = unix.Bind(socket, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: link.Index})
	}
	return socket, err
}

// scan sends every combination of senders and receivers as ARP, IP and IPv6 to all victims, each and all at once.
func (n *node) scan(t *testing.T, victims []*node, gateways map[netip.Addr]net.HardwareAddr, all []netip.Addr) {
	t.Helper()
	hardware := []net.HardwareAddr{n.hardware(t)}
	senders, receivers := []netip.Addr{n.address}, all
	for _, victim := range victims {
		hardware, senders, receivers = append(hardware, victim.hardware(t)), append(senders, victim.address), append(receivers, victim.address)
	}
	for address, gateway := range gateways {
		hardware, senders = append(hardware, gateway), append(senders, address)
	}
	n.do(t, func() error {
		socket, err := rawSocket("eth0")
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(socket) }()
		for _, frame := range allFrames(hardware, senders, receivers) {
			if _, err := unix.Write(socket, frame); err != nil {
				return err
			}
		}
		return nil
	})
}

// allFrames are those of every combination.
func allFrames(hardware []net.HardwareAddr, senders, receivers []netip.Addr) [][]byte {
	var all [][]byte
	for _, from := range hardware {
		for _, to := range slices.Concat(hardware, everybody) {
			for _, sender := range senders {
				for _, receiver := range receivers {
					all = append(all, frames(from, to, sender, receiver)...)
				}
			}
			all = append(all, frames6(from, to, linkLocal(to))...)
			all = append(all, frames6(from, to, allNodes)...)
		}
	}
	return all
}

func (n *node) hardware(t *testing.T) net.HardwareAddr {
	t.Helper()
	inside, err := netlink.NewHandleAt(n.space)
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	link, err := inside.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	return link.Attrs().HardwareAddr
}

// frames are an ARP request, an ARP answer, and a packet of UDP and of ICMP.
func frames(from, to net.HardwareAddr, sender, receiver netip.Addr) [][]byte {
	const request, answer = 1, 2
	arp := func(operation uint16) []byte {
		packet := binary.BigEndian.AppendUint16([]byte{0, 1, 8, 0, 6, 4}, operation)
		return ethernet(from, to, unix.ETH_P_ARP, slices.Concat(packet, from, sender.AsSlice(), to, receiver.AsSlice()))
	}
	ip := func(protocol byte, payload []byte) []byte {
		header := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0}
		header = slices.Concat(header, sender.AsSlice(), receiver.AsSlice())
		binary.BigEndian.PutUint16(header[2:], uint16(len(header)+len(payload)+len(intruderMark)))
		binary.BigEndian.PutUint16(header[10:], checksum(header))
		return ethernet(from, to, unix.ETH_P_IP, append(header, payload...))
	}
	udp := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, 7999), servedPort)
	udp = append(binary.BigEndian.AppendUint16(udp, uint16(8+len(intruderMark))), 0, 0) // without a checksum
	echo := []byte{8, 0, 0, 0, 0, 1, 0, 1}
	binary.BigEndian.PutUint16(echo[2:], checksum(slices.Concat(echo, intruderMark)))
	return [][]byte{arp(request), arp(answer), ip(unix.IPPROTO_UDP, udp), ip(unix.IPPROTO_ICMP, echo)}
}

// ethernet is a frame with the mark behind its payload.
func ethernet(from, to net.HardwareAddr, kind uint16, payload []byte) []byte {
	frame := binary.BigEndian.AppendUint16(slices.Concat(to, from), kind)
	return slices.Concat(frame, payload, intruderMark)
}

// linkLocal is the IPv6 address of an interface that it has by its hardware address.
func linkLocal(of net.HardwareAddr) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: of[0] ^ 2, of[1], of[2], 0xff, 0xfe, of[3], of[4], of[5]})
}

// frames6 are a packet of ICMPv6 that asks for an answer, one that asks who has an address, and one that says so.
func frames6(from, to net.HardwareAddr, receiver netip.Addr) [][]byte {
	const request, solicitation, advertisement = 128, 135, 136
	sender := linkLocal(from)
	icmp := func(kind byte, content []byte) []byte {
		message := append([]byte{kind, 0, 0, 0}, content...)
		header := []byte{0x60, 0, 0, 0, 0, 0, unix.IPPROTO_ICMPV6, 255}
		binary.BigEndian.PutUint16(header[4:], uint16(len(message)))
		pseudo := slices.Concat(sender.AsSlice(), receiver.AsSlice(), []byte{0, 0}, header[4:6], []byte{0, 0, 0, unix.IPPROTO_ICMPV6})
		binary.BigEndian.PutUint16(message[2:], checksum(slices.Concat(pseudo, message)))
		return ethernet(from, to, unix.ETH_P_IPV6, slices.Concat(header, sender.AsSlice(), receiver.AsSlice(), message))
	}
	option := slices.Concat([]byte{2, 1}, from) // where the address is said to be
	return [][]byte{
		icmp(request, []byte{0, 1, 0, 1}), icmp(solicitation, slices.Concat(make([]byte, 4), receiver.AsSlice())),
		icmp(advertisement, slices.Concat([]byte{0x60, 0, 0, 0}, receiver.AsSlice(), option)),
	}
}

// checksum is that of the internet's protocols, over an even number of bytes.
func checksum(data []byte) uint16 {
	var sum uint32
	for i := 0; i < len(data); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(data[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
