package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/berth-hpc/berth/internal/diskquota/quotatest"
	"github.com/berth-hpc/berth/internal/engine/containerd/topology"
)

// conditionOf: [quotas] is for machines that have project quotas, [cores] for those with several cores.
func conditionOf(t *testing.T, name string) (bool, error) {
	switch name {
	case "cores":
		return cores()
	case "quotas":
		return quotas(filepath.Join(t.TempDir(), "disk"))
	default:
		return false, fmt.Errorf("unknown condition %s", name)
	}
}

// cores says whether there are several cores: two CPUs may be one.
func cores() (several bool, err error) {
	sys := os.DirFS("/sys/devices/system")
	online, err := fs.ReadFile(sys, "cpu/online")
	if err != nil {
		return false, err
	}
	cpus, err := topology.ParseList(string(online))
	if err != nil {
		return false, err
	}
	cores, err := topology.Read(sys, cpus)
	return len(cores) > 1, err
}

// quotas tries a disk with project quotas.
func quotas(dir string) (bool, error) {
	err := quotatest.Mount(context.Background(), "ext4", dir)
	if errors.Is(err, quotatest.ErrUnsupported) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, syscall.Unmount(dir, 0)
}

// quotadiskCmd: quotadisk DIR mounts a disk with project quotas there.
func quotadiskCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: quotadisk DIR")
	}
	ts.Check(quotatest.Mount(context.Background(), "ext4", ts.MkAbs(args[0])))
}
