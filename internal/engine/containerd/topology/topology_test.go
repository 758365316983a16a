package topology_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/berth-hpc/berth/internal/engine/containerd/topology"
)

// layout is what /sys/devices/system has of a machine: the threads of cores and the cores of sockets and NUMA nodes, as lists.
type layout struct {
	cores, sockets, nodes []string
	// old is a kernel of before 5.3.
	old bool
}

func (l layout) files(t *testing.T) fstest.MapFS {
	t.Helper()
	name := "core_cpus_list"
	if l.old {
		name = "thread_siblings_list"
	}
	sys := fstest.MapFS{}
	write := func(path, text string) { sys[path] = &fstest.MapFile{Data: []byte(text + "\n")} }
	each := func(list string, do func(cpu int)) {
		cpus, err := topology.ParseList(list)
		if err != nil {
			t.Fatal(err)
		}
		for _, cpu := range cpus {
			do(cpu)
		}
	}
	for _, core := range l.cores {
		each(core, func(cpu int) { write(fmt.Sprintf("cpu/cpu%d/topology/%s", cpu, name), core) })
	}
	for i, socket := range l.sockets {
		each(socket, func(cpu int) { write(fmt.Sprintf("cpu/cpu%d/topology/physical_package_id", cpu), strconv.Itoa(i)) })
	}
	for i, node := range l.nodes {
		write(fmt.Sprintf("node/node%d/cpulist", i), node)
		write("node/has_cpu", "0")
		write("node/possible", "0-1")
	}
	return sys
}

// show is a machine as text: each core's threads, socket and NUMA node.
func show(cores []topology.Core) string {
	var all []string
	for _, c := range cores {
		all = append(all, fmt.Sprintf("%s@%d/%d", strings.Trim(strings.ReplaceAll(fmt.Sprint(c.CPUs), " ", "+"), "[]"), c.Socket, c.Node))
	}
	return strings.Join(all, " ")
}

