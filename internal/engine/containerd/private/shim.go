package private

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Shim is a process that containerd has for a container, and that outlives it.
type Shim struct {
	PID int
	// Namespace and ID name the container.
	Namespace, ID string
}

// Shims returns the shims of the containerd at an address, which need not run.
func Shims(address string) []Shim {
	var found []Shim
	for pid, args := range processes() {
		shim := strings.HasPrefix(filepath.Base(args[0]), "containerd-shim") && !slices.Contains(args, "delete") // that one is at work
		if shim && value(args, "-address") == address {
			found = append(found, Shim{PID: pid, Namespace: value(args, "-namespace"), ID: value(args, "-id")})
		}
	}
	return found
}

// value returns what follows a flag among the arguments.
func value(args []string, flag string) string {
	if i := slices.Index(args, flag); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

// Connected says whether somebody is connected to a shim by its socket. containerd is as long as it knows the shim.
func Connected(socket string) (bool, error) {
	const connected, fields, state, path = "03", 8, 5, 7 // as unix(7) describes the lines
	text, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return false, fmt.Errorf("connections to %s: %w", socket, err)
	}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) == fields && words[state] == connected && words[path] == socket {
			return true, nil
		}
	}
	return false, nil
}

// End kills the shim and returns when it is gone, or ctx ends. Safe for one that has ended.
func (s Shim) End(ctx context.Context) error {
	if err := unix.Kill(s.PID, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("end the shim of %s: %w", s.ID, err)
	}
	return waitEnd(ctx, s.PID)
}
