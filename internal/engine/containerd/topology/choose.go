package topology

import (
	"cmp"
	"slices"
)

// Choose gives each of some nodes of a job as many of the free cores as it needs, and returns nil when there are too few. Those of a node are
// of one NUMA node where that is possible, else of one socket; of the one that has the fewest left, so that others can hold large ones.
func Choose(free []Core, nodes, each int) [][]Core {
	if nodes*each > len(free) {
		return nil
	}
	chosen := make([][]Core, nodes)
	for i := range chosen {
		chosen[i] = near(free, each)
		free = without(free, chosen[i])
	}
	return chosen
}

// near chooses n cores that are near each other.
func near(free []Core, n int) []Core {
	// Each may have several of the other: sockets are cut into NUMA nodes, and machines without NUMA, or virtual ones, have nodes of many sockets.
	for _, part := range []func(Core) place{ofBoth, ofNode, ofSocket} {
		if fit := smallest(parts(free, part), n); fit != nil {
			return fill(fit, n)
		}
	}
	return fill(free, n)
}

// fill chooses n of some cores from as few places as possible: all of the largest place, until one place has the rest.
func fill(free []Core, n int) []Core {
	places := parts(free, ofBoth)
	if fit := smallest(places, n); fit != nil {
		return fit[:n]
	}
	largest := places[len(places)-1]
	return append(slices.Clone(largest), fill(without(free, largest), n-len(largest))...)
}

// place is a part of a machine.
type place struct{ socket, node int }

func ofBoth(c Core) place   { return place{socket: c.Socket, node: c.Node} }
func ofNode(c Core) place   { return place{node: c.Node} }
func ofSocket(c Core) place { return place{socket: c.Socket} }

// parts returns some cores by their places, the place with the fewest first.
func parts(cores []Core, of func(Core) place) [][]Core {
	at := make(map[place]int)
	var all [][]Core
	for _, core := range cores {
		i, ok := at[of(core)]
		if !ok {
			i = len(all)
			at[of(core)] = i
			all = append(all, nil)
		}
		all[i] = append(all[i], core)
	}
	slices.SortStableFunc(all, func(a, b []Core) int { return cmp.Compare(len(a), len(b)) })
	return all
}

// smallest returns the first of some parts that has n cores, nil for none.
func smallest(parts [][]Core, n int) []Core {
	i := slices.IndexFunc(parts, func(part []Core) bool { return len(part) >= n })
	if i < 0 {
		return nil
	}
	return parts[i]
}

// without returns the cores that are not among some. A core is told by its first CPU.
func without(cores, some []Core) []Core {
	return slices.DeleteFunc(slices.Clone(cores), func(c Core) bool {
		return slices.ContainsFunc(some, func(s Core) bool { return s.CPUs[0] == c.CPUs[0] })
	})
}
