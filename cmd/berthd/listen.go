package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
)

// listenForJobs returns the listeners of the server and the address at which jobs reach it. That is the one that the administrator has
// given, or else the host's on the bridge of the jobs, at the same port as for everybody. When somebody else has that, jobs do not reach
// the server: few of them want to.
func (s *server) listenForJobs(ctx context.Context, listener net.Listener) (listeners []net.Listener, apiURL string) {
	listeners = []net.Listener{listener}
	at, ok := listener.Addr().(*net.TCPAddr)
	gateway := s.engine.Gateway()
	switch {
	case s.cfg.APIURL != "":
		return listeners, s.cfg.APIURL
	case !ok || !gateway.IsValid():
		return listeners, urlOf(listener.Addr())
	}
	address := net.JoinHostPort(gateway.String(), strconv.Itoa(at.Port))
	if !covers(at, gateway) {
		inner, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", address)
		if err != nil {
			s.log.Warn("jobs do not reach this server; give --api-url if they shall", "address", address, "error", err)
			return listeners, urlOf(listener.Addr())
		}
		listeners = append(listeners, inner)
	}
	if err := s.engine.LetIn(at.Port); err != nil {
		s.log.Warn("jobs do not reach this server", "address", address, "error", err)
	}
	return listeners, "http://" + address + "/"
}

// covers says whether a listener takes what comes to an IPv4 address: one on all addresses does, the wildcard of IPv6 included.
func covers(listens *net.TCPAddr, address netip.Addr) bool {
	return listens.IP.IsUnspecified() || listens.AddrPort().Addr().Unmap() == address
}

func closeAll(listeners []net.Listener) (err error) {
	for _, listener := range listeners {
		err = errors.Join(err, listener.Close())
	}
	return err
}

// urlOf is where others reach a server that listens on an address. A server that listens on all of them is reached at the first
// one that is not only this machine's own.
func urlOf(listens net.Addr) string {
	host, port, err := net.SplitHostPort(listens.String())
	if err != nil {
		return ""
	}
	if addr, err := netip.ParseAddr(host); err == nil && addr.IsUnspecified() {
		host = ownAddress(addr.Unmap().Is4())
	}
	return "http://" + net.JoinHostPort(host, port) + "/"
}

// ownAddress returns an address of this machine at which others reach it; that of the loopback when there is none.
func ownAddress(only4 bool) string {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "127.0.0.1"
	}
	found := "127.0.0.1"
	for _, address := range addresses {
		prefix, err := netip.ParsePrefix(address.String())
		if err != nil || !prefix.Addr().IsGlobalUnicast() {
			continue
		}
		if prefix.Addr().Is4() {
			return prefix.Addr().String()
		}
		if !only4 {
			found = prefix.Addr().String()
		}
	}
	return found
}