func TestRead(t *testing.T) {
	for name, test := range map[string]struct {
		layout layout
		usable string
		want   string
	}{
		"two sockets, two NUMA nodes each, two threads": {
			layout{
				cores:   []string{"0,8", "1,9", "2,10", "3,11", "4,12", "5,13", "6,14", "7,15"},
				sockets: []string{"0-3,8-11", "4-7,12-15"}, nodes: []string{"0-1,8-9", "2-3,10-11", "4-5,12-13", "6-7,14-15"},
			},
			"0-15", "0+8@0/0 1+9@0/0 2+10@0/1 3+11@0/1 4+12@1/2 5+13@1/2 6+14@1/3 7+15@1/3",
		},
		"threads beside each other, an old kernel": {
			layout{cores: []string{"0-1", "2-3"}, sockets: []string{"0-3"}, nodes: []string{"0-3"}, old: true},
			"0-3", "0+1@0/0 2+3@0/0",
		},
		"sockets in turn": {
			layout{cores: []string{"0", "1", "2", "3"}, sockets: []string{"0,2", "1,3"}, nodes: []string{"0,2", "1,3"}},
			"0-3", "0@0/0 1@1/1 2@0/0 3@1/1",
		},
		"offline CPUs have nothing, and their siblings are alone": {
			layout{cores: []string{"0,4", "1", "3", "6"}, sockets: []string{"0-1,3-4,6"}, nodes: []string{"0-1,3-4,6"}},
			"0-1,3-4,6", "0+4@0/0 1@0/0 3@0/0 6@0/0",
		},
		"the server may use one thread of each core": {
			layout{cores: []string{"0,2", "1,3"}, sockets: []string{"0-3"}, nodes: []string{"0-3"}},
			"0-1", "0@0/0 1@0/0",
		},
		"some cores have threads": {
			layout{cores: []string{"0-1", "2-3", "4", "5"}, sockets: []string{"0-5"}},
			"0-5", "0+1@0/0 2+3@0/0 4@0/0 5@0/0",
		},
		"NUMA nodes of memory only, and numbers left out": {
			layout{cores: []string{"0", "1"}, sockets: []string{"", "0", "", "1"}, nodes: []string{"", "0", "", "1"}},
			"0-1", "0@1/1 1@3/3",
		},
		"no NUMA": {
			layout{cores: []string{"0", "1"}, sockets: []string{"0-1"}}, "0-1", "0@0/0 1@0/0",
		},
		"sockets that are not known": {
			layout{cores: []string{"0", "1"}, sockets: nil, nodes: []string{"0-1"}}, "0-1", "0@0/0 1@0/0",
		},
		"nothing is known": {layout{}, "0-1,5", "0@0/0 1@0/0 5@0/0"},
	} {
		t.Run(name, func(t *testing.T) {
			usable, err := topology.ParseList(test.usable)
			if err != nil {
				t.Fatal(err)
			}
			cores, err := topology.Read(test.layout.files(t), usable)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, show(cores)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestReadUnknownSocket: some kernels say -1 where there is none.
func TestReadUnknownSocket(t *testing.T) {
	cores, err := topology.Read(fstest.MapFS{"cpu/cpu0/topology/physical_package_id": {Data: []byte("-1\n")}}, []int{0})
	if err != nil || show(cores) != "0@0/0" {
		t.Errorf("%q, %v", show(cores), err)
	}
}

// TestReadNonsense: what is there and cannot be read is not taken for what is not there.
func TestReadNonsense(t *testing.T) {
	for _, path := range []string{"cpu/cpu0/topology/core_cpus_list", "cpu/cpu0/topology/physical_package_id", "node/node0/cpulist"} {
		for _, text := range []string{"one", "0-", "0,,1"} {
			if cores, err := topology.Read(fstest.MapFS{path: {Data: []byte(text)}}, []int{0}); err == nil {
				t.Errorf("%s holds %q: %s; want an error", path, text, show(cores))
			}
		}
	}
}

// machine has sockets with NUMA nodes with cores, without some of which are taken. Cores are numbered in order.
func machine(sockets, nodes, cores int, taken ...int) []topology.Core {
	var all []topology.Core
	for i := range sockets * nodes * cores {
		if !slices.Contains(taken, i) {
			all = append(all, topology.Core{CPUs: []int{i}, Socket: i / cores / nodes, Node: i / cores})
		}
	}
	return all
}

func TestChoose(t *testing.T) {
	for name, test := range map[string]struct {
		free        []topology.Core
		nodes, each int
		want        string
	}{
		"the fullest NUMA node that has enough":   {machine(1, 3, 4, 0, 4, 5), 1, 2, "[6 7]"},
		"the first of equal ones":                 {machine(1, 2, 4), 1, 3, "[0 1 2]"},
		"not the fullest socket":                  {machine(2, 2, 4, 0, 4, 5), 1, 4, "[8 9 10 11]"},
		"one socket, when no NUMA node is enough": {machine(2, 2, 4, 0), 1, 8, "[12 13 14 15 8 9 10 11]"},
		"its larger NUMA node whole":              {machine(2, 2, 4, 0), 1, 5, "[4 5 6 7 1]"},
		"all of the machine":                      {machine(2, 2, 2), 1, 8, "[6 7 4 5 2 3 0 1]"},
		"nodes of a job each in its own":          {machine(1, 2, 4, 0), 3, 2, "[1 2] [4 5] [6 7]"},
		"nodes of a job when it is narrow":        {machine(1, 2, 3), 3, 2, "[0 1] [3 4] [5 2]"},
		"too few":                                 {machine(1, 2, 2, 0), 2, 2, ""},
		"sockets of one core, as virtual machines have": {
			[]topology.Core{
				{CPUs: []int{0}, Socket: 0, Node: 0},
				{CPUs: []int{1}, Socket: 1, Node: 0},
				{CPUs: []int{2}, Socket: 2, Node: 1},
				{CPUs: []int{3}, Socket: 3, Node: 1},
				{CPUs: []int{4}, Socket: 4, Node: 1},
			},
			1, 3, "[4 3 2]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, cores := range topology.Choose(test.free, test.nodes, test.each) {
				var cpus []int
				for _, core := range cores {
					cpus = append(cpus, core.CPUs...)
				}
				got = append(got, fmt.Sprint(cpus))
			}
			if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestChosenCores are free, of one node each, and as many as they must be. As long as a NUMA node has room for a node of a job, it gets the
// fullest one that has; else as long as a socket has, it is within one.
func TestChosenCores(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var free []topology.Core
		for i := range rapid.IntRange(0, 24).Draw(t, "cores") {
			node := rapid.IntRange(0, 5).Draw(t, "node")
			free = append(free, topology.Core{CPUs: []int{i, i + 100}, Node: node, Socket: node / 2})
		}
		nodes, each := rapid.IntRange(1, 4).Draw(t, "nodes"), rapid.IntRange(1, 8).Draw(t, "each")
		chosen := topology.Choose(free, nodes, each)
		if len(free) < nodes*each {
			if chosen != nil {
				t.Fatalf("%v of too few", chosen)
			}
			return
		}
		for _, cores := range chosen {
			if len(cores) != each {
				t.Fatalf("%d cores, want %d", len(cores), each)
			}
			checkPlace(t, cores, free)
			for _, core := range cores {
				at := slices.IndexFunc(free, func(c topology.Core) bool { return c.CPUs[0] == core.CPUs[0] })
				if at < 0 {
					t.Fatalf("core %v is not free", core)
				}
				free = slices.Delete(free, at, at+1)
			}
		}
	})
}

// checkPlace finds cores that are not where they should be of those that were free.
func checkPlace(t *rapid.T, cores, free []topology.Core) {
	byNode, bySocket := count(free)
	inNode, inSocket := count(cores)
	if least := fit(byNode, len(cores)); least > 0 && (len(inNode) != 1 || byNode[cores[0].Node] != least) {
		t.Fatalf("NUMA nodes %v for %d cores of %v", inNode, len(cores), byNode)
	}
	if fit(bySocket, len(cores)) > 0 && fit(byNode, len(cores)) == 0 && len(inSocket) != 1 {
		t.Fatalf("sockets %v for %d cores of %v", inSocket, len(cores), bySocket)
	}
}

// count counts cores in NUMA nodes and in sockets.
func count(cores []topology.Core) (byNode, bySocket map[int]int) {
	byNode, bySocket = make(map[int]int), make(map[int]int)
	for _, core := range cores {
		byNode[core.Node]++
		bySocket[core.Socket]++
	}
	return byNode, bySocket
}

// fit is what the fullest place has that has room for n, 0 for none.
func fit(places map[int]int, n int) int {
	least := 0
	for _, free := range places {
		if free >= n && (least == 0 || free < least) {
			least = free
		}
	}
	return least
}
