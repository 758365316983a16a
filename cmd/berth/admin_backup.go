package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

func (a *app) backupCommand() *cobra.Command {
	var outputs bool
	cmd := &cobra.Command{
		Use:   "backup FILE|-",
		Short: "Make a backup of the server while it runs",
		Long: `backup writes what the server must not lose to a file, as it is at one moment: jobs, accounts, keys, applications, queues, machine
types, which vaults there are, and the server's own keys. With --outputs also what jobs have written. What is in the vaults and
the images are not in it. It holds secrets: keep it where nobody else reads it. "berthd restore" makes a server of it.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("give a FILE, or - for stdout")
			}
			return nil
		},
		RunE: a.runE(func(ctx context.Context, args []string) error {
			if args[0] == "-" {
				return a.backup(ctx, a.stdout, outputs)
			}
			return a.backupFile(ctx, args[0], outputs)
		}),
	}
	cmd.Flags().BoolVar(&outputs, "outputs", false, "with the outputs of jobs")
	return cmd
}

func (a *app) backup(ctx context.Context, to io.Writer, outputs bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	progress := a.newNotice()
	defer progress.close()
	written := int64(0)
	return c.Backup(ctx, writerFunc(func(p []byte) (int, error) {
		n, err := to.Write(p)
		written += int64(n)
		progress.update("backup", "received "+humanize.Bytes(uint64(max(written, 0))))
		return n, err
	}), outputs)
}

// writerFunc is a function that writes.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// backupFile leaves a whole backup, or what was there before.
func (a *app) backupFile(ctx context.Context, path string, outputs bool) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("%s is a directory: give a FILE", path)
	}
	file, err := os.OpenFile(path+".part", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(a.backup(ctx, file, outputs), file.Sync())
	info, errStat := file.Stat()
	err = errors.Join(err, errStat, file.Close())
	if err == nil {
		err = os.Rename(path+".part", path)
	}
	if err != nil {
		_ = os.Remove(path + ".part") // it is no backup
		return err
	}
	return a.moved("backed up to", path, info.Size())
}
