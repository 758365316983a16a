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

// cpusOf returns the CPUs of an attempt, which are as many as its cores.
func cpusOf(t *testing.T, a engine.Attempt) map[int]bool {
	t.Helper()
	enginetest.AwaitOutput(t, a, "ready")
	output := enginetest.Output(t, a)
	line := allowed.FindStringSubmatch(output)
	if line == nil || !strings.Contains(output, "nproc "+strconv.Itoa(a.Cores)+"\n") {
		t.Fatalf("the attempt shows %q; want its CPUs, and that they are %d", output, a.Cores)
	}
	numbers := make(map[int]bool)
	for part := range strings.SplitSeq(line[1], ",") {
		from, to, ranged := strings.Cut(part, "-")
		first, err := strconv.Atoi(from)
		last := first
		if ranged {
			last, err = strconv.Atoi(to)
		}
		if err != nil {
			t.Fatal(err)
		}
		for ; first <= last; first++ {
			numbers[first] = true
		}
	}
	if len(numbers) != a.Cores {
		t.Errorf("the attempt has the CPUs %v; want %d", numbers, a.Cores)
	}
	return numbers
}

// TestPinnedCPUs: every CPU is of one attempt at a time, also after a restart, and comes back. A start waits for what is coming back.
func TestPinnedCPUs(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("there is one CPU only")
	}
	m := newMachine(t)
	m.pinCPUs = true
	e := m.open(t)
	// Together they have all CPUs.
	first := newPinned(t, (runtime.NumCPU()+1)/2)
	second := newPinned(t, runtime.NumCPU()-first.Cores)
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
	if runtime.NumCPU() < 2 {
		t.Skip("there is one CPU only")
	}
	m := newMachine(t)
	m.pinCPUs = true
	e := m.open(t)
	a := enginetest.NewAttempt(t, enginetest.Script{Text: showsCPUs, Nodes: 2})
	enginetest.Start(t, e, a)
	enginetest.AwaitOutput(t, a, "ready") // then all agents run
	var lists []string
	for _, id := range []string{a.ID, a.ID + "-2"} {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", agentOf(t, id)))
		if err != nil {
			t.Fatal(err)
		}
		lists = append(lists, allowed.FindStringSubmatch(string(status))[1])
	}
	if lists[0] == lists[1] || strings.ContainsAny(lists[0]+lists[1], "-,") {
		t.Errorf("the nodes have the CPUs %q; want one each", lists)
	}
}

// TestMoreCoresThanCPUs: an attempt that the host has too few CPUs for runs on all of them.
func TestMoreCoresThanCPUs(t *testing.T) {
	m := newMachine(t)
	m.pinCPUs = true
	e := m.open(t)
	a := newPinned(t, runtime.NumCPU()+1)
	enginetest.Start(t, e, a)
	enginetest.AwaitOutput(t, a, "nproc "+strconv.Itoa(runtime.NumCPU())+"\n")
}
