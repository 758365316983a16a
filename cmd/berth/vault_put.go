package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

func (a *app) vaultPutCommand() *cobra.Command {
	var recursive bool
	cmd := &cobra.Command{
		Use:   "put (FILE | DIR | -) VAULT:/PATH",
		Short: "Send a file to a vault",
		Long: `put sends a file to a vault, where it is there whole or not at all, in place of one that has the name. What breaks off is continued
by the same command. With a slash at its end, PATH is a directory and the file keeps its name. - is stdin, which cannot be continued.`,
		Example: `  berth vault put input.dat data:/run1/
  tar cz case | berth vault put - data:/case.tgz`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usagef("give a FILE and a VAULT:/PATH")
			}
			_, slash, err := parseInVault(args[1])
			if err == nil && slash && args[0] == "-" {
				return usagef("what comes from stdin needs a name: give it in %s", args[1])
			}
			return err
		},
		RunE: a.runE(func(ctx context.Context, args []string) error {
			return a.putVault(ctx, args[0], args[1], recursive)
		}),
	}
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "a directory with everything in it; links are left out")
	return cmd
}

func (a *app) putVault(ctx context.Context, local, remote string, recursive bool) error {
	to, slash, err := parseInVault(remote)
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	if local == "-" {
		if err := c.UploadStream(ctx, to.vault, to.path, a.stdin); err != nil {
			return fmt.Errorf("%s: %w", to, err)
		}
		return a.moved("stored", to.String(), 0)
	}
	info, err := os.Stat(local)
	switch {
	case err != nil:
		return err
	case info.IsDir() && !recursive:
		return hintf(fmt.Errorf("%s is a directory", local), "send it with everything in it: berth vault put -r %s %s", local, remote)
	case slash:
		to = to.under(filepath.Base(local))
	}
	if !info.IsDir() {
		return a.putFile(ctx, c, local, to)
	}
	return filepath.WalkDir(local, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() && !entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(local, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return c.MakeVaultDir(ctx, to.vault, to.under(filepath.ToSlash(name)).path)
		}
		return a.putFile(ctx, c, path, to.under(filepath.ToSlash(name)))
	})
}

// putFile sends one file. The same file to the same place continues what broke off.
func (a *app) putFile(ctx context.Context, c *client.Client, local string, to inVault) error {
	file, err := os.Open(local)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() { // a pipe or a device has no size
		if err := c.UploadStream(ctx, to.vault, to.path, file); err != nil {
			return fmt.Errorf("%s: %w", to, err)
		}
		return a.moved("stored", to.String(), 0)
	}
	progress := a.newNotice()
	defer progress.close()
	err = c.UploadFile(ctx, to.vault, to.path, file, client.VaultUpload{
		Size: info.Size(), ID: uploadName(local, info, to),
		Progress: func(sent int64) { progress.update("put", transferred("sent", local, sent, info.Size())) },
	})
	if err != nil {
		return fmt.Errorf("%s: %w", to, err)
	}
	progress.close()
	return a.moved("stored", to.String(), info.Size())
}

// uploadName is the same for the same file, as long as it is not changed, and the same place.
func uploadName(local string, info fs.FileInfo, to inVault) string {
	absolute, err := filepath.Abs(local)
	if err != nil {
		absolute = local
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %d %d", absolute, to.String(), info.Size(), info.ModTime().UnixNano()))
	return hex.EncodeToString(sum[:16])
}

// transferred is one sentence about how far it is.
func transferred(verb, name string, done, total int64) string {
	text := fmt.Sprintf("%s: %s %s of %s", name, verb, humanize.Bytes(uint64(max(done, 0))), humanize.Bytes(uint64(max(total, 0))))
	if total > 0 {
		text += fmt.Sprintf(" (%d%%)", min(100, done*100/total))
	}
	return text
}

// moved prints what was done. Size 0 is one that is not known, or nothing.
func (a *app) moved(done, name string, bytes int64) error {
	if a.flags.json {
		return a.printJSON(struct {
			Path   string `json:"path"`
			Status string `json:"status"`
			Size   int64  `json:"size,omitempty"`
		}{name, done, bytes})
	}
	if text := size(bytes); text != "" {
		name += " " + text
	}
	a.say("%s %s", done, name)
	return nil
}
