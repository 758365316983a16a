package containerd

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/engine/containerd/topology"
)

// labelCPUs are the CPUs of a node, by their numbers and with commas between them.
const labelCPUs = "berth/cpus"

// cpuWait is how long a start waits for the cores of an attempt that has ended and is still being removed.
const cpuWait = endTimeout

// cpus gives the cores of this host to nodes, each to one at a time.
type cpus struct {
	// cores are those that this process may use. There are none when nodes get none of their own.
	cores []topology.Core
	// shares are by the numbers of CPUs: a core is free when all of its CPUs are.
	shares
}

// coresOfHost returns the cores that this process may use.
func coresOfHost() ([]topology.Core, error) {
	var usable unix.CPUSet
	if err := unix.SchedGetaffinity(0, &usable); err != nil {
		return nil, fmt.Errorf("CPUs of this host: %w", err)
	}
	var numbers []int
	for cpu := range len(usable) * strconv.IntSize {
		if usable.IsSet(cpu) {
			numbers = append(numbers, cpu)
		}
	}
	cores, err := topology.Read(os.DirFS("/sys/devices/system"), numbers)
	if err != nil {
		return nil, fmt.Errorf("cores of this host: %w", err)
	}
	return cores, nil
}

// openCPUs is for a host with some cores, on which the nodes with some records run.
func openCPUs(cores []topology.Core, records []containers.Container) *cpus {
	c := &cpus{cores: cores}
	for _, record := range records {
		if label := record.Labels[labelCPUs]; label != "" {
			c.give(record.ID, strings.Split(label, ","))
		}
	}
	return c
}

// take gives each of some nodes as many cores as it needs. All of them get theirs or none does. Nodes that need more cores than there
// are share all of them.
func (c *cpus) take(ctx context.Context, nodes []string, each int) error {
	if each*len(nodes) > len(c.cores) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, cpuWait)
	defer cancel()
	for {
		freed, ok := c.share(nodes, func(free func(cpu string) bool) [][]string { return c.choose(free, len(nodes), each) })
		if ok {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return fmt.Errorf("%d nodes with %d cores each: too few of %d are free: %w", len(nodes), each, len(c.cores), context.Cause(ctx))
		}
	}
}

// choose chooses the CPUs of some nodes, nil when too few are free.
func (c *cpus) choose(free func(cpu string) bool, nodes, each int) [][]string {
	var cores []topology.Core
	for _, core := range c.cores {
		if taken := func(cpu string) bool { return !free(cpu) }; !slices.ContainsFunc(names(core), taken) {
			cores = append(cores, core)
		}
	}
	var chosen [][]string
	for _, cores := range topology.Choose(cores, nodes, each) {
		chosen = append(chosen, names(cores...))
	}
	return chosen
}

// names are those of the CPUs of some cores.
func names(cores ...topology.Core) []string {
	var names []string
	for _, core := range cores {
		for _, cpu := range core.CPUs {
			names = append(names, strconv.Itoa(cpu))
		}
	}
	return names
}

// pin has a node run on its own CPUs, all the time, and returns them as the kernel reads them; empty when it has none of its own.
func (c *cpus) pin(spec *specs.Spec, node string) (list string) {
	own := c.of(node)
	if len(own) == 0 {
		return ""
	}
	list = strings.Join(own, ",")
	spec.Linux.Resources.CPU = cpuTime(len(own)) // a core has several where it has threads
	spec.Linux.Resources.CPU.Cpus = list
	return list
}
