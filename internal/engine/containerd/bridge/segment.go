package bridge

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// privateMTU is the largest that the kernel gives a bridge and a veth pair. What leaves the machine is cut to the MTU of its way by the
// route.
const privateMTU = 65535

// Segment is a bridge with a subnet: the shared one, whose ports are isolated from each other, or that of one attempt. Its methods may
// be called concurrently.
type Segment struct {
	network *Bridge
	name    string
	// gateway is the bridge's own address in the subnet.
	gateway  netip.Prefix
	mtu      int
	isolated bool
	// index is the bridge's number, once it is open.
	index int
}

// Shared is the segment of all attempts of one node.
func (b *Bridge) Shared() *Segment { return b.shared }

// openShared makes the shared bridge, or finds it.
func (b *Bridge) openShared(subnet netip.Prefix) error {
	b.shared = b.segment(b.name, subnet)
	b.shared.isolated, b.shared.mtu = true, b.outside
	if err := b.shared.Open(); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	return nil
}

// Private is the segment of an attempt with a subnet of its own. It is to be opened, and removed with the attempt.
func (b *Bridge) Private(id string, subnet netip.Prefix) *Segment {
	s := b.segment(privateName(id), subnet)
	s.mtu = privateMTU
	return s
}

// RemovePrivate removes the bridge of an attempt. Safe when it is not there.
func (b *Bridge) RemovePrivate(id string) error {
	name := privateName(id)
	return errors.Join(b.change(func() { delete(b.private, name) }), b.removeLink(name))
}

// change changes what the rules depend on, and the rules.
func (b *Bridge) change(what func()) error {
	b.ruling.Lock()
	defer b.ruling.Unlock()
	what()
	return b.ensureRules()
}

func (b *Bridge) segment(name string, subnet netip.Prefix) *Segment {
	return &Segment{network: b, name: name, gateway: netip.PrefixFrom(subnet.Masked().Addr().Next(), subnet.Bits())}
}

// First is the first address for a node; the next ones follow it.
func (s *Segment) First() netip.Addr { return s.gateway.Addr().Next() }

// Open makes the bridge, gives it the first address of the subnet and sets it up. Safe when it is there.
func (s *Segment) Open() error {
	handle := s.network.handle
	attributes := netlink.NewLinkAttrs()
	attributes.Name = s.name
	attributes.HardwareAddr = hardwareAddress(s.name) // a bridge without one changes it with its ports, and attempts lose their gateway
	attributes.MTU = s.mtu
	attributes.Group = s.network.group
	link := &netlink.Bridge{LinkAttrs: attributes}
	if err := handle.LinkAdd(link); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("bridge %s: %w", s.name, err)
	}
	found, err := handle.LinkByName(s.name)
	if err != nil {
		return fmt.Errorf("bridge %s: %w", s.name, err)
	}
	s.index = found.Attrs().Index
	if err := handle.LinkSetMTU(found, s.mtu); err != nil { // what it is made with, a bridge forgets
		return fmt.Errorf("bridge %s: MTU: %w", s.name, err)
	}
	if err := handle.AddrReplace(found, &netlink.Addr{IPNet: ipNet(s.gateway)}); err != nil {
		return fmt.Errorf("address %s of bridge %s: %w", s.gateway, s.name, err)
	}
	// What comes by another bridge than the one that its sender belongs to is not believed.
	if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+s.name+"/rp_filter", []byte("1"), 0); err != nil {
		return fmt.Errorf("bridge %s: check of senders: %w", s.name, err)
	}
	if err := handle.LinkSetUp(found); err != nil {
		return fmt.Errorf("bridge %s: %w", s.name, err)
	}
	if s.isolated {
		return nil
	}
	return s.network.change(func() { s.network.private[s.name] = true })
}

