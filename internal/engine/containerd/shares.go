package containerd

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// shares are things of this host that are of one node at a time. What is here is in the records of the nodes too, of which it is made
// again by the next server. The zero value is ready.
type shares struct {
	mu sync.Mutex
	// owners are the nodes, by the names of the things.
	owners map[string]string
	// freed is closed when something comes back; nil when nobody waits.
	freed chan struct{}
}

// give notes what a node has.
func (s *shares) give(node string, things []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.own(node, things)
}

func (s *shares) own(node string, things []string) {
	if s.owners == nil {
		s.owners = make(map[string]string)
	}
	for _, thing := range things {
		s.owners[thing] = node
	}
}

// share gives the nodes of an attempt, of which there is no record, what choose returns for each of them of what is free. All of the nodes
// get theirs, or none does when choose returns nothing: then ok is false, and freed is closed when something has come back. What they have
// by a start that failed, and could not be cleaned up, counts as free.
func (s *shares) share(nodes []string, choose func(free func(thing string) bool) [][]string) (freed <-chan struct{}, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	chosen := choose(func(thing string) bool {
		owner := s.owners[thing]
		return owner == "" || slices.Contains(nodes, owner)
	})
	if len(chosen) < len(nodes) {
		if s.freed == nil {
			s.freed = make(chan struct{})
		}
		return s.freed, false
	}
	maps.DeleteFunc(s.owners, func(_, owner string) bool { return slices.Contains(nodes, owner) })
	for i, node := range nodes {
		s.own(node, chosen[i])
	}
	return nil, true
}

// of returns what a node has.
func (s *shares) of(node string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var things []string
	for thing, owner := range s.owners {
		if owner == node {
			things = append(things, thing)
		}
	}
	slices.Sort(things)
	return things
}

// release takes back what a node has, and with the first node, which goes last, what its workers have: those that were never made have no
// record by which they are found.
func (s *shares) release(node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	worker := workerPrefix(node)
	maps.DeleteFunc(s.owners, func(_, owner string) bool { return owner == node || strings.HasPrefix(owner, worker) })
	if s.freed != nil {
		close(s.freed)
		s.freed = nil
	}
}
