package main

import "github.com/spf13/cobra"

func (a *app) vaultCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "vault",
		Short: "Manage vaults, which jobs find at /data",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	cmd.AddCommand(a.vaultListCommand(), a.vaultShowCommand(), a.vaultAddCommand(), a.vaultShareCommand(), a.vaultDefaultCommand(),
		a.vaultKeysCommand(), a.vaultRemoveCommand(), a.vaultKeptCommand(), a.vaultSaveCommand(), a.vaultDropCommand())
	return cmd
}
