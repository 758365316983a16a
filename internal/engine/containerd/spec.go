package containerd

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	runcoptions "github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/containerd/cgroup"
	"github.com/berth-hpc/berth/internal/engine/containerd/private"
)

const (
	// specVersion is the version of the runtime specification whose features are used; runc 1.1 knows it.
	specVersion = "1.0.2"
	// maxProcesses bounds the processes and threads of an attempt: enough for every program, and a fork bomb ends.
	maxProcesses = 16384
	// maxOpenFiles is the limit of open files that attempts get where this process may give it.
	maxOpenFiles = 1 << 20
	// defaultPath is for images that set none.
	defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	cpuPeriod   = 100000
)

// capabilities are those that the agent needs as root, and no more. The command runs as another user, and so without any; with
// no-new-privileges it can get none back.
var capabilities = []string{
	"CAP_CHOWN",        // gives HOME, /data and the output pipe to the job's user
	"CAP_DAC_OVERRIDE", // writes accounts and host names into images where root may not by mode
	"CAP_FOWNER",       // sets modes of files that belong to the job's user
	"CAP_FSETID",       // keeps set-group-id when it does
	"CAP_KILL",         // ends the processes of the job's user
	"CAP_SETGID",       // becomes the job's user
	"CAP_SETUID",
}

// profile is what is the same for all attempts. It is made once and not changed.
type profile struct {
	agent   string
	runtime typeurl.Any
	// native is the filter of system calls for images of this machine's own architecture, foreign for others.
	native, foreign *specs.LinuxSeccomp
	openFiles       uint64
	// swap says whether this kernel can limit swap.
	swap bool
}

func newProfile(cfg Config, daemon *private.Daemon) (profile, error) {
	agent := cfg.AgentPath
	if info, err := os.Stat(agent); err != nil || !info.Mode().IsRegular() {
		return profile{}, fmt.Errorf("agent %s is not there: %w", agent, errors.Join(err, os.ErrInvalid))
	}
	options := &runcoptions.Options{BinaryName: "runc"} // the system's default may be another one, and crun refuses hybrid cgroups
	if daemon != nil {
		options.Root = daemon.RuncRoot()
	}
	runtime, err := typeurl.MarshalAny(options)
	if err != nil {
		return profile{}, fmt.Errorf("options of the runtime: %w", err)
	}
	p := profile{
		agent: agent, runtime: runtime, openFiles: openFiles(), swap: swapLimited(),
		native: syscalls(!cfg.Programs32Bit), foreign: syscalls(false),
	}
	return p, nil
}

// syscalls is containerd's default filter of system calls, and those for the placement of memory. The default depends on the capabilities. runc translates it anew for each
// container, and for each architecture: on amd64 that takes 24 ms of CPU with the 32-bit ones and 5 ms without. So 64-bit images
// get it without, unless the configuration says otherwise; their 32-bit programs end with SIGSYS.
func syscalls(native bool) *specs.LinuxSeccomp {
	filter := seccomp.DefaultProfile(&specs.Spec{
		Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: capabilities}},
	})
	// Where a process puts its own memory harms nobody, and numactl, hwloc and x265 ask for it.
	filter.Syscalls = append(filter.Syscalls, specs.LinuxSyscall{
		Names: []string{"get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"}, Action: specs.ActAllow,
	})
	if !native || len(filter.Architectures) == 0 || strconv.IntSize != 64 {
		return filter
	}
	filter.Architectures = filter.Architectures[:1] // the machine's own comes first
	for i := range filter.Syscalls {
		filter.Syscalls[i].Names = slices.DeleteFunc(filter.Syscalls[i].Names, only32Bit)
	}
	return filter
}

// only32Bit says whether no 64-bit architecture has the system call.
func only32Bit(name string) bool {
	return strings.HasSuffix(name, "_time64") || strings.HasSuffix(name, "32")
}

