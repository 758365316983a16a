package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/berth-hpc/berth/internal/diskquota/quotatest"
)

// conditionOf: [quotas] is for machines that have project quotas.
func conditionOf(t *testing.T, name string) (bool, error) {
	if name != "quotas" {
		return false, fmt.Errorf("unknown condition %s", name)
	}
	dir := filepath.Join(t.TempDir(), "disk")
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
