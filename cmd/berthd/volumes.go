package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/blockfiles"
	"github.com/berth-hpc/berth/internal/retention"
	"github.com/berth-hpc/berth/internal/seal"
	"github.com/berth-hpc/berth/internal/vault"
	"github.com/berth-hpc/berth/internal/volume"
)

// sealKey is the file, in the data directory, of the key for secrets in the database. No backup has it.
const sealKey = "seal.key"

// filesIdle is how long a block vault stays attached after its files were used.
const filesIdle = 10 * time.Second

// openVault opens the files of a vault, to change them if change says so.
func (s *server) openVault(ctx context.Context, v berth.Vault, change bool) (*vault.Tree, error) {
	if v.Kind.Block() {
		return s.blocks.Open(ctx, v, change)
	}
	return s.vaults.Open(v)
}

// jobEnded says whether a job has ended. One that nobody knows may be one of before a backup, and has not.
func (s *server) jobEnded(ctx context.Context, number int64) (bool, error) {
	job, err := s.store.Job(ctx, number)
	if berth.KindOf(err) == berth.NotFound {
		return false, nil
	}
	return job.State.Final(), err
}

// lockVolumes makes the first directory of volumes and keeps servers with other data out of it: each would take those of the others for left
// over.
func lockVolumes(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("directory of volumes: %w", err)
	}
	lock, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("directory of volumes: %w", err)
	}
	if err := lockFile(lock); err != nil {
		return nil, fmt.Errorf("another berthd has volumes in %s: stop it first, or give another --volume-dir", dir)
	}
	return func() { _ = lock.Close() }, nil
}

// openVolumes readies what block vaults are made of, and removes what a killed server has left of some. Nobody may serve yet.
func (s *server) openVolumes(ctx context.Context) (err error) {
	if s.sealer, err = seal.Open(filepath.Join(s.cfg.Data, sealKey)); err != nil {
		return err
	}
	s.volumes = &volume.Volumes{Dir: s.cfg.VolumeDirs[0], Dirs: s.cfg.VolumeDirs, Log: s.log}
	s.blocks = blockfiles.New(blockfiles.Config{
		Volumes: s.volumes, Ended: s.jobEnded, Idle: filesIdle, KeepUploads: retention.UploadsKept, Log: s.log,
	})
	vaults, err := s.store.BlockVaults(ctx)
	if err != nil {
		return err
	}
	known := make([]string, len(vaults))
	for i, v := range vaults {
		known[i] = v.Path
	}
	if err := s.volumes.Sweep(ctx, known); err != nil {
		s.log.Warn("what is left of block vaults was not removed; the next start tries again", "error", err)
	}
	for _, kind := range []struct {
		name             string
		array, encrypted bool
	}{{"block vaults", false, false}, {"block vaults of several images", true, false}, {"encrypted block vaults", false, true}} {
		if err := volume.Check(kind.array, kind.encrypted); err != nil {
			s.log.Info("something is missing for some vaults", "vaults", kind.name, "missing", err)
		}
	}
	return nil
}
