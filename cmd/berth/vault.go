package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

func (a *app) vaultCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "vault",
		Short: "Manage vaults, which jobs find at /data, and move files to and from them",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	cmd.AddCommand(a.vaultListFilesCommand(), a.vaultPutCommand(), a.vaultGetCommand(), a.vaultRemoveFilesCommand(), a.vaultMakeDirCommand(),
		a.vaultListCommand(), a.vaultShowCommand(), a.vaultAddCommand(), a.vaultShareCommand(), a.vaultDefaultCommand(),
		a.vaultKeysCommand(), a.vaultPasswordCommand(), a.vaultRepairCommand(), a.vaultRemoveCommand(), a.vaultKeptCommand(),
		a.vaultSaveCommand(), a.vaultDropCommand())
	return cmd
}

// inVault is a place in a vault, as VAULT:/PATH names it.
type inVault struct{ vault, path string }

func (v inVault) String() string { return v.vault + ":/" + v.path }

// under returns a place below this one.
func (v inVault) under(name string) inVault { return inVault{v.vault, path.Join(v.path, name)} }

// parseInVault reads VAULT:/PATH; the slash may be missing. slash says that it ends in one: it is a directory.
func parseInVault(text string) (at inVault, slash bool, err error) {
	vault, name, found := strings.Cut(text, ":")
	if !found || vault == "" {
		return inVault{}, false, usagef("%q is no VAULT:/PATH", text)
	}
	clean := strings.Trim(path.Clean("/"+name), "/")
	return inVault{vault, clean}, clean == "" || strings.HasSuffix(name, "/"), nil
}

func (a *app) vaultListFilesCommand() *cobra.Command {
	var long bool
	cmd := &cobra.Command{
		Use:   "ls VAULT[:/PATH]",
		Short: "List a directory of a vault",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("give one VAULT:/PATH")
			}
			return nil
		},
		RunE: a.runE(func(ctx context.Context, args []string) error {
			return a.listVaultFiles(ctx, args[0], long)
		}),
	}
	cmd.Flags().BoolVarP(&long, "long", "l", false, "with sizes and times")
	return cmd
}

func (a *app) listVaultFiles(ctx context.Context, text string, long bool) error {
	if !strings.Contains(text, ":") {
		text += ":/"
	}
	at, _, err := parseInVault(text)
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	entries, err := c.VaultFiles(ctx, at.vault, at.path, long || a.flags.json)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	if a.flags.json {
		return a.printVaultFiles(entries)
	}
	rows := [][]string{}
	for _, entry := range entries {
		name := entry.Name
		if entry.Dir {
			name += "/"
		}
		if !long {
			a.say("%s", name)
			continue
		}
		rows = append(rows, []string{cmp.Or(size(entry.Size), "-"), a.moment(entry.Modified), name})
	}
	return table(a.stdout, rows)
}

// printVaultFiles prints a listing as JSON.
func (a *app) printVaultFiles(entries []client.VaultEntry) error {
	type file struct {
		Name     string `json:"name"`
		Dir      bool   `json:"dir"`
		Size     int64  `json:"size"`
		Modified string `json:"modified,omitempty"`
	}
	files := make([]file, len(entries))
	for i, entry := range entries {
		files[i] = file{Name: entry.Name, Dir: entry.Dir, Size: entry.Size}
		if !entry.Modified.IsZero() {
			files[i].Modified = entry.Modified.Format("2006-01-02T15:04:05Z07:00")
		}
	}
	return a.printJSON(map[string][]file{"files": files})
}

func (a *app) vaultRemoveFilesCommand() *cobra.Command {
	var recursive bool
	cmd := &cobra.Command{
		Use:   "rm VAULT:/PATH...",
		Short: "Remove files from a vault",
		Args:  someInVault,
		RunE: a.runE(func(ctx context.Context, args []string) error {
			return a.eachInVault(args, "removed", func(c *client.Client, at inVault) error {
				err := c.RemoveVaultFile(ctx, at.vault, at.path, recursive)
				if refused, ok := errors.AsType[*client.Error](err); ok && refused.StatusCode == http.StatusConflict && !recursive {
					return hintf(err, "-r removes a directory with everything in it")
				}
				return err
			})
		}),
	}
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "directories too, with everything in them")
	return cmd
}

func (a *app) vaultMakeDirCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "mkdir VAULT:/PATH...",
		Short: "Make directories in a vault, with those above them",
		Args:  someInVault,
		RunE: a.runE(func(ctx context.Context, args []string) error {
			return a.eachInVault(args, "made", func(c *client.Client, at inVault) error {
				return c.MakeVaultDir(ctx, at.vault, at.path)
			})
		}),
	}
}

// someInVault accepts one or more VAULT:/PATHs that are not the top.
func someInVault(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("give a VAULT:/PATH")
	}
	for _, arg := range args {
		at, _, err := parseInVault(arg)
		if err != nil {
			return err
		}
		if at.path == "" {
			return usagef("%s is the whole vault: give a path in it", arg)
		}
	}
	return nil
}

// eachInVault does something to every place and says so.
func (a *app) eachInVault(args []string, done string, do func(*client.Client, inVault) error) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	for _, arg := range args {
		at, _, err := parseInVault(arg)
		if err != nil {
			return err
		}
		if err := do(c, at); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		if a.flags.json {
			err = a.printJSON(map[string]string{"path": at.String(), "status": done})
		} else {
			a.say("%s %s", done, at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
