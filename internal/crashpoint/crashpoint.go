// Package crashpoint lets a test kill the server with SIGKILL at a named place, to show that nothing is lost there. Without
// the environment variable BERTH_CRASHPOINT it does nothing.
package crashpoint

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// Env is the environment variable that arms one point: NAME, or NAME:N for the N-th time that it is reached.
const Env = "BERTH_CRASHPOINT"

type arming struct {
	name string
	left atomic.Int64
}

// armed reads the environment once: the points lie on hot paths.
var armed = sync.OnceValue(func() *arming { return parse(os.Getenv(Env)) })

// parse returns nil when nothing is armed.
func parse(value string) *arming {
	if value == "" {
		return nil
	}
	name, count, found := strings.Cut(value, ":")
	a := &arming{name: name}
	a.left.Store(1)
	if n, err := strconv.ParseInt(count, 10, 64); found && err == nil {
		a.left.Store(n)
	}
	return a
}

// reached counts down and says whether this is the moment.
func (a *arming) reached(name string) bool {
	return a != nil && a.name == name && a.left.Add(-1) == 0
}

// Here kills the process when the environment arms this point. It is safe to call concurrently.
func Here(name string) {
	if armed().reached(name) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way; nothing may happen after this line
	}
}
