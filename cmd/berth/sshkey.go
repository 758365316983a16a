package main

import (
	"bytes"
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

func (a *app) sshKeyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sshkey",
		Short: "Manage the public keys with which you get into your jobs by ssh",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	cmd.AddCommand(a.sshKeyAddCommand(), a.sshKeyListCommand(), a.sshKeyRemoveCommand())
	return cmd
}

func (a *app) sshKeyAddCommand() *cobra.Command {
	var text string
	cmd := &cobra.Command{
		Use:   "add FILE|-",
		Short: "Let a public key into your jobs that start from now on",
		Long: `add registers a public key of yours. Whoever has the private key that belongs to it gets into your jobs, as their user, by ssh: at port 22 of
the job's public address, or at port 2222 of its own address where that is reached. Jobs that run already do not know it.`,
		Example: `  berth sshkey add ~/.ssh/id_ed25519.pub
  ssh-add -L | head -n 1 | berth sshkey add -
  berth sshkey add --key 'ssh-ed25519 AAAAC3Nz... ada@laptop'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || (len(args) == 1 && args[0] != "") == (text != "") {
				return usagef("give the FILE of a public key, - for stdin, or the key itself with --key")
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&text, "key", "", "the public key, as it stands in its file")
	cmd.RunE = a.runE(func(ctx context.Context, args []string) error {
		line := []byte(text)
		if text == "" {
			var err error
			if line, err = a.readInput(args[0]); err != nil {
				return err
			}
		}
		if bytes.Contains(line, []byte("PRIVATE KEY")) {
			return hintf(errors.New("this is a private key, and was not sent"), "give the public one, in the file that ends in .pub")
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		key, err := c.AddSSHKey(ctx, string(line))
		if err != nil {
			return uncertain(err, "it may have been added: berth sshkey list")
		}
		return a.done(map[string]client.SSHKey{"key": key}, "%s", key.Fingerprint)
	})
	return cmd
}

func (a *app) sshKeyListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List your public keys",
		Args:  cobra.NoArgs,
		RunE: a.withClient(func(ctx context.Context, c *client.Client, _ []string) error {
			keys, err := c.SSHKeys(ctx)
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.printJSON(map[string][]client.SSHKey{"keys": keys})
			}
			rows := [][]string{{"FINGERPRINT", "COMMENT", "ADDED"}}
			for _, key := range keys {
				rows = append(rows, []string{key.Fingerprint, key.Comment, a.moment(key.Added)})
			}
			return table(a.stdout, rows)
		}),
	}
}

func (a *app) sshKeyRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "remove FINGERPRINT",
		Short:             "Forget a public key; jobs that run let it in until their end",
		Args:              words("the FINGERPRINT that list shows"),
		ValidArgsFunction: positions(a.completeSSHKeys()),
		RunE: a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
			if err := c.RemoveSSHKey(ctx, args[0]); err != nil {
				return about("key", args[0], err)
			}
			return a.done(map[string]string{"fingerprint": args[0], "status": "removed"}, "key %s removed", args[0])
		}),
	}
}

// completeSSHKeys offers the fingerprints of the user's public keys, with their comments as description.
func (a *app) completeSSHKeys() cobra.CompletionFunc {
	return complete(a, (*client.Client).SSHKeys, func(key client.SSHKey) (string, string) { return key.Fingerprint, key.Comment })
}
