package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/backup"
	"github.com/berth-hpc/berth/internal/config"
	"github.com/berth-hpc/berth/internal/store"
)

// restoreCommand makes a data directory of a backup.
func restoreCommand(cfg *config.Config) *cobra.Command {
	return &cobra.Command{
		Use:   "restore FILE|-",
		Short: "Make a data directory of a backup",
		Long: `Restore makes a data directory, on this machine or another one, of a backup that "berth admin backup" made. Users, keys and jobs
are in it as they were at that moment, and what was queued goes on. Jobs that ran then end as lost: they are not started a second
time. It refuses a data directory that has a database.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cfg.Check(); err != nil {
				return err
			}
			unlock, err := lockData(cfg.Data)
			if err != nil {
				return err
			}
			defer unlock()
			source := cmd.InOrStdin()
			if args[0] != "-" {
				file, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer func() { _ = file.Close() }()
				source = file
			}
			return restore(cmd.Context(), cfg.Data, source, cmd.OutOrStdout())
		},
	}
}

func restore(ctx context.Context, data string, source io.Reader, stdout io.Writer) error {
	var lost int
	var from backup.Manifest
	err := backup.Restore(data, source, func(manifest backup.Manifest, database string) (err error) {
		from = manifest
		lost, err = adapt(ctx, manifest, database, data)
		return err
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "restored %s as it was at %s in %s; jobs that ran then and are lost: %d\n",
		data, from.Made.Format(time.RFC3339), from.Data, lost)
	return err
}

// adapt makes the database of another machine that of this one, and returns how many jobs are lost.
func adapt(ctx context.Context, manifest backup.Manifest, database, data string) (lost int, err error) {
	st, err := store.Open(ctx, store.Config{DSN: "sqlite:" + database, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	from := strings.TrimSuffix(manifest.Data, "/") + "/"
	if err := st.MoveVaults(ctx, from, data+"/"); err != nil {
		return 0, err
	}
	jobs, err := st.Jobs(ctx, store.Filter{States: berth.ActiveStates()})
	if err != nil {
		return 0, err
	}
	for _, job := range jobs {
		if _, err := st.Apply(ctx, job.Number, endOf(job)); err != nil {
			return 0, err
		}
	}
	return len(jobs), nil
}

// endOf is what becomes of a job whose container and files are on the machine that the backup was made on.
func endOf(job berth.Job) berth.Event {
	const since = "the server was restored from a backup that was made "
	if job.State == berth.StateStagingOut {
		return berth.Event{Kind: berth.EventStaged, At: time.Now(), Detail: since + "before everything was copied to the vault"}
	}
	return berth.Event{Kind: berth.EventEnded, At: time.Now(), Exit: berth.Exit{Detail: since + "while it ran"}}
}
