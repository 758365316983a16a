package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/berth-hpc/berth/internal/diskquota/quotatest"
)

// conditionOf: [quotas] is for machines that have project quotas, [cpus] for those with several CPUs.
func conditionOf(t *testing.T, name string) (bool, error) {
	switch name {
	case "cpus":
		return runtime.NumCPU() > 1, nil
	case "quotas":
		return quotas(filepath.Join(t.TempDir(), "disk"))
	default:
		return false, fmt.Errorf("unknown condition %s", name)
	}
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
