package agent

import (
	"errors"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/agentapi"
)

const (
	networkInterface = "eth0"
	loopback         = "127.0.0.1"
)

// interfaceAddress returns the IPv4 address of a network interface of this container, "" when there is none.
func interfaceAddress(name string) string {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer func() { _ = unix.Close(socket) }()
	request, err := unix.NewIfreq(name)
	if err != nil {
		return ""
	}
	if err := unix.IoctlIfreq(socket, unix.SIOCGIFADDR, request); err != nil {
		return ""
	}
	raw, err := request.Inet4Addr()
	if err != nil {
		return ""
	}
	address, ok := netip.AddrFromSlice(raw)
	if !ok {
		return ""
	}
	return address.String()
}

// findAddresses fills in the address of this node when the server does not know it. Nodes without any get the loopback's.
func findAddresses(spec agentapi.Spec) agentapi.Spec {
	nodes := make([]agentapi.Node, len(spec.Nodes))
	for i, node := range spec.Nodes {
		if node.Address == "" && node.Name == spec.Hostname {
			node.Address = interfaceAddress(networkInterface)
		}
		nodes[i] = node
	}
	spec.Nodes = nodes
	return spec
}

// configureNetwork makes the names of the job's nodes known.
func (s *setup) configureNetwork() error {
	var hosts strings.Builder
	hosts.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	for _, node := range s.spec.Nodes {
		hosts.WriteString(addressOf(node) + "\t" + node.Name + "\n")
	}
	err := errors.Join(
		s.write("/etc/hostname", s.spec.Hostname+"\n"),
		s.write("/etc/hosts", hosts.String()))
	if len(s.spec.Nameservers) > 0 {
		err = errors.Join(err, s.write("/etc/resolv.conf", resolvConf(s.spec)))
	}
	return err
}

func resolvConf(spec agentapi.Spec) string {
	var text strings.Builder
	for _, server := range spec.Nameservers {
		text.WriteString("nameserver " + server + "\n")
	}
	if len(spec.Search) > 0 {
		text.WriteString("search " + strings.Join(spec.Search, " ") + "\n")
	}
	return text.String()
}

func addressOf(node agentapi.Node) string {
	if node.Address == "" {
		return loopback
	}
	return node.Address
}
