// Package bridge gives attempts a network of their own on one machine: a veth pair each, on one Linux bridge of the data
// directory whose ports are isolated from each other, behind masquerading. An attempt reaches the outside and nothing else: no
// other attempt, and no service of this host on the bridge.
//
// Everything is done by netlink; no program is executed and there is nothing to run.
package bridge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Config says whose bridge it is.
type Config struct {
	// Identity is a short name of the data directory, at least 8 hexadecimal digits.
	Identity string
	// StateFile is where the subnet is kept.
	StateFile string
	Log       *slog.Logger
}

// Bridge is the network of a data directory's attempts. Its methods may be called concurrently.
type Bridge struct {
	name      string
	log       *slog.Logger
	handle    *netlink.Handle
	link      *netlink.Bridge
	addresses *addresses
}

// Name is the name of the bridge, and of the nftables table, of an identity.
func Name(identity string) string { return "berth-" + identity[:8] }

// Open makes the bridge and its rules, or finds them. The addresses in use are taken: they are not given out again. Close it.
func Open(cfg Config, used []netip.Addr) (*Bridge, error) {
	handle, err := netlink.NewHandle()
	if err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	b := &Bridge{name: Name(cfg.Identity), log: cfg.Log, handle: handle}
	if err := b.open(cfg, used); err != nil {
		handle.Close()
		return nil, err
	}
	return b, nil
}

func (b *Bridge) open(cfg Config, used []netip.Addr) error {
	subnet, err := b.subnet(cfg.StateFile)
	if err != nil {
		return err
	}
	b.addresses = newAddresses(subnet, used)
	if err := b.ensureLink(subnet); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		return fmt.Errorf("network: let this machine forward packets: %w", err)
	}
	return ensureRules(b.name, subnet)
}

// Close frees what Open took in this process. The bridge and what is attached to it stay.
func (b *Bridge) Close() { b.handle.Close() }

// ensureLink makes the bridge, gives it the first address of the subnet and sets it up.
func (b *Bridge) ensureLink(subnet netip.Prefix) error {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = b.name
	attributes.HardwareAddr = hardwareAddress(b.name) // a bridge without one changes it with its ports, and attempts lose their gateway
	attributes.MTU = b.mtu()
	b.link = &netlink.Bridge{LinkAttrs: attributes}
	if err := b.handle.LinkAdd(b.link); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("network: bridge %s: %w", b.name, err)
	}
	found, err := b.handle.LinkByName(b.name)
	if err != nil {
		return fmt.Errorf("network: bridge %s: %w", b.name, err)
	}
	b.link.Index = found.Attrs().Index
	b.link.MTU = found.Attrs().MTU
	gateway := netip.PrefixFrom(b.addresses.gateway, subnet.Bits())
	if err := b.handle.AddrReplace(b.link, &netlink.Addr{IPNet: ipNet(gateway)}); err != nil {
		return fmt.Errorf("network: address %s of bridge %s: %w", gateway, b.name, err)
	}
	if err := b.handle.LinkSetUp(b.link); err != nil {
		return fmt.Errorf("network: bridge %s: %w", b.name, err)
	}
	return nil
}

// mtu is that of the way to the outside.
func (b *Bridge) mtu() int {
	const ethernet = 1500
	routes, err := b.handle.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return ethernet
	}
	for _, route := range routes {
		if route.Dst != nil && route.Dst.String() != "0.0.0.0/0" {
			continue
		}
		if link, err := b.handle.LinkByIndex(route.LinkIndex); err == nil && link.Attrs().MTU > 0 {
			return min(ethernet, link.Attrs().MTU)
		}
	}
	return ethernet
}

// Attach connects the network namespace of a process: its interface is eth0, and the way out is by the bridge. The pair goes
// with the namespace.
func (b *Bridge) Attach(id string, pid int, address netip.Addr) error {
	space, err := netns.GetFromPid(pid)
	if err != nil {
		return fmt.Errorf("network of %s: %w", id, err)
	}
	defer func() { _ = space.Close() }()
	if err := b.plug(id, space); err != nil {
		return fmt.Errorf("network of %s: %w", id, err)
	}
	if err := b.configure(space, address); err != nil {
		return fmt.Errorf("network of %s: %w", id, err)
	}
	return nil
}

// plug makes the veth pair, one end a port of the bridge, the other in the namespace.
func (b *Bridge) plug(id string, space netns.NsHandle) error {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = portName(id)
	attributes.MasterIndex = b.link.Index
	attributes.MTU = b.link.MTU
	port := netlink.NewVeth(attributes)
	port.PeerName = "eth0"
	port.PeerNamespace = netlink.NsFd(space)
	err := b.handle.LinkAdd(port)
	if errors.Is(err, os.ErrExist) {
		if err := b.unplug(id); err != nil {
			return err
		}
		err = b.handle.LinkAdd(port)
	}
	if err != nil {
		return fmt.Errorf("veth pair: %w", err)
	}
	if err := b.handle.LinkSetIsolated(port, true); err != nil {
		return fmt.Errorf("isolate from other jobs: %w", err)
	}
	if err := b.handle.LinkSetUp(port); err != nil {
		return fmt.Errorf("veth pair: %w", err)
	}
	return nil
}

