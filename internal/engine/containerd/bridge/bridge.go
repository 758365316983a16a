// Package bridge gives attempts a network of their own on one machine: a veth pair for each node, behind masquerading. Attempts of
// one node share a Linux bridge of the data directory whose ports are isolated from each other; one of several nodes has a bridge and
// a subnet of its own. An attempt reaches the outside and nothing else: no other attempt but its published ports, and no service
// of this host but the one that is let in.
//
// Everything is done by netlink; no program is executed and there is nothing to run.
package bridge

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/bits"
	"net"
	"net/netip"
	"os"
	"sync"

	"github.com/vishvananda/netlink"
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
	name   string
	group  uint32
	log    *slog.Logger
	handle *netlink.Handle
	// outside is the MTU of the way to the outside.
	outside   int
	shared    *Segment
	addresses *addresses

	// ruling guards what the rules depend on, which are the published ports, the names of the bridges of attempts, and the port of this
	// host that attempts are let in at, 0 for none.
	ruling    sync.Mutex
	service   int
	published map[string]Publication
	private   map[string]bool
}

// State is what attempts have of a network already.
type State struct {
	// Used are addresses and subnets that are not given out again.
	Used []netip.Prefix
	// Private are the ids of attempts that have a bridge of their own.
	Private []string
	// Published are by the ids of their attempts.
	Published map[string]Publication
}

// Name is the name of the bridge, and of the nftables table, of an identity.
func Name(identity string) string { return "berth-" + identity[:8] }

// Open makes the bridge and its rules, or finds them. Published ports are reached again. Close it.
func Open(cfg Config, state State) (*Bridge, error) {
	handle, err := netlink.NewHandle()
	if err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	b := &Bridge{name: Name(cfg.Identity), group: groupOf(cfg.Identity), log: cfg.Log, handle: handle}
	b.outside = b.mtu()
	if err := b.open(cfg, state); err != nil {
		handle.Close()
		return nil, err
	}
	return b, nil
}

func (b *Bridge) open(cfg Config, state State) error {
	subnet, err := b.subnet(cfg.StateFile)
	if err != nil {
		return err
	}
	b.addresses = newAddresses(subnet, state.Used)
	b.published, b.private = make(map[string]Publication), make(map[string]bool)
	maps.Copy(b.published, state.Published)
	for _, id := range state.Private {
		b.private[privateName(id)] = true
	}
	if err := b.openShared(subnet); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		return fmt.Errorf("network: let this machine forward packets: %w", err)
	}
	return b.ensureRules()
}

// Gateway is the address of this host on the shared bridge. Attempts on other bridges reach it there too.
func (b *Bridge) Gateway() netip.Addr { return b.addresses.gateway }

// LetIn lets attempts reach a TCP port of this host at the gateway's address, in the place of one before. It holds until Close and, if
// nobody opens the bridge again, after it.
func (b *Bridge) LetIn(port int) error { return b.change(func() { b.service = port }) }

// Close frees what Open took in this process. The bridge and what is attached to it stay.
func (b *Bridge) Close() { b.handle.Close() }

// mtu is that of the way to the outside.
func (b *Bridge) mtu() int {
	const ethernet = 1500
	routes, err := listed(func() ([]netlink.Route, error) { return b.handle.RouteList(nil, netlink.FAMILY_V4) })
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

// Sweep removes the ports of nodes, and the bridges of attempts, other than those whose containers have the given ids. The kernel
// removes a port with its namespace, in batches; removing it explicitly would hold up every other change of the network for 20 to
// 30 ms, so only what a namespace that somebody keeps open has left is removed like this.
func (b *Bridge) Sweep(ids []string) error {
	keep := map[string]bool{b.name: true}
	for _, id := range ids {
		keep[portName(id)], keep[privateName(id)] = true, true
	}
	return removeLinks(b.handle, b.group, func(name string) bool {
		if !keep[name] {
			b.log.Info("removing an interface that belongs to no attempt", "bridge", b.name, "interface", name)
		}
		return !keep[name]
	})
}

// unplug removes the port that an earlier start of the node has left.
func (b *Bridge) unplug(id string) error { return b.removeLink(portName(id)) }

// removeLink removes an interface. Safe for one that is not there.
func (b *Bridge) removeLink(name string) error {
	link, err := b.handle.LinkByName(name)
	if _, gone := errors.AsType[netlink.LinkNotFoundError](err); gone {
		return nil
	}
	if err == nil {
		err = b.handle.LinkDel(link)
	}
	if err != nil && !noDevice(err) {
		return fmt.Errorf("remove interface %s: %w", name, err)
	}
	return nil
}

// Allocate gives out an address that no attempt has.
func (b *Bridge) Allocate() (netip.Addr, error) {
	prefix, err := b.addresses.allocate(1)
	return prefix.Addr(), err
}

// AllocateSubnet gives out a subnet for the nodes of an attempt, with the addresses that no node can have.
func (b *Bridge) AllocateSubnet(nodes int) (netip.Prefix, error) {
	const others = 3 // the network's, the gateway's and the broadcast address
	size := 1 << bits.Len(uint(nodes+others-1))
	return b.addresses.allocate(size)
}

// Release takes addresses back: those of a subnet, or one.
func (b *Bridge) Release(subnet netip.Prefix) {
	if subnet.IsSingleIP() {
		_ = b.handle.NeighDel(b.shared.neighbour(subnet.Addr(), nil)) // it was never attached, or the next one replaces it
	}
	b.addresses.release(subnet)
}

// Remove removes the bridge of an identity, those of its attempts, their ports, and its rules. Safe to call twice.
func Remove(_ context.Context, identity string) error {
	handle, err := netlink.NewHandle()
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	defer handle.Close()
	all := func(string) bool { return true }
	return errors.Join(removeRules(Name(identity)), removeLinks(handle, groupOf(identity), all))
}

// removeLinks removes those interfaces of a group that are chosen by their names.
func removeLinks(handle *netlink.Handle, group uint32, chosen func(name string) bool) error {
	links, err := listed(handle.LinkList)
	if err != nil {
		return fmt.Errorf("network: interfaces: %w", err)
	}
	for _, link := range links {
		if link.Attrs().Group != group || !chosen(link.Attrs().Name) {
			continue
		}
		if err := handle.LinkDel(link); err != nil && !noDevice(err) {
			return fmt.Errorf("network: interface %s: %w", link.Attrs().Name, err)
		}
	}
	return nil
}

// maxListings is how often a list is asked for that changes while it is read.
const maxListings = 10

// listed asks the kernel for a list, and asks again when it changed meanwhile. Of one that never stops changing it returns what was read:
// what was there all the time is in it.
func listed[T any](list func() ([]T, error)) (items []T, err error) {
	for range maxListings {
		if items, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return items, err
		}
	}
	return items, nil
}

// groupOf is the number that marks all interfaces of an identity, in the host's namespace, for the rules and for their removal.
func groupOf(identity string) uint32 {
	sum := sha256.Sum256([]byte(identity))
	return binary.BigEndian.Uint32(sum[:]) | 1 // 0 is everybody's
}

// portName is the name of a node's port, and privateName that of an attempt's own bridge: at most 15 bytes, so a hash.
func portName(id string) string    { return "bv" + hash(id) }
func privateName(id string) string { return "bb" + hash(id) }

func hash(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])[:12]
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
