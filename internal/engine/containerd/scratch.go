package containerd

import (
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/diskquota"
	"github.com/berth-hpc/berth/internal/engine"
)

// checkScratch says why what attempts write cannot be bounded.
func checkScratch(cfg Config) error {
	switch {
	case cfg.Scratch == 0:
		return nil
	case cfg.Address != "":
		return fmt.Errorf("bounded scratch: the directories of the containerd at %s are not berth's to bound; use --containerd private", cfg.Address)
	}
	if err := diskquota.Check(cfg.DataDir); err != nil {
		return fmt.Errorf("bounded scratch: %w", err)
	}
	return nil
}

// boundScratch bounds what the root filesystem of a node takes. Nothing is written to it yet.
func (e *Engine) boundScratch(a engine.Attempt, mounts []mount.Mount) error {
	if e.cfg.Scratch == 0 {
		return nil
	}
	bounded := false
	for _, m := range mounts {
		for _, option := range m.Options {
			name, dir, _ := strings.Cut(option, "=")
			if name != "upperdir" && name != "workdir" { // files are moved between the two, which one project allows
				continue
			}
			if err := diskquota.Limit(dir, a.Job, e.cfg.Scratch); err != nil {
				return fmt.Errorf("root filesystem of %s: %w", a.ID, err)
			}
			bounded = true
		}
	}
	if !bounded {
		return fmt.Errorf("root filesystem of %s: snapshotter %s keeps no layers apart, which bounded scratch takes", a.ID, e.snapshotter)
	}
	return nil
}

// unboundScratch takes back the bound of an attempt that runs no more.
func (e *Engine) unboundScratch(id string) error {
	job, ok := berth.AttemptJob(id)
	if e.cfg.Scratch == 0 || !ok {
		return nil
	}
	return diskquota.Unlimit(e.cfg.DataDir, job)
}
