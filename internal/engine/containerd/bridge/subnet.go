package bridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"net"
	"net/netip"
	"os"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/wholefile"
)

// A subnet has 2^(32-subnetBits) addresses; they are taken out of 10.64.0.0/10, which few sites use.
const (
	subnetBits = 20
	subnets    = 1 << (subnetBits - 10)
)

// ErrNoAddress says that every address of the subnet, or every subnet, is in use.
var ErrNoAddress = errors.New("network: no address is free")

// settings is what the state file holds.
type settings struct {
	Subnet netip.Prefix `json:"subnet"`
}

// subnet returns the subnet of the state file; the first time it chooses one that this machine has no route into.
func (b *Bridge) subnet(stateFile string) (netip.Prefix, error) {
	var kept settings
	text, err := os.ReadFile(stateFile)
	if err == nil {
		err = json.Unmarshal(text, &kept)
	}
	switch {
	case err == nil && kept.Subnet.IsValid():
		return kept.Subnet, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return netip.Prefix{}, fmt.Errorf("network: subnet: %w", err)
	}
	if kept.Subnet, err = b.freeSubnet(); err != nil {
		return netip.Prefix{}, err
	}
	if text, err = json.Marshal(kept); err == nil {
		err = wholefile.Write(stateFile, text, 0o600)
	}
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("network: subnet: %w", err)
	}
	return kept.Subnet, nil
}

func (b *Bridge) freeSubnet() (netip.Prefix, error) {
	routes, err := listed(func() ([]netlink.Route, error) {
		return b.handle.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("network: routes of this machine: %w", err)
	}
	var used []netip.Prefix
	for _, route := range routes {
		if route.Dst == nil {
			continue
		}
		address, ok := netip.AddrFromSlice(route.Dst.IP.To4())
		bits, _ := route.Dst.Mask.Size()
		if ok && bits > 0 { // the default route leads everywhere and is in nobody's way
			used = append(used, netip.PrefixFrom(address, bits))
		}
	}
	// Begin somewhere else for each bridge, so that two that are made at the same time do not meet.
	seed := hardwareAddress(b.name)
	first := int(seed[4])<<8 | int(seed[5])
	for i := range subnets {
		if candidate := subnetAt((first + i) % subnets); !overlaps(candidate, used) {
			return candidate, nil
		}
	}
	return netip.Prefix{}, ErrNoAddress
}

// subnetAt returns the n-th subnet of 10.64.0.0/10.
func subnetAt(n int) netip.Prefix {
	high := byte(64 + n>>4) //nolint:gosec // n is below 1024
	low := byte(n << 4)     //nolint:gosec // the high bits are in the other byte
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, high, low, 0}), subnetBits)
}

func overlaps(candidate netip.Prefix, used []netip.Prefix) bool {
	for _, prefix := range used {
		if prefix.Overlaps(candidate) {
			return true
		}
	}
	return false
}

// noDevice says that the kernel has no such link any more.
func noDevice(err error) bool { return errors.Is(err, unix.ENODEV) }

// addresses are those of a subnet. They are given out in turn, so that one is reused late: single ones from its lower half and subnets
// from the upper one, as long as there are any, or a few nodes that stay long would leave no room for a subnet.
type addresses struct {
	subnet  netip.Prefix
	gateway netip.Addr

	mu    sync.Mutex
	used  map[netip.Addr]bool
	lower *half
	upper *half
}

// half is one of the two of a subnet, and the address in it that was given out last.
type half struct {
	subnet netip.Prefix
	last   netip.Addr
}

func newAddresses(subnet netip.Prefix, used []netip.Prefix) *addresses {
	gateway := subnet.Masked().Addr().Next()
	lower := netip.PrefixFrom(subnet.Masked().Addr(), subnet.Bits()+1)
	upper := netip.PrefixFrom(last(lower).Next(), lower.Bits())
	a := &addresses{
		subnet: subnet, gateway: gateway, used: make(map[netip.Addr]bool),
		lower: &half{subnet: lower, last: gateway}, upper: &half{subnet: upper, last: last(upper)},
	}
	for _, prefix := range used {
		a.mark(prefix, true)
	}
	for _, never := range []netip.Addr{subnet.Masked().Addr(), gateway, last(subnet)} {
		a.used[never] = true
	}
	return a
}

// last is the last address of a subnet.
func last(subnet netip.Prefix) netip.Addr {
	address := subnet.Masked().Addr().As4()
	for i, mask := range net.CIDRMask(subnet.Bits(), subnet.Addr().BitLen()) {
		address[i] |= ^mask
	}
	return netip.AddrFrom4(address)
}

// allocate returns as many addresses as size says, a power of two, as a subnet.
func (a *addresses) allocate(size int) (netip.Prefix, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	length := a.subnet.Addr().BitLen() - bits.TrailingZeros(uint(size))
	first, second := a.lower, a.upper
	if size > 1 {
		first, second = second, first
	}
	for _, from := range []*half{first, second} {
		if prefix, ok := a.next(from, length); ok {
			a.mark(prefix, true)
			from.last = last(prefix)
			return prefix, nil
		}
	}
	return netip.Prefix{}, ErrNoAddress
}

// next returns the free subnet with a length of prefix that comes next in a half.
func (a *addresses) next(in *half, length int) (netip.Prefix, bool) {
	if length < in.subnet.Bits() {
		return netip.Prefix{}, false
	}
	candidate := netip.PrefixFrom(in.last, length)
	for range 1 << (length - in.subnet.Bits()) {
		candidate = netip.PrefixFrom(last(candidate).Next(), length)
		if !in.subnet.Contains(candidate.Addr()) {
			candidate = netip.PrefixFrom(in.subnet.Addr(), length)
		}
		if a.free(candidate) {
			return candidate, true
		}
	}
	return netip.Prefix{}, false
}

func (a *addresses) free(prefix netip.Prefix) bool {
	for address := prefix.Addr(); prefix.Contains(address); address = address.Next() {
		if a.used[address] {
			return false
		}
	}
	return true
}

func (a *addresses) mark(prefix netip.Prefix, used bool) {
	for address := prefix.Addr(); prefix.Contains(address); address = address.Next() {
		if used {
			a.used[address] = true
		} else {
			delete(a.used, address)
		}
	}
}

func (a *addresses) release(prefix netip.Prefix) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mark(prefix, false)
}
