package containerd

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCPUsAreTakenByAllNodesOrNone(t *testing.T) {
	c := &cpus{all: []string{"0", "1", "2", "10"}}
	c.give("old", []string{"1"}) // by the record of one that was there before
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
	c := &cpus{all: []string{"0", "1", "2"}}
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
