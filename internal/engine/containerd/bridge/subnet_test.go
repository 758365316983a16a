package bridge

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestAddresses(t *testing.T) {
	used := netip.MustParsePrefix("10.64.0.3/32")
	a := newAddresses(netip.MustParsePrefix("10.64.0.0/29"), []netip.Prefix{used})
	allocate := func() string {
		t.Helper()
		address, err := a.allocate(1)
		if err != nil {
			t.Fatal(err)
		}
		return address.Addr().String()
	}
	// .0 is the network, .1 the gateway, .3 in use, .7 the broadcast address.
	for _, want := range []string{"10.64.0.2", "10.64.0.4", "10.64.0.5", "10.64.0.6"} {
		if got := allocate(); got != want {
			t.Errorf("allocate is %s; want %s", got, want)
		}
	}
	if address, err := a.allocate(1); !errors.Is(err, ErrNoAddress) {
		t.Errorf("allocate is %s, %v; want ErrNoAddress", address, err)
	}
	a.release(netip.MustParsePrefix("10.64.0.5/32"))
	a.release(netip.MustParsePrefix("10.64.0.2/32"))
	for _, want := range []string{"10.64.0.2", "10.64.0.5"} {
		if got := allocate(); got != want {
			t.Errorf("allocate after the release is %s; want %s", got, want)
		}
	}
}

// TestAddressIsReusedLate: what was released last is given out last.
func TestAddressIsReusedLate(t *testing.T) {
	a := newAddresses(netip.MustParsePrefix("10.64.0.0/28"), nil)
	first, err := a.allocate(1)
	if err != nil {
		t.Fatal(err)
	}
	a.release(first)
	if second, err := a.allocate(1); err != nil || second == first {
		t.Errorf("allocate is %s, %v; want another than %s", second, err, first)
	}
}

// TestSubnetsOfAttempts: they are aligned, keep away from addresses in use, and all of one is given back.
func TestSubnetsOfAttempts(t *testing.T) {
	used := netip.MustParsePrefix("10.64.0.17/32")
	a := newAddresses(netip.MustParsePrefix("10.64.0.0/26"), []netip.Prefix{used})
	var all []netip.Prefix
	for _, want := range []string{"10.64.0.32/28", "10.64.0.48/29", "10.64.0.8/29", "10.64.0.24/29"} {
		size := 1 << (32 - netip.MustParsePrefix(want).Bits())
		got, err := a.allocate(size)
		if err != nil || got.String() != want {
			t.Errorf("allocate of %d addresses is %s, %v; want %s", size, got, err, want)
		}
		all = append(all, got)
	}
	if got, err := a.allocate(16); !errors.Is(err, ErrNoAddress) {
		t.Errorf("allocate is %s, %v; want ErrNoAddress", got, err)
	}
	if got, err := a.allocate(1024); !errors.Is(err, ErrNoAddress) {
		t.Errorf("allocate of more than all is %s, %v; want ErrNoAddress", got, err)
	}
	a.release(all[0])
	if got, err := a.allocate(16); err != nil || got != all[0] {
		t.Errorf("allocate after the release is %s, %v; want %s", got, err, all[0])
	}
}

// TestRoomForSubnets: addresses of single nodes that stay, here and there among many that go, leave room for a subnet.
func TestRoomForSubnets(t *testing.T) {
	a := newAddresses(netip.MustParsePrefix("10.64.0.0/20"), nil)
	for i := range 20_000 {
		address, err := a.allocate(1)
		if err != nil {
			t.Fatal(err)
		}
		if i%100 != 0 {
			a.release(address)
		}
	}
	if _, err := a.allocate(1024); err != nil {
		t.Error(err)
	}
}

func TestSubnets(t *testing.T) {
	all := netip.MustParsePrefix("10.64.0.0/10")
	seen := make(map[netip.Prefix]bool)
	for n := range subnets {
		subnet := subnetAt(n)
		if subnet != subnet.Masked() || !all.Contains(subnet.Addr()) || seen[subnet] {
			t.Errorf("subnet %d is %s: not a subnet of %s, or not for the first time", n, subnet, all)
		}
		seen[subnet] = true
	}
}

// TestSubnetIsFreeAndKept: a subnet that this machine has a route into is not chosen, and the choice is for ever.
func TestSubnetIsFreeAndKept(t *testing.T) {
	handle, err := netlink.NewHandle()
	if err != nil {
		t.Fatal(err)
	}
	defer handle.Close()
	b := &Bridge{name: Name("0123456789ab"), handle: handle}
	file := filepath.Join(t.TempDir(), "network.json")
	first, err := b.subnet(file)
	if err != nil {
		t.Fatal(err)
	}
	link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "berth-test"}}
	if err := handle.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = handle.LinkDel(link) }()
	taken := netip.PrefixFrom(first.Addr().Next(), first.Bits()+4)
	if err := handle.AddrAdd(link, &netlink.Addr{IPNet: ipNet(taken)}); err != nil {
		t.Fatal(err)
	}
	if err := handle.LinkSetUp(link); err != nil {
		t.Fatal(err)
	}
	if kept, err := b.subnet(file); err != nil || kept != first {
		t.Errorf("subnet is %s, %v; want %s as before", kept, err, first)
	}
	if other, err := b.subnet(filepath.Join(t.TempDir(), "network.json")); err != nil || other.Overlaps(first) {
		t.Errorf("a new subnet is %s, %v; want another than %s, where this machine has a route", other, err, first)
	}
}

// TestAFullDiskIsNoSubnetForEver: what could not be written down is no obstacle when there is room again.
func TestAFullDiskIsNoSubnetForEver(t *testing.T) {
	handle, err := netlink.NewHandle()
	if err != nil {
		t.Fatal(err)
	}
	defer handle.Close()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4k"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 4<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	b := &Bridge{name: Name("0123456789ab"), handle: handle}
	if subnet, err := b.subnet(filepath.Join(dir, "network.json")); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("subnet on a full disk is %s, %v; want %v", subnet, err, unix.ENOSPC)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if _, err := b.subnet(filepath.Join(dir, "network.json")); err != nil {
		t.Errorf("subnet when there is room again: %v", err)
	}
}
