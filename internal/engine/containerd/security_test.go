package containerd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/enginetest"
)

// TestConfinement: what an attempt gets, seen from inside.
func TestConfinement(t *testing.T) {
	m := newMachine(t)
	e := m.open(t)
	// Each case is a script and what must be its last line.
	for name, test := range map[string]struct{ script, want string }{
		"no capabilities":         {"grep CapEff /proc/self/status", "CapEff:\t0000000000000000"},
		"no new privileges":       {"grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1"},
		"system calls filtered":   {"grep Seccomp: /proc/self/status", "Seccomp:\t2"},
		"unshare refused":         {"unshare -U true 2>/dev/null; echo $?", "1"},
		"not root":                {"id -u", "505"},
		"own processes only":      {"ls -d /proc/[0-9]* | head -n 1; cat /proc/1/comm", "berth-init"},
		"low ports":               {"cat /proc/sys/net/ipv4/ip_unprivileged_port_start", "0"},
		"own name":                {"hostname", "name"},
		"agent's directory shut":  {"cat " + agentapi.Dir + "/" + agentapi.SpecFile + " 2>&1 | grep -c denied", "1"},
		"agent cannot be changed": {"echo x 2>/dev/null >" + agentapi.Init + "; test -x " + agentapi.Init + " && echo there", "there"},
		"kernel memory masked":    {"cat /proc/kcore | wc -c", "0"},
		"sysctl read-only":        {"grep -c ' /proc/sys proc ro' /proc/mounts", "1"},
		"control groups ro":       {"grep -E ' cgroup2? ' /proc/mounts | grep -vc ' ro,'", "0"},
		"shared memory":           {"df -k /dev/shm | tail -n 1 | awk '{print $2}'", "65536"},
		"scratch is writable":     {"echo x >/tmp/x && cat /tmp/x", "x"},
		"mount is read-only":      {"echo x 2>/dev/null >/ro/new; cat /ro/file; test -e /ro/new || echo unchanged", "unchanged"},
		"mount is writable":       {"echo x >/rw/new && cat /rw/new", "x"},
		"no devices by mount":     {"grep -c ' /rw .*nosuid,nodev' /proc/mounts", "1"},
		"environment of image":    {"echo $PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	} {
		t.Run(name, func(t *testing.T) {
			a := enginetest.NewAttempt(t, enginetest.Script{Text: test.script})
			a.Hostname = "name"
			ro, rw := t.TempDir(), t.TempDir()
			for _, dir := range []string{filepath.Dir(ro), ro, rw} {
				if err := os.Chmod(dir, 0o777); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(ro, "file"), []byte("content\n"), 0o666); err != nil {
				t.Fatal(err)
			}
			a.Mounts = []engine.Mount{{Source: ro, Target: "/ro", ReadOnly: true}, {Source: rw, Target: "/rw"}}
			enginetest.Start(t, e, a)
			enginetest.AwaitExit(t, e, a.ID)
			lines := strings.Split(strings.TrimSpace(enginetest.Output(t, a)), "\n")
			if got := lines[len(lines)-1]; got != test.want {
				t.Errorf("last line is %q; want %q", got, test.want)
			}
		})
	}
}

// TestLimits: the limits are the attempt's, and the agent has the capabilities that it needs and no more.
func TestLimits(t *testing.T) {
	m := newMachine(t)
	e := m.open(t)
	a := start(t, e, "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null\n"+
		"cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null\n"+
		"cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null | cut -d' ' -f1\necho ready\nsleep 1000")
	want := fmt.Sprintf("%d\n%d\n%d\nready\n", a.RAM, 16384, 100000*a.Cores)
	if got := enginetest.Output(t, a); !strings.HasSuffix(got, want) {
		t.Errorf("limits are %q; want %q", got, want)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", agentOf(t, a.ID)))
	if err != nil {
		t.Fatal(err)
	}
	const needed = "00000000000000fb" // CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID are 0, 1, 3, 4, 5, 6 and 7
	for _, line := range []string{"CapEff:\t" + needed, "CapPrm:\t" + needed, "CapBnd:\t" + needed, "CapInh:\t0000000000000000"} {
		if !strings.Contains(string(status), line) {
			t.Errorf("the agent's status has no %q:\n%s", line, status)
		}
	}
}