// configure gives the end inside its address and its route.
func (b *Bridge) configure(space netns.NsHandle, address netip.Addr) error {
	inside, err := netlink.NewHandleAt(space)
	if err != nil {
		return fmt.Errorf("enter: %w", err)
	}
	defer inside.Close()
	link, err := inside.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("eth0: %w", err)
	}
	prefix := netip.PrefixFrom(address, b.addresses.subnet.Bits())
	if err := inside.AddrAdd(link, &netlink.Addr{IPNet: ipNet(prefix)}); err != nil {
		return fmt.Errorf("address %s: %w", prefix, err)
	}
	if err := inside.LinkSetUp(link); err != nil {
		return fmt.Errorf("eth0: %w", err)
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: b.addresses.gateway.AsSlice()}
	if err := inside.RouteAdd(route); err != nil {
		return fmt.Errorf("default route: %w", err)
	}
	return nil
}

// Sweep removes the ports of attempts other than the given ones. The kernel removes a port with its namespace, in batches;
// removing it explicitly would hold up every other change of the network for 20 to 30 ms, so only what a namespace that
// somebody keeps open has left is removed like this.
func (b *Bridge) Sweep(ids []string) error {
	keep := make(map[string]bool)
	for _, id := range ids {
		keep[portName(id)] = true
	}
	links, err := b.handle.LinkList()
	if err != nil {
		return fmt.Errorf("network: ports of %s: %w", b.name, err)
	}
	for _, link := range links {
		attributes := link.Attrs()
		if attributes.MasterIndex != b.link.Index || keep[attributes.Name] {
			continue
		}
		b.log.Info("removing a port that belongs to no attempt", "bridge", b.name, "port", attributes.Name)
		if err := b.handle.LinkDel(link); err != nil && !noDevice(err) {
			return fmt.Errorf("network: port %s of %s: %w", attributes.Name, b.name, err)
		}
	}
	return nil
}

// unplug removes the port that an earlier start of the attempt has left.
func (b *Bridge) unplug(id string) error {
	link, err := b.handle.LinkByName(portName(id))
	if _, gone := errors.AsType[netlink.LinkNotFoundError](err); gone {
		return nil
	}
	if err != nil {
		return fmt.Errorf("old veth pair: %w", err)
	}
	if err := b.handle.LinkDel(link); err != nil && !noDevice(err) {
		return fmt.Errorf("old veth pair: %w", err)
	}
	return nil
}

// Allocate gives out an address that no attempt has.
func (b *Bridge) Allocate() (netip.Addr, error) { return b.addresses.allocate() }

// Release takes an address back.
func (b *Bridge) Release(address netip.Addr) { b.addresses.release(address) }

// Remove removes the bridge of an identity, its ports and its rules. Safe to call twice.
func Remove(_ context.Context, identity string) error {
	return errors.Join(removeRules(Name(identity)), removeLinks(Name(identity)))
}

func removeLinks(name string) error {
	bridge, err := netlink.LinkByName(name)
	if _, gone := errors.AsType[netlink.LinkNotFoundError](err); gone {
		return nil
	}
	if err != nil {
		return fmt.Errorf("network: bridge %s: %w", name, err)
	}
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("network: ports of %s: %w", name, err)
	}
	for _, link := range links {
		if link.Attrs().MasterIndex != bridge.Attrs().Index {
			continue
		}
		if err := netlink.LinkDel(link); err != nil && !noDevice(err) {
			return fmt.Errorf("network: port %s of %s: %w", link.Attrs().Name, name, err)
		}
	}
	if err := netlink.LinkDel(bridge); err != nil && !noDevice(err) {
		return fmt.Errorf("network: bridge %s: %w", name, err)
	}
	return nil
}

// portName is the name of an attempt's port: at most 15 bytes, so a hash.
func portName(id string) string {
	sum := sha256.Sum256([]byte(id))
	return "bv" + hex.EncodeToString(sum[:])[:12]
}

// hardwareAddress is a fixed, locally administered address.
func hardwareAddress(name string) net.HardwareAddr {
	sum := sha256.Sum256([]byte(name))
	const local, multicast = 0x02, 0x01
	return append(net.HardwareAddr{sum[0]&^multicast | local}, sum[1:6]...)
}

func ipNet(prefix netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}
}