// Attach connects the network namespace of a process: its interface is eth0, and the way out is by the bridge. The pair goes
// with the namespace. The id is that of the node's container.
func (s *Segment) Attach(id string, pid int, address netip.Addr) error {
	space, err := netns.GetFromPid(pid)
	if err != nil {
		return fmt.Errorf("network of %s: %w", id, err)
	}
	defer func() { _ = space.Close() }()
	if err := s.plug(id, space, address); err != nil {
		return fmt.Errorf("network of %s: %w", id, err)
	}
	if err := s.configure(space, address); err != nil {
		return fmt.Errorf("network of %s: %w", id, err)
	}
	return nil
}

// plug makes the veth pair, one end a port of the bridge, the other in the namespace. Its hardware address follows from the other one: this
// machine remembers them together for a while, and would not reach the next that is given the same.
func (s *Segment) plug(id string, space netns.NsHandle, address netip.Addr) error {
	handle := s.network.handle
	attributes := netlink.NewLinkAttrs()
	attributes.Name = portName(id)
	attributes.MasterIndex = s.index
	attributes.MTU = s.mtu
	attributes.Group = s.network.group
	port := netlink.NewVeth(attributes)
	port.PeerName = "eth0"
	port.PeerHardwareAddr = hardwareAddress(s.name + " " + address.String())
	port.PeerNamespace = netlink.NsFd(space)
	err := handle.LinkAdd(port)
	if errors.Is(err, os.ErrExist) {
		if err := s.network.unplug(id); err != nil {
			return err
		}
		err = handle.LinkAdd(port)
	}
	if err != nil {
		return fmt.Errorf("veth pair: %w", err)
	}
	if s.isolated {
		if err := s.isolate(port, address); err != nil {
			return fmt.Errorf("isolate from other jobs: %w", err)
		}
	}
	if err := handle.LinkSetUp(port); err != nil {
		return fmt.Errorf("veth pair: %w", err)
	}
	return nil
}

// isolate keeps a port of the shared bridge from the other ones, and from taking what is sent to them: whose address is where is
// written down, and nothing that comes by the port changes it.
func (s *Segment) isolate(port *netlink.Veth, address netip.Addr) error {
	handle := s.network.handle
	return errors.Join(
		handle.LinkSetIsolated(port, true),
		handle.LinkSetLearning(port, false),
		handle.NeighSet(&netlink.Neigh{
			LinkIndex: port.Index, Family: unix.AF_BRIDGE, State: netlink.NUD_NOARP, Flags: netlink.NTF_MASTER, HardwareAddr: port.PeerHardwareAddr,
		}),
		handle.NeighSet(s.neighbour(address, port.PeerHardwareAddr)),
	)
}

// neighbour is the entry of the host's table of addresses.
func (s *Segment) neighbour(address netip.Addr, hardware net.HardwareAddr) *netlink.Neigh {
	return &netlink.Neigh{
		LinkIndex: s.index, Family: unix.AF_INET, State: netlink.NUD_PERMANENT, IP: address.AsSlice(), HardwareAddr: hardware,
	}
}

// configure gives the end inside its address and its route.
func (s *Segment) configure(space netns.NsHandle, address netip.Addr) error {
	inside, err := netlink.NewHandleAt(space)
	if err != nil {
		return fmt.Errorf("enter: %w", err)
	}
	defer inside.Close()
	link, err := inside.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("eth0: %w", err)
	}
	prefix := netip.PrefixFrom(address, s.gateway.Bits())
	if err := inside.AddrAdd(link, &netlink.Addr{IPNet: ipNet(prefix)}); err != nil {
		return fmt.Errorf("address %s: %w", prefix, err)
	}
	if err := inside.LinkSetUp(link); err != nil {
		return fmt.Errorf("eth0: %w", err)
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: s.gateway.Addr().AsSlice(), MTU: s.network.outside}
	if err := inside.RouteAdd(route); err != nil {
		return fmt.Errorf("default route: %w", err)
	}
	return nil
}
