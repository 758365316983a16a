package containerd

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"pgregory.net/rapid"

	"github.com/berth-hpc/berth/internal/engine/containerd/topology"
)

// recordOf is that of a node with some CPUs.
func recordOf(node, list string) containers.Container {
	return containers.Container{ID: node, Labels: map[string]string{labelCPUs: list}}
}

// list are the CPUs that a node runs on; empty when it has none of its own.
func (c *cpus) list(node string) string {
	return c.pin(&specs.Spec{Linux: &specs.Linux{Resources: &specs.LinuxResources{}}}, node)
}

func TestCPUsAreTakenByAllNodesOrNone(t *testing.T) {
	cores := []topology.Core{{CPUs: []int{0}}, {CPUs: []int{1}}, {CPUs: []int{2}}, {CPUs: []int{10}}}
	c := openCPUs(cores, []containers.Container{recordOf("old", "1")})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.take(ended, []string{"a", "a-2"}, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("take 4 of 3 that are free: %v; want that of the context", err)
	}
	if got := c.list("a") + c.list("a-2"); got != "" {
		t.Errorf("the nodes have the CPUs %q of those that were too few", got)
	}
	if err := c.take(ended, []string{"a", "a-2", "a-3"}, 2); err != nil || c.list("a") != "" {
		t.Errorf("take 6 of 4: %v, %q; want none, and no error", err, c.list("a"))
	}
	taken := make(chan error, 1)
	go func() { taken <- c.take(t.Context(), []string{"a", "a-2"}, 2) }()
	c.release("old")
	if err := <-taken; err != nil {
		t.Fatal(err)
	}
	got := map[string]string{"a": c.list("a"), "a-2": c.list("a-2"), "old": c.list("old")}
	if diff := cmp.Diff(map[string]string{"a": "0,1", "a-2": "10,2", "old": ""}, got); diff != "" {
		t.Errorf("CPUs of the nodes (-want +got):\n%s", diff)
	}
}

// TestCPUsOfAFailedStart: what a start has taken that failed, and could not be cleaned up, is there for the next try, and for others when
// the attempt is given up.
func TestCPUsOfAFailedStart(t *testing.T) {
	c := openCPUs([]topology.Core{{CPUs: []int{0}}, {CPUs: []int{1}}, {CPUs: []int{2}}}, nil)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	nodes := []string{"a", "a-2", "a-3"}
	for range 2 {
		if err := c.take(ended, nodes, 1); err != nil {
			t.Fatal(err)
		}
		if got := c.list("a") + c.list("a-2") + c.list("a-3"); got != "012" {
			t.Errorf("the nodes have the CPUs %q; want one each", got)
		}
	}
	if err := c.take(ended, []string{"b"}, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("another attempt: %v; want that it has to wait", err)
	}
	c.release("a") // its workers have no records
	if err := c.take(ended, []string{"b", "b-2", "b-3"}, 1); err != nil {
		t.Errorf("after the attempt was removed: %v", err)
	}
}

// TestThreadsOfACoreStayTogether: a node has all the threads of its cores, and their time. A core of which a node has one thread, as an
// earlier server gave them out, is not free.
func TestThreadsOfACoreStayTogether(t *testing.T) {
	cores := []topology.Core{{CPUs: []int{0, 4}}, {CPUs: []int{1, 5}}, {CPUs: []int{2, 6}}, {CPUs: []int{3}}} // 7 is offline
	c := openCPUs(cores, []containers.Container{recordOf("old", "4")})
	if err := c.take(t.Context(), []string{"a", "a-2"}, 1); err != nil {
		t.Fatal(err)
	}
	if err := c.take(t.Context(), []string{"b"}, 1); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{"a": c.list("a"), "a-2": c.list("a-2"), "b": c.list("b")}
	if diff := cmp.Diff(map[string]string{"a": "1,5", "a-2": "2,6", "b": "3"}, got); diff != "" {
		t.Errorf("CPUs of the nodes (-want +got):\n%s", diff)
	}
	spec := &specs.Spec{Linux: &specs.Linux{Resources: &specs.LinuxResources{}}}
	c.pin(spec, "a")
	if cpu := spec.Linux.Resources.CPU; *cpu.Quota != 2*cpuPeriod || *cpu.Period != cpuPeriod {
		t.Errorf("a core with two threads has a quota of %d in %d; want that of both", *cpu.Quota, *cpu.Period)
	}
}