// openFiles is maxOpenFiles, or what this process has where it may not give more.
func openFiles() uint64 {
	var have unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &have); err != nil {
		return 1024 // what every process has
	}
	if have.Max >= maxOpenFiles {
		return maxOpenFiles
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err == nil && sets[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0 {
		return maxOpenFiles
	}
	return have.Max
}

// swapLimited says whether the kernel has a limit of swap; asking runc for one that is not there fails.
func swapLimited() bool {
	if _, err := os.Stat("/sys/fs/cgroup/memory"); err == nil {
		_, err = os.Stat("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")
		return err == nil
	}
	_, err := os.Stat("/proc/swaps")
	return err == nil
}

// environment is the image's, with a PATH.
func environment(image []string) []string {
	if slices.ContainsFunc(image, func(e string) bool { return strings.HasPrefix(e, "PATH=") }) {
		return slices.Clip(image)
	}
	return append([]string{defaultPath}, image...)
}

// spec is the runtime's description of an attempt.
func (p profile) spec(a engine.Attempt, r root) *specs.Spec {
	filter := p.foreign
	if r.native {
		filter = p.native
	}
	return &specs.Spec{
		Version:  specVersion,
		Hostname: a.Hostname,
		Root:     &specs.Root{Path: "rootfs"},
		Process: &specs.Process{
			Args: []string{agentapi.Init}, Cwd: "/", Env: slices.Clip(r.env), // it is everybody's
			Capabilities:    &specs.LinuxCapabilities{Bounding: capabilities, Effective: capabilities, Permitted: capabilities},
			NoNewPrivileges: true,
			Rlimits:         []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: p.openFiles, Hard: p.openFiles}},
		},
		Mounts: p.mounts(a),
		Linux: &specs.Linux{
			CgroupsPath: cgroup.Path(a.ID),
			Resources:   p.resources(a),
			Seccomp:     filter,
			Sysctl:      map[string]string{"net.ipv4.ip_unprivileged_port_start": "0"}, // an image's own server listens where clients look
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace},
				{Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace},
				{Type: specs.MountNamespace},
				{Type: specs.NetworkNamespace},
				{Type: specs.CgroupNamespace},
			},
			MaskedPaths: []string{
				"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
				"/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
			},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
}

func (p profile) resources(a engine.Attempt) *specs.LinuxResources {
	ram, processes := a.RAM, int64(maxProcesses)
	resources := &specs.LinuxResources{
		Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}, // runc allows the harmless ones: null, zero, random, tty…
		CPU:     cpuTime(a.Cores),
		Memory:  &specs.LinuxMemory{Limit: &ram},
		Pids:    &specs.LinuxPids{Limit: &processes},
	}
	if p.swap {
		resources.Memory.Swap = &ram // of memory and swap together: none of it is swap
	}
	return resources
}

// cpuTime is the time of so many CPUs, and as much weight where others want it too.
func cpuTime(cpus int) *specs.LinuxCPU {
	quota, period, shares := int64(cpus)*cpuPeriod, uint64(cpuPeriod), uint64(cpus)*1024 //nolint:gosec // checked
	return &specs.LinuxCPU{Quota: &quota, Period: &period, Shares: &shares}
}

func (p profile) mounts(a engine.Attempt) []specs.Mount {
	mounts := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{
			Destination: "/dev/pts", Type: "devpts", Source: "devpts",
			Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"},
		},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		// Programs look here how many cores and how much memory they have, and the agent whether memory ran out.
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
	}
	for _, m := range a.Mounts {
		mounts = append(mounts, bind(m.Source, m.Target, m.ReadOnly))
	}
	// Last, so that nothing hides them.
	return append(mounts, bind(p.agent, agentapi.Init, true), bind(a.Dir, agentapi.Dir, false))
}

func bind(source, target string, readOnly bool) specs.Mount {
	mode := "rw"
	if readOnly {
		mode = "ro"
	}
	return specs.Mount{Destination: target, Type: "bind", Source: source, Options: []string{"bind", "nosuid", "nodev", mode}}
}
