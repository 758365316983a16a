package containerd

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/berth-hpc/berth/internal/engine/containerd/bridge"
)

// openNetwork makes the bridge of the data directory; addresses of attempts that are there are not given out again.
func (e *Engine) openNetwork(ctx context.Context) error {
	if e.cfg.Network.Mode == NetworkNone {
		return nil
	}
	records, err := e.records(ctx)
	if err != nil {
		return err
	}
	var used []netip.Addr
	var ids []string
	for _, record := range records {
		ids = append(ids, record.ID)
		if address, err := netip.ParseAddr(record.Labels[labelAddress]); err == nil {
			used = append(used, address)
		}
	}
	e.network, err = bridge.Open(bridge.Config{
		Identity: e.owner, StateFile: filepath.Join(e.cfg.DataDir, "network.json"), Log: e.log,
	}, used)
	if err != nil {
		return err
	}
	return e.network.Sweep(ids)
}

// reserve adds an address to the labels of a new attempt. release takes it back.
func (e *Engine) reserve(labels map[string]string) (release func(), err error) {
	if e.network == nil {
		return func() {}, nil
	}
	address, err := e.network.Allocate()
	if err != nil {
		return nil, err
	}
	labels[labelAddress] = address.String()
	return func() { e.network.Release(address) }, nil
}

// attach connects a created task to the bridge, before its agent runs.
func (e *Engine) attach(id string, pid int, address string) error {
	if e.network == nil || address == "" {
		return nil
	}
	parsed, err := netip.ParseAddr(address)
	if err != nil {
		return fmt.Errorf("address of %s: %w", id, err)
	}
	return e.network.Attach(id, pid, parsed)
}

// release takes back the address that the labels name.
func (e *Engine) release(labels map[string]string) {
	if e.network == nil {
		return
	}
	if address, err := netip.ParseAddr(labels[labelAddress]); err == nil {
		e.network.Release(address)
	}
}
