package containerd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/containerd/bridge"
	"github.com/berth-hpc/berth/internal/image"
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
	state := bridge.State{Published: make(map[string]bridge.Publication)}
	var ids []string
	for _, record := range records {
		ids = append(ids, record.ID)
		if subnet, ok := subnetOf(record.Labels); ok {
			state.Used = append(state.Used, subnet)
		}
		if record.Labels[labelNetwork] != "" {
			state.Private = append(state.Private, record.ID)
		}
		if published, ok := publicationOf(record.Labels); ok {
			state.Published[record.ID] = published
		}
	}
	e.network, err = bridge.Open(bridge.Config{
		Identity: e.owner, StateFile: filepath.Join(e.cfg.DataDir, "network.json"), Log: e.log,
	}, state)
	if err != nil {
		return err
	}
	return e.network.Sweep(ids)
}

// subnetOf returns the addresses that the labels of a first node name.
func subnetOf(labels map[string]string) (netip.Prefix, bool) {
	if subnet, err := netip.ParsePrefix(labels[labelNetwork]); err == nil {
		return subnet, true
	}
	address, err := netip.ParseAddr(labels[labelAddress])
	if err != nil {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(address, address.BitLen()), true
}

// Gateway is the address at which attempts reach this host, where they are let in; the zero value when they have no network.
func (e *Engine) Gateway() netip.Addr {
	if e.network == nil {
		return netip.Addr{}
	}
	return e.network.Gateway()
}

// LetIn lets attempts reach one TCP port of this host at the gateway's address, until the engine is opened again. It is for an engine
// with a network.
func (e *Engine) LetIn(port int) error { return e.network.LetIn(port) }

// place is where a node is in the network; the zero value is nowhere.
type place struct {
	segment *bridge.Segment
	address netip.Addr
}

// attach connects a created task, before its agent runs.
func (p place) attach(id string, pid int) error {
	if p.segment == nil {
		return nil
	}
	return p.segment.Attach(id, pid, p.address)
}

// open makes the network of several nodes, before the first of them is attached.
func (p place) open() error {
	if p.segment == nil {
		return nil
	}
	return p.segment.Open()
}

// String is the node's address, empty without a network.
func (p place) String() string {
	if p.segment == nil {
		return ""
	}
	return p.address.String()
}

// worker is the place of a worker of the attempt whose first node is at p, 1 is the first of them.
func (p place) worker(n int) place {
	for range n {
		p.address = p.address.Next()
	}
	return p
}

// reserve takes what an attempt needs and others cannot have: GPUs, CPUs, a place in the network for the first node, behind which those of its
// workers are, and the ports that are published. What the first node's record has to tell of it goes into the labels.
func (e *Engine) reserve(ctx context.Context, a engine.Attempt, labels map[string]string) (place, error) {
	if err := e.gpus.take(nodeIDs(a), a.GPUs); err != nil {
		return place{}, err
	}
	if err := e.cpus.take(ctx, nodeIDs(a), a.Cores); err != nil {
		return place{}, errors.Join(err, e.unreserve(a, labels))
	}
	at, err := e.connect(ctx, a, labels)
	if err != nil {
		return place{}, errors.Join(err, e.unreserve(a, labels))
	}
	return at, nil
}

// unreserve takes back what reserve took.
func (e *Engine) unreserve(a engine.Attempt, labels map[string]string) error {
	for _, node := range nodeIDs(a) {
		e.gpus.release(node)
		e.cpus.release(node)
	}
	return e.release(a.ID, labels)
}

// connect is reserve without the GPUs and the CPUs.
func (e *Engine) connect(ctx context.Context, a engine.Attempt, labels map[string]string) (place, error) {
	switch {
	case e.network == nil && len(a.Workers) > 0:
		return place{}, image.Refuse("jobs have no network here, and so one node only")
	case e.network == nil && len(a.Publish.Ports) > 0:
		return place{}, image.Refuse("jobs have no network here, and so no ports")
	case e.network == nil:
		return place{}, nil
	}
	at, err := e.allocate(a, labels)
	if err != nil || len(a.Publish.Ports) == 0 {
		return at, err
	}
	published, err := e.network.Publish(ctx, a.ID, bridge.Publication{Publish: a.Publish, To: at.address})
	if err == nil {
		err = labelPublication(labels, published)
	}
	if err != nil {
		return place{}, err
	}
	return at, nil
}

// allocate is reserve without what is published.
func (e *Engine) allocate(a engine.Attempt, labels map[string]string) (place, error) {
	if len(a.Workers) == 0 {
		address, err := e.network.Allocate()
		if err != nil {
			return place{}, err
		}
		labels[labelAddress] = address.String()
		return place{segment: e.network.Shared(), address: address}, nil
	}
	subnet, err := e.network.AllocateSubnet(1 + len(a.Workers))
	if err != nil {
		return place{}, err
	}
	segment := e.network.Private(a.ID, subnet)
	first := segment.First()
	labels[labelNetwork], labels[labelAddress] = subnet.String(), first.String()
	return place{segment: segment, address: first}, nil
}

// release takes back what the labels of an attempt's first node name.
func (e *Engine) release(id string, labels map[string]string) error {
	subnet, ok := subnetOf(labels)
	if e.network == nil || !ok {
		return nil
	}
	if err := e.network.Unpublish(id); err != nil {
		return err
	}
	if labels[labelNetwork] != "" {
		if err := e.network.RemovePrivate(id); err != nil {
			return fmt.Errorf("network of %s: %w", id, err)
		}
	}
	e.network.Release(subnet)
	return nil
}
