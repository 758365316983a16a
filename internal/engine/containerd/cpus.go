package containerd

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/containers"
	"golang.org/x/sys/unix"
)

// labelCPUs are the CPUs of a node, by their numbers and with commas between them.
const labelCPUs = "berth/cpus"

// cpuWait is how long a start waits for the CPUs of an attempt that has ended and is still being removed.
const cpuWait = endTimeout

// cpus gives the CPUs of this host to nodes, each to one at a time.
type cpus struct {
	// all are the numbers of those that this process may use, in order. It is empty when nodes get none of their own.
	all []string
	shares
}

func openCPUs(pin bool, records []containers.Container) (*cpus, error) {
	c := &cpus{}
	if !pin {
		return c, nil
	}
	var usable unix.CPUSet
	if err := unix.SchedGetaffinity(0, &usable); err != nil {
		return nil, fmt.Errorf("CPUs of this host: %w", err)
	}
	for cpu := range len(usable) * strconv.IntSize {
		if usable.IsSet(cpu) {
			c.all = append(c.all, strconv.Itoa(cpu))
		}
	}
	for _, record := range records {
		if label := record.Labels[labelCPUs]; label != "" {
			c.give(record.ID, strings.Split(label, ","))
		}
	}
	return c, nil
}

// take gives each of some nodes as many CPUs as it needs. All of them get theirs or none does. Nodes that need more CPUs than there
// are share all of them.
func (c *cpus) take(ctx context.Context, nodes []string, each int) error {
	if each*len(nodes) > len(c.all) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, cpuWait)
	defer cancel()
	for {
		freed, ok := c.share(c.all, nodes, each)
		if ok {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return fmt.Errorf("%d nodes with %d CPUs each: too few of %d are free: %w", len(nodes), each, len(c.all), context.Cause(ctx))
		}
	}
}

// list returns the CPUs of a node as the kernel reads them; empty when it has none of its own.
func (c *cpus) list(node string) string { return strings.Join(c.of(node), ",") }
