package containerd

import (
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// TestSystemCalls: a job may place its own memory and never that of others, and the native filter has one architecture.
func TestSystemCalls(t *testing.T) {
	for name, native := range map[string]bool{"native": true, "all architectures": false} {
		t.Run(name, func(t *testing.T) {
			filter := syscalls(native)
			allowed := func(call string) bool {
				return slices.ContainsFunc(filter.Syscalls, func(s specs.LinuxSyscall) bool {
					return s.Action == specs.ActAllow && slices.Contains(s.Names, call)
				})
			}
			for call, want := range map[string]bool{
				"openat2": true, "set_mempolicy": true, "mbind": true, "move_pages": false, "migrate_pages": false, "mount": false, "bpf": false,
			} {
				if allowed(call) != want {
					t.Errorf("%s is allowed: %v, want %v", call, allowed(call), want)
				}
			}
			if native != (len(filter.Architectures) == 1) {
				t.Errorf("architectures %v", filter.Architectures)
			}
		})
	}
}
