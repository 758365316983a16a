// Package topology knows which CPUs of a machine are one core and which cores are near each other, and chooses cores by that.
package topology

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Core is a core of a machine.
type Core struct {
	// CPUs are its hardware threads by the numbers that the kernel gives them, in order.
	CPUs []int
	// Socket and Node are the numbers of the socket and of the NUMA node that it is in.
	Socket, Node int
}

// Read returns the cores that some CPUs are of, in the order of their CPUs, each with those of its threads that are among them. sys is
// /sys/devices/system. Without what the kernel does not tell there, each CPU is a core, and all are in one socket and one NUMA node.
func Read(sys fs.FS, cpus []int) ([]Core, error) {
	nodes, err := readNodes(sys)
	if err != nil {
		return nil, err
	}
	left := make(map[int]bool, len(cpus))
	for _, cpu := range cpus {
		left[cpu] = true
	}
	var cores []Core
	for _, cpu := range slices.Sorted(slices.Values(cpus)) {
		if !left[cpu] {
			continue
		}
		dir := fmt.Sprintf("cpu/cpu%d/topology", cpu)
		threads, err := readList(sys, path.Join(dir, "core_cpus_list"), path.Join(dir, "thread_siblings_list")) // the older name
		if err != nil {
			return nil, err
		}
		socket, err := readList(sys, path.Join(dir, "physical_package_id"))
		if err != nil {
			return nil, err
		}
		core := Core{Node: nodes[cpu], Socket: slices.Max(append(socket, 0))}
		for _, thread := range append(threads, cpu) {
			if left[thread] {
				core.CPUs = append(core.CPUs, thread)
				delete(left, thread)
			}
		}
		slices.Sort(core.CPUs)
		cores = append(cores, core)
	}
	return cores, nil
}

// readNodes returns the NUMA nodes of CPUs.
func readNodes(sys fs.FS) (map[int]int, error) {
	const dir = "node"
	entries, err := fs.ReadDir(sys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("NUMA nodes: %w", err)
	}
	nodes := make(map[int]int)
	for _, entry := range entries {
		number, isNode := strings.CutPrefix(entry.Name(), "node")
		node, err := strconv.Atoi(number)
		if !isNode || err != nil {
			continue // other files are there, too
		}
		cpus, err := readList(sys, path.Join(dir, entry.Name(), "cpulist"))
		if err != nil {
			return nil, err
		}
		for _, cpu := range cpus {
			nodes[cpu] = node
		}
	}
	return nodes, nil
}

// readList returns the numbers in the first of some files that is there, none when there is no such file.
func readList(sys fs.FS, files ...string) ([]int, error) {
	for _, file := range files {
		text, err := fs.ReadFile(sys, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		numbers, err := ParseList(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		return numbers, nil
	}
	return nil, nil
}

// ParseList reads a list as the kernel writes it, such as "0-3,8".
func ParseList(text string) ([]int, error) {
	var numbers []int
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		first, last := part, part
		if from, to, ranged := strings.Cut(part, "-"); ranged && from != "" { // -1 is a number
			first, last = from, to
		}
		low, err := strconv.Atoi(first)
		if err != nil {
			return nil, err
		}
		high, err := strconv.Atoi(last)
		if err != nil {
			return nil, err
		}
		for ; low <= high; low++ {
			numbers = append(numbers, low)
		}
	}
	return numbers, nil
}
