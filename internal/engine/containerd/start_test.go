package containerd

import (
	"testing"
	"time"
)

// TestStartTimeout: a start of many nodes has the time that it takes on a slow machine, and a stuck one still ends.
func TestStartTimeout(t *testing.T) {
	for nodes, want := range map[int]time.Duration{1: callTimeout, 2: callTimeout + nodeTimeout, 201: callTimeout + 200*nodeTimeout} {
		if got := startTimeout(nodes); got != want {
			t.Errorf("%d nodes have %s, want %s", nodes, got, want)
		}
	}
}
