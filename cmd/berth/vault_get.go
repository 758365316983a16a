package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

func (a *app) vaultGetCommand() *cobra.Command {
	var recursive bool
	cmd := &cobra.Command{
		Use:   "get VAULT:/PATH [FILE | DIR | -]",
		Short: "Fetch a file from a vault",
		Long: `get fetches a file from a vault. It is there whole or not at all: until then it is called FILE.NAME.part, and the same command
continues with it. Without FILE the file keeps its name. - is stdout.`,
		Example: `  berth vault get data:/run1/result.dat
  berth vault get data:/case.tgz - | tar xz`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 || len(args) > 2 {
				return usagef("give a VAULT:/PATH and at most one FILE")
			}
			at, _, err := parseInVault(args[0])
			if err == nil && at.path == "" && !recursive {
				return usagef("%s is the whole vault: give a path in it, or -r", args[0])
			}
			return err
		},
		RunE: a.runE(func(ctx context.Context, args []string) error {
			local := "."
			if len(args) > 1 {
				local = args[1]
			}
			return a.getVault(ctx, args[0], local, recursive)
		}),
	}
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "a directory with everything in it")
	return cmd
}

func (a *app) getVault(ctx context.Context, remote, local string, recursive bool) error {
	from, _, err := parseInVault(remote)
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	if info, err := os.Stat(local); err == nil && info.IsDir() && local != "-" {
		local = filepath.Join(local, path.Base(cmp.Or(from.path, from.vault)))
	}
	if recursive {
		if local == "-" {
			return usagef("a directory cannot go to stdout")
		}
		return a.getDir(ctx, c, from, local)
	}
	if local == "-" {
		return a.getStream(ctx, c, from)
	}
	return a.getFile(ctx, c, from, local)
}

func (a *app) getStream(ctx context.Context, c *client.Client, from inVault) error {
	r, err := c.OpenVaultFile(ctx, from.vault, from.path)
	if err == nil {
		defer r.Close()
		_, err = io.Copy(a.stdout, r)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	return nil
}

// getDir fetches a directory. What the server does not give out, such as a link to a directory, is told and left out.
func (a *app) getDir(ctx context.Context, c *client.Client, from inVault, local string) error {
	entries, err := c.VaultFiles(ctx, from.vault, from.path, false)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	if err := os.MkdirAll(local, 0o755); err != nil { //nolint:gosec // as mkdir does, less the umask
		return err
	}
	var failed error
	for _, entry := range entries {
		if !filepath.IsLocal(entry.Name) || entry.Name != filepath.Base(entry.Name) {
			return fmt.Errorf("%s holds %q, which is no name", from, entry.Name)
		}
		to := filepath.Join(local, entry.Name)
		if entry.Dir {
			err = a.getDir(ctx, c, from.under(entry.Name), to)
		} else {
			err = a.getFile(ctx, c, from.under(entry.Name), to)
		}
		refused, ok := errors.AsType[*client.Error](err)
		switch {
		case ok && refused.StatusCode < 500:
			a.note("%s", err)
			failed = fmt.Errorf("%s is not complete", local)
		case err != nil:
			return err
		}
	}
	return failed
}

// getFile fetches one file under another name and continues with what is there of it.
func (a *app) getFile(ctx context.Context, c *client.Client, from inVault, local string) error {
	r, err := c.OpenVaultFile(ctx, from.vault, from.path)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	defer r.Close()
	info := r.Info()
	sum := sha256.Sum256([]byte(info.Tag))
	name := local + "." + hex.EncodeToString(sum[:4]) + ".part"                // another file begins anew
	part, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666) //nolint:gosec // as every program does, less the umask
	if err != nil {
		return err
	}
	have, err := part.Seek(0, io.SeekEnd)
	if err == nil && have > info.Size { // nothing of this program
		have, err = 0, part.Truncate(0)
	}
	if err == nil {
		r.Skip(have)
		err = a.copyShown(part, r, local, have)
	}
	if err := errors.Join(err, part.Close()); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	if err := os.Rename(name, local); err != nil {
		return err
	}
	return a.moved("fetched", local, info.Size)
}

// copyShown copies and shows how far it is.
func (a *app) copyShown(to io.Writer, r *client.VaultReader, name string, have int64) error {
	progress := a.newNotice()
	defer progress.close()
	total := r.Info().Size
	_, err := io.CopyBuffer(to, readerFunc(func(p []byte) (int, error) {
		n, err := r.Read(p)
		have += int64(n)
		progress.update("get", transferred("fetched", name, have, total))
		return n, err
	}), make([]byte, 1<<20))
	return err
}

// readerFunc is a function that reads.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
