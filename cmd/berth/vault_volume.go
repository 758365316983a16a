package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

func (a *app) vaultPasswordCommand() *cobra.Command {
	var stdin bool
	cmd := &cobra.Command{
		Use:   "password VAULT",
		Short: "Give an encrypted vault another password",
		Long: `password asks for the password of an encrypted block vault and twice for a new one. No job may have the vault meanwhile. Jobs that wait
with the old password are refused when they are to start. The data is not encrypted anew: who has the old password and a copy of the images from
before can read that copy.`,
		Args:              words("the name of the vault"),
		ValidArgsFunction: positions(a.completeVaults()),
	}
	cmd.Flags().BoolVar(&stdin, "password-stdin", false, "read the old password and the new one as two lines of stdin")
	cmd.RunE = a.runE(func(ctx context.Context, args []string) error {
		if !stdin && terminalOf(a.stdin) == nil {
			return usagef("it asks for the passwords, and there is no terminal: --password-stdin reads them from stdin")
		}
		password, changed, err := a.readPasswords(args[0])
		if err != nil {
			return err
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		if err := c.ChangeVaultPassword(ctx, args[0], password, changed); err != nil {
			return about("vault", args[0], uncertain(err, "the old password or the new one is that of the vault"))
		}
		return a.done(map[string]string{"vault": args[0], "status": "changed"}, "password of vault %s changed", args[0])
	})
	return cmd
}

func (a *app) vaultRepairCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "repair VAULT",
		Short: "Repair a block vault that was not closed properly",
		Long: `repair checks and repairs the filesystem of a block vault that was not closed properly, as when the machine went down while it was written
to, which takes minutes for a large one. Look at what is there then. Encrypted ones are repaired by a job with --vault-force.`,
		Args:              words("the name of the vault"),
		ValidArgsFunction: positions(a.completeVaults()),
		RunE: a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
			if err := c.RepairVault(ctx, args[0]); err != nil {
				return about("vault", args[0], uncertain(err, "it goes on all the same"))
			}
			return a.done(map[string]string{"vault": args[0], "status": "repaired"}, "vault %s repaired", args[0])
		}),
	}
}
