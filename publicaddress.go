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
