package bridge

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
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

var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// TestScan: a job that sends whatever it likes, with whichever sender, gets not one frame to a node of another job, and takes nothing
// that is sent to it.
func TestScan(t *testing.T) {
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
	for _, intruder := range intruders {
		intruder.scan(t, watched, gateways)
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

// scan sends every combination of senders and receivers as ARP and IP to all victims.
func (n *node) scan(t *testing.T, victims []*node, gateways map[netip.Addr]net.HardwareAddr) {
	t.Helper()
	hardware := []net.HardwareAddr{n.hardware(t)}
	addresses := []netip.Addr{n.address}
	for _, victim := range victims {
		hardware, addresses = append(hardware, victim.hardware(t)), append(addresses, victim.address)
	}
	for address, gateway := range gateways {
		hardware, addresses = append(hardware, gateway), append(addresses, address)
	}
	n.do(t, func() error {
		socket, err := rawSocket("eth0")
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(socket) }()
		for _, frame := range allFrames(hardware, addresses, victims) {
			if _, err := unix.Write(socket, frame); err != nil {
				return err
			}
		}
		return nil
	})
}

// allFrames are those of every combination.
func allFrames(hardware []net.HardwareAddr, senders []netip.Addr, victims []*node) [][]byte {
	var all [][]byte
	for _, from := range hardware {
		for _, to := range append(hardware, broadcast) {
			for _, sender := range senders {
				for _, victim := range victims {
					all = append(all, frames(from, to, sender, victim.address)...)
				}
			}
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
	ethernet := func(kind uint16, payload []byte) []byte {
		frame := binary.BigEndian.AppendUint16(slices.Concat(to, from), kind)
		return append(append(frame, payload...), intruderMark...)
	}
	arp := func(operation uint16) []byte {
		packet := binary.BigEndian.AppendUint16([]byte{0, 1, 8, 0, 6, 4}, operation)
		return ethernet(unix.ETH_P_ARP, slices.Concat(packet, from, sender.AsSlice(), to, receiver.AsSlice()))
	}
	ip := func(protocol byte, payload []byte) []byte {
		header := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0}
		header = slices.Concat(header, sender.AsSlice(), receiver.AsSlice())
		binary.BigEndian.PutUint16(header[2:], uint16(len(header)+len(payload)+len(intruderMark)))
		binary.BigEndian.PutUint16(header[10:], checksum(header))
		return ethernet(unix.ETH_P_IP, append(header, payload...))
	}
	udp := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, 7999), servedPort)
	udp = append(binary.BigEndian.AppendUint16(udp, uint16(8+len(intruderMark))), 0, 0) // without a checksum
	echo := []byte{8, 0, 0, 0, 0, 1, 0, 1}
	binary.BigEndian.PutUint16(echo[2:], checksum(slices.Concat(echo, intruderMark)))
	return [][]byte{arp(request), arp(answer), ip(unix.IPPROTO_UDP, udp), ip(unix.IPPROTO_ICMP, echo)}
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
