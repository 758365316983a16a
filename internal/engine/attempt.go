package engine

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// maxID is the length that the id of an attempt may have.
const maxID = 60

// ValidID says whether id can name an attempt.
func ValidID(id string) bool {
	return id != "" && len(id) <= maxID && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// Check returns an error that wraps ErrRefused when the attempt can never be started as it is.
func (a Attempt) Check() error {
	switch {
	case !ValidID(a.ID):
		return fmt.Errorf("%w: attempt id %q is not 1 to %d of a-z, 0-9 and -", ErrRefused, a.ID, maxID)
	case a.Cores < 1 || a.Cores > math.MaxInt32:
		return fmt.Errorf("%w: attempt %s with %d cores", ErrRefused, a.ID, a.Cores)
	case a.GPUs < 0:
		return fmt.Errorf("%w: attempt %s with %d GPUs", ErrRefused, a.ID, a.GPUs)
	case a.Scratch < 0:
		return fmt.Errorf("%w: attempt %s with %d bytes of scratch", ErrRefused, a.ID, a.Scratch)
	case a.RAM < 1:
		return fmt.Errorf("%w: attempt %s with %d bytes of memory", ErrRefused, a.ID, a.RAM)
	case !filepath.IsAbs(a.Dir):
		return fmt.Errorf("%w: attempt %s with the directory %q, which is not absolute", ErrRefused, a.ID, a.Dir)
	}
	for _, w := range a.Workers {
		if !filepath.IsAbs(w.Dir) {
			return fmt.Errorf("%w: attempt %s with the directory %q of a node, which is not absolute", ErrRefused, a.ID, w.Dir)
		}
	}
	if err := a.Publish.check(); err != nil {
		return fmt.Errorf("%w: attempt %s: %w", ErrRefused, a.ID, err)
	}
	for _, m := range a.Mounts {
		if !filepath.IsAbs(m.Source) || !filepath.IsAbs(m.Target) {
			return fmt.Errorf("%w: attempt %s with a mount of %q at %q, which are not absolute", ErrRefused, a.ID, m.Source, m.Target)
		}
	}
	return nil
}

// check returns why nothing can be published like this.
func (p Publish) check() error {
	if _, err := netip.ParseAddr(p.Address); p.Address != "" && err != nil {
		return fmt.Errorf("%q is no address", p.Address)
	}
	const last = math.MaxUint16
	seen := make(map[Port]bool)
	for _, port := range p.Ports {
		outside := Port{Protocol: port.Protocol, Host: port.Outside()}
		switch {
		case port.Protocol != "tcp" && port.Protocol != "udp":
			return fmt.Errorf("port %d has the protocol %q, which is not one of tcp, udp", port.Number, port.Protocol)
		case port.Number < 1 || port.Number > last || outside.Host < 1 || outside.Host > last:
			return fmt.Errorf("port %d at %d is not within 1 to %d", port.Number, outside.Host, last)
		case seen[outside]:
			return fmt.Errorf("%s port %d is published twice", port.Protocol, outside.Host)
		}
		seen[outside] = true
	}
	return nil
}

// Outside is the number of the port at the address of the host.
func (p Port) Outside() int { return cmp.Or(p.Host, p.Number) }

// WritePeers leaves agentapi.PeersFile in the directory of every node of an attempt that has several. The addresses are those of the
// nodes, the first node's first, or empty. It is for engines.
func (a Attempt) WritePeers(addresses []string) error {
	if len(a.Workers) == 0 {
		return nil
	}
	dirs := []string{a.Dir}
	peers := []agentapi.Node{{Name: a.Hostname, Address: addresses[0], Cores: a.Cores}}
	for i, w := range a.Workers {
		dirs = append(dirs, w.Dir)
		peers = append(peers, agentapi.Node{Name: w.Hostname, Address: addresses[i+1], Cores: a.Cores})
	}
	text, err := json.Marshal(peers)
	if err != nil {
		return fmt.Errorf("nodes of attempt %s: %w", a.ID, err)
	}
	for _, dir := range dirs {
		if err := os.WriteFile(filepath.Join(dir, agentapi.PeersFile), text, 0o600); err != nil {
			return fmt.Errorf("nodes of attempt %s: %w", a.ID, err)
		}
	}
	return nil
}