// TestNoCPUIsGivenTwice whatever starts and ends in which order, also when the server starts again and knows the records only. What has
// ended is there again.
func TestNoCPUIsGivenTwice(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	rapid.Check(t, func(t *rapid.T) {
		cores := drawCores(t)
		attempts := make(map[string][]containers.Container) // by the attempt, the records of its nodes
		c := openCPUs(cores, nil)
		for step := range rapid.IntRange(1, 30).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"start", "start", "end", "restart"}).Draw(t, "what") {
			case "start":
				id := strconv.Itoa(step)
				attempts[id] = startSome(ended, t, c, id, len(cores)-coresOf(attempts, cores))
			case "end":
				if len(attempts) > 0 {
					id := rapid.SampledFrom(slices.Sorted(maps.Keys(attempts))).Draw(t, "attempt")
					delete(attempts, id)
					c.release(id)
				}
			case "restart":
				c = openCPUs(cores, slices.Concat(slices.Collect(maps.Values(attempts))...))
			}
			check(t, c, attempts)
		}
	})
}

// startSome gives an attempt cores, if so many are free, and returns the records of its nodes.
func startSome(ctx context.Context, t *rapid.T, c *cpus, id string, free int) []containers.Container {
	nodes := []string{id}
	for i := range rapid.IntRange(0, 2).Draw(t, "workers") {
		nodes = append(nodes, workerID(id, i+1))
	}
	each := rapid.IntRange(1, 4).Draw(t, "each")
	err := c.take(ctx, nodes, each)
	if all := each * len(nodes); (err == nil) != (all <= free || all > len(c.cores)) {
		t.Fatalf("%d nodes with %d cores each of %d free ones: %v", len(nodes), each, free, err)
	}
	var records []containers.Container
	for _, node := range nodes {
		if list := c.list(node); list != "" {
			records = append(records, recordOf(node, list))
		}
	}
	return records
}

// drawCores draws a machine with one or two threads for each core.
func drawCores(t *rapid.T) []topology.Core {
	var cores []topology.Core
	n := rapid.IntRange(1, 12).Draw(t, "cores")
	threads, perNode := rapid.IntRange(1, 2).Draw(t, "threads"), rapid.IntRange(1, 4).Draw(t, "cores per NUMA node")
	for i := range n {
		core := topology.Core{CPUs: []int{i}, Node: i / perNode}
		if threads == 2 {
			core.CPUs = append(core.CPUs, i+n)
		}
		cores = append(cores, core)
	}
	return cores
}

// coresOf counts the cores that attempts have.
func coresOf(attempts map[string][]containers.Container, cores []topology.Core) int {
	threads, taken := len(cores[0].CPUs), 0
	for _, records := range attempts {
		for _, record := range records {
			taken += len(strings.Split(record.Labels[labelCPUs], ",")) / threads
		}
	}
	return taken
}

// check finds a CPU of two nodes, and one that is not of the node that the records say.
func check(t *rapid.T, c *cpus, attempts map[string][]containers.Container) {
	owners := make(map[string]string)
	for _, records := range attempts {
		for _, record := range records {
			list := record.Labels[labelCPUs]
			if got := c.list(record.ID); got != list {
				t.Fatalf("node %s has the CPUs %q; its record says %q", record.ID, got, list)
			}
			for cpu := range strings.SplitSeq(list, ",") {
				if owner := owners[cpu]; owner != "" {
					t.Fatalf("CPU %s is of %s and of %s", cpu, owner, record.ID)
				}
				owners[cpu] = record.ID
			}
		}
	}
}
