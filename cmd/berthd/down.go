package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/internal/config"
	"github.com/berth-hpc/berth/internal/engine/containerd"
	"github.com/berth-hpc/berth/internal/volume"
)

// downCommand ends what outlives the server.
func downCommand(cfg *config.Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "down",
		Short: "End the private containerd of a data directory, with all of its containers",
		Long: `Down ends what outlives the server: the containers of running jobs, the private containerd that holds them, and the mounts of
their block vaults. Jobs that ran are recorded as lost by the next start. Stop the server first, and give its --volume-dir, if it has one.
The data directory stays.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.Check(); err != nil {
				return err
			}
			return down(cmd.Context(), cfg, cmd.ErrOrStderr())
		},
	}
	volumeFlag(cmd, cfg)
	return cmd
}

func down(ctx context.Context, cfg *config.Config, stderr io.Writer) error {
	if _, err := os.Stat(cfg.Data); err != nil {
		return fmt.Errorf("data directory: %w", err) // a misspelt one is not made
	}
	unlock, err := lockDirs(*cfg)
	if err != nil {
		return err
	}
	defer unlock()
	if err := containerd.Shutdown(ctx, cfg.Data); err != nil {
		return err
	}
	volumes := volume.Volumes{Dir: cfg.VolumeDirs[0], Dirs: cfg.VolumeDirs, Log: slog.New(slog.NewTextHandler(stderr, nil))}
	if err := volumes.DetachAll(ctx); err != nil {
		return fmt.Errorf("block vaults: %w", err)
	}
	return nil
}
