package containerd_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/containerd/topology"
	"github.com/berth-hpc/berth/internal/engine/enginetest"
)

// showsCPUs is a script that shows which CPUs it may run on, and how many programs count.
const showsCPUs = "grep Cpus_allowed_list /proc/self/status\necho \"nproc $(nproc)\"\necho ready\nsleep 1000"

// allowed is the line with the CPUs.
var allowed = regexp.MustCompile(`Cpus_allowed_list:\s*(\S+)`)

func newPinned(t *testing.T, cores int) engine.Attempt {
	t.Helper()
	a := enginetest.NewAttempt(t, enginetest.Script{Text: showsCPUs})
	a.Cores = cores
	return a
}

// pinnedMachine returns a machine whose engines give out cores, and their number.
func pinnedMachine(t *testing.T) (m *machine, cores int) {
	t.Helper()
	m = newMachine(t)
	m.pinCPUs = true
	hosts, err := m.open(t).Hosts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m, hosts[0].Capacity.Cores
}

// cpusOf returns the CPUs of an attempt: each core has the same number of them, unless the machine is of an odd kind.
func cpusOf(t *testing.T, a engine.Attempt) map[int]bool {
	t.Helper()
	enginetest.AwaitOutput(t, a, "ready")
	output := enginetest.Output(t, a)
	line := allowed.FindStringSubmatch(output)
	if line == nil {
		t.Fatalf("the attempt shows %q; want its CPUs", output)
	}
	list, err := topology.ParseList(line[1])
	if err != nil {
		t.Fatal(err)
	}
	numbers := make(map[int]bool)
	for _, cpu := range list {
		numbers[cpu] = true
	}
	if len(numbers) < a.Cores || !strings.Contains(output, fmt.Sprintf("nproc %d\n", len(numbers))) {
		t.Errorf("the attempt with %d cores shows %q", a.Cores, output)
	}
	return numbers
}

// TestPinnedCPUs: every CPU is of one attempt at a time, also after a restart, and comes back. A start waits for what is coming back.
func TestPinnedCPUs(t *testing.T) {
	m, cores := pinnedMachine(t)
	if cores < 2 {
		t.Skip("there is one core only")
	}
	e := m.open(t)
	// Together they have all cores.
	first := newPinned(t, (cores+1)/2)
	second := newPinned(t, cores-first.Cores)
	if err := e.Start(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context(), first); !errors.Is(err, engine.ErrExists) {
		t.Errorf("Start again: %v; want %v", err, engine.ErrExists)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = m.open(t)
	enginetest.Start(t, e, second)
	firsts, seconds := cpusOf(t, first), cpusOf(t, second)
	if len(firsts)+len(seconds) != runtime.NumCPU() {
		t.Errorf("%d and %d CPUs of %d", len(firsts), len(seconds), runtime.NumCPU())
	}
	for cpu := range seconds {
		if firsts[cpu] {
			t.Errorf("CPU %d is of two attempts", cpu)
		}
	}

	third := newPinned(t, first.Cores)
	started := make(chan error, 1)
	go func() { started <- e.Start(t.Context(), third) }()
	remove(t, e, first.ID)
	if err := <-started; err != nil {
		t.Fatalf("Start with what comes back: %v", err)
	}
	defer remove(t, e, third.ID)
	for cpu := range cpusOf(t, third) {
		if !firsts[cpu] {
			t.Errorf("the third attempt has CPU %d, which is not one that the first gave back", cpu)
		}
	}
}

// TestPinnedNodes: the nodes of an attempt have CPUs of their own, too.
func TestPinnedNodes(t *testing.T) {
	m, cores := pinnedMachine(t)
	if cores < 2 {
		t.Skip("there is one core only")
	}
	e := m.open(t)
	a := enginetest.NewAttempt(t, enginetest.Script{Text: showsCPUs, Nodes: 2})
	enginetest.Start(t, e, a)
	enginetest.AwaitOutput(t, a, "ready") // then all agents run
	seen := make(map[int]string)
	for _, id := range []string{a.ID, a.ID + "-2"} {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", agentOf(t, id)))
		if err != nil {
			t.Fatal(err)
		}
		list, err := topology.ParseList(allowed.FindStringSubmatch(string(status))[1])
		if err != nil {
			t.Fatal(err)
		}
		for _, cpu := range list {
			if other := seen[cpu]; other != "" {
				t.Errorf("CPU %d is of %s and of %s", cpu, other, id)
			}
			seen[cpu] = id
		}
	}
	if cores > 2 && len(seen) >= runtime.NumCPU() {
		t.Errorf("two nodes of one core have %d of %d CPUs", len(seen), runtime.NumCPU())
	}
}

// TestMoreCoresThanThereAre: an attempt that the host has too few CPUs for runs on all of them.
func TestMoreCoresThanThereAre(t *testing.T) {
	m, cores := pinnedMachine(t)
	e := m.open(t)
	a := newPinned(t, cores+1)
	enginetest.Start(t, e, a)
	enginetest.AwaitOutput(t, a, "nproc "+strconv.Itoa(runtime.NumCPU())+"\n")
}
