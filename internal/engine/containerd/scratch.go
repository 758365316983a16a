package containerd

import (
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/diskquota"
	"github.com/berth-hpc/berth/internal/engine"
)

// labelScratch is what an attempt may write, in bytes, when that is bounded. The first node has it.
const labelScratch = "berth/scratch"

// CheckScratch says why the engine with this configuration could not bound what attempts write, nil when it can: that takes a private
// containerd on a filesystem with project quotas.
func (cfg Config) CheckScratch() error {
	if cfg.Address != "" {
		return fmt.Errorf("bounded scratch: the directories of the containerd at %s are not berth's to bound; use --containerd private", cfg.Address)
	}
	if err := diskquota.Check(cfg.DataDir); err != nil {
		return fmt.Errorf("bounded scratch: %w", err)
	}
	return nil
}

// CheckScratch is that of the configuration.
func (e *Engine) CheckScratch() error { return e.cfg.CheckScratch() }

// boundScratch bounds what the root filesystem of a node takes. Nothing is written to it yet.
func (e *Engine) boundScratch(a engine.Attempt, mounts []mount.Mount) error {
	if a.Scratch == 0 {
		return nil
	}
	bounded := false
	for _, m := range mounts {
		for _, option := range m.Options {
			name, dir, _ := strings.Cut(option, "=")
			if name != "upperdir" && name != "workdir" { // files are moved between the two, which one project allows
				continue
			}
			if err := diskquota.Limit(dir, a.Job, a.Scratch); err != nil {
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

// unboundScratch takes back the bound of an attempt that runs no more, and has some labels.
func (e *Engine) unboundScratch(id string, labels map[string]string) error {
	job, ok := berth.AttemptJob(id)
	if labels[labelScratch] == "" || !ok {
		return nil
	}
	return diskquota.Unlimit(e.cfg.DataDir, job)
}
