package bridge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/image"
)

// Publication is what of a node is reached at an address of this host. Its address is set.
type Publication struct {
	engine.Publish
	// To is the node's address.
	To netip.Addr
}

// anywhere is an address beyond this host, for finding the way there.
var anywhere = net.IPv4(1, 1, 1, 1)

// Publish lets ports of the first node of an attempt be reached at an address of this host, which it chooses when there is none, and
// returns how. The error wraps engine.ErrRefused and says which port or address is taken, by another attempt or a program of this
// host, or is none of this host. Publishing for an attempt again replaces what it had.
func (b *Bridge) Publish(ctx context.Context, id string, p Publication) (Publication, error) {
	b.ruling.Lock()
	defer b.ruling.Unlock()
	if p.Address == "" {
		routes, err := b.handle.RouteGet(anywhere)
		if err != nil || len(routes) == 0 {
			return p, image.Refuse("this host has no way to the outside; name the address to publish ports at")
		}
		p.Address = routes[0].Src.String()
	}
	address, err := netip.ParseAddr(p.Address)
	if err != nil || !address.Is4() || address.IsLoopback() || address.IsUnspecified() {
		return p, image.Refuse("ports cannot be published at %s, which is no IPv4 address that others reach", p.Address)
	}
	for _, port := range p.Ports {
		if err := b.free(ctx, id, p.Address, port); err != nil {
			return p, err
		}
	}
	before, had := b.published[id]
	b.published[id] = p
	if err := b.ensureRules(); err != nil {
		delete(b.published, id)
		if had {
			b.published[id] = before
		}
		return p, err
	}
	return p, nil
}

// free returns nil when nobody but the attempt has a port of an address.
func (b *Bridge) free(ctx context.Context, id, address string, port engine.Port) error {
	at := net.JoinHostPort(address, strconv.Itoa(port.Outside()))
	for other, p := range b.published {
		taken := func(q engine.Port) bool { return q.Protocol == port.Protocol && q.Outside() == port.Outside() }
		if other != id && p.Address == address && slices.ContainsFunc(p.Ports, taken) {
			return image.Refuse("%s port %s is in use by another job", port.Protocol, at)
		}
	}
	var listener interface{ Close() error }
	var err error
	if config := new(net.ListenConfig); port.Protocol == "udp" {
		listener, err = config.ListenPacket(ctx, "udp4", at)
	} else {
		listener, err = config.Listen(ctx, "tcp4", at)
	}
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return image.Refuse("%s port %s is in use by a program of this host", port.Protocol, at)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return image.Refuse("%s is no address of this host", address)
	case err != nil:
		return fmt.Errorf("network: %s port %s: %w", port.Protocol, at, err)
	}
	return listener.Close()
}

// Unpublish ends what Publish began, connections included. Safe for an attempt that has published nothing.
func (b *Bridge) Unpublish(id string) error {
	b.ruling.Lock()
	defer b.ruling.Unlock()
	p, ok := b.published[id]
	if !ok {
		return nil
	}
	delete(b.published, id)
	if err := b.ensureRules(); err != nil {
		b.published[id] = p
		return err
	}
	// Or whoever gets the node's address next would get what is still sent to it.
	var connections netlink.ConntrackFilter
	err := connections.AddIP(netlink.ConntrackReplySrcIP, p.To.AsSlice())
	if err == nil {
		_, err = b.handle.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, &connections)
	}
	if err != nil {
		b.log.Warn("connections to a published port are not ended", "attempt", id, "address", p.Address, "error", err)
	}
	return nil
}
