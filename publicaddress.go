package berth

import (
	"slices"
	"strings"
)

// PublicAddress is an IP address of a host at which jobs can be reached from outside.
type PublicAddress struct {
	// Address is in its canonical text form.
	Address string
	// Users are who may have it; empty is everybody.
	Users []string
}

// For says whether jobs of a user may have the address.
func (a PublicAddress) For(user string) bool {
	return len(a.Users) == 0 || slices.Contains(a.Users, user)
}

func (a PublicAddress) String() string {
	if len(a.Users) == 0 {
		return a.Address
	}
	return a.Address + "=" + strings.Join(a.Users, ",")
}

// Port is a port of a job.
type Port struct {
	Number int
	// Protocol is tcp, udp or sctp.
	Protocol string
}

// UsualPorts are those on which a job may be reached whose application does not say.
func UsualPorts() []Port {
	numbers := []int{80, 443, 5901, 5902, 8000, 8080, 8443, 8888}
	ports := make([]Port, len(numbers))
	for i, number := range numbers {
		ports[i] = Port{Number: number, Protocol: "tcp"}
	}
	return ports
}
