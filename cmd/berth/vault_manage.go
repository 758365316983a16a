package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

func (a *app) vaultListCommand() *cobra.Command {
	var owner string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List your vaults, and those that your team shares",
		Args:  cobra.NoArgs,
		RunE: a.withClient(func(ctx context.Context, c *client.Client, _ []string) error {
			vaults, err := c.Vaults(ctx, owner)
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.printJSON(map[string][]client.Vault{"vaults": vaults})
			}
			rows := [][]string{{"NAME", "KIND", "SIZE", "DEFAULT", "TEAM MAY", "WHERE"}}
			for _, v := range vaults {
				rows = append(rows, []string{v.Name, v.Kind, volumeSize(v), yes(v.Default), teamMay(v), where(v)})
			}
			return table(a.stdout, rows)
		}),
	}
	cmd.Flags().StringVar(&owner, "owner", "", "list those of this user (administrators only)")
	_ = cmd.RegisterFlagCompletionFunc("owner", a.completeUsers())
	return cmd
}

// teamMay says what the team may do, "" for nothing.
func teamMay(v client.Vault) string {
	if v.Team == "" {
		return ""
	}
	return v.Share
}

// volumeSize says how large a block vault is, and whether its jobs need a password; "" for another vault.
func volumeSize(v client.Vault) string {
	switch {
	case v.Size <= 0:
		return ""
	case v.Encrypted:
		return humanize.IBytes(uint64(v.Size)) + ", encrypted"
	default:
		return humanize.IBytes(uint64(v.Size))
	}
}

// images says over how many images a block vault is striped.
func images(v client.Vault) string {
	if v.Images <= 1 {
		return ""
	}
	return strconv.Itoa(v.Images)
}

// where says in which bucket a vault is, and under which keys.
func where(v client.Vault) string {
	if v.Endpoint == "" {
		return ""
	}
	return strings.TrimSuffix(v.Endpoint+"/"+v.Bucket.Bucket+"/"+v.Prefix, "/")
}

func (a *app) vaultShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "show VAULT",
		Short:             "Show a vault",
		Args:              words("the name of the vault"),
		ValidArgsFunction: positions(a.completeVaults()),
		RunE: a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
			v, err := c.Vault(ctx, args[0])
			if err != nil {
				return about("vault", args[0], err)
			}
			if a.flags.json {
				return a.printJSON(v)
			}
			return a.printLines([][2]string{
				{"vault", v.Name},
				{"kind", v.Kind},
				{"size", volumeSize(v)},
				{"images", images(v)},
				{"owner", v.Owner},
				{"default", yes(v.Default)},
				{"team", v.Team},
				{"team may", teamMay(v)},
				{"endpoint", v.Endpoint},
				{"bucket", v.Bucket.Bucket},
				{"prefix", v.Prefix},
				{"region", v.Region},
				{"path style", yes(v.PathStyle)},
			})
		}),
	}
}

func (a *app) vaultShareCommand() *cobra.Command {
	var readOnly, stop bool
	cmd := &cobra.Command{
		Use:   "share VAULT",
		Short: "Share a vault with your team, or share it no more",
		Long: `share lets everybody of your team name the vault VAULT@YOU in submissions. Jobs that wait for it are refused when it is shared no
more, as it is when you leave the team.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if readOnly && stop {
				return usagef("--read-only and --stop exclude each other")
			}
			return words("the name of the vault")(cmd, args)
		},
		ValidArgsFunction: positions(a.completeVaults()),
	}
	cmd.Flags().BoolVar(&readOnly, "read-only", false, "the team may only read it")
	cmd.Flags().BoolVar(&stop, "stop", false, "share it no more")
	cmd.RunE = a.runE(func(ctx context.Context, args []string) error {
		share, said := "write", "vault %s shared"
		switch {
		case readOnly:
			share, said = "read", "vault %s shared for reading"
		case stop:
			share, said = "none", "vault %s shared no more"
		}
		return a.changeVault(ctx, args[0], client.VaultChange{Share: &share}, said)
	})
	return cmd
}

func (a *app) vaultDefaultCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "default VAULT",
		Short:             "Make a vault the one that jobs get which name none",
		Args:              words("the name of the vault"),
		ValidArgsFunction: positions(a.completeVaults()),
		RunE: a.runE(func(ctx context.Context, args []string) error {
			return a.changeVault(ctx, args[0], client.VaultChange{Default: new(true)}, "vault %s is the default")
		}),
	}
}

func (a *app) vaultKeysCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "keys VAULT FILE|-",
		Short: "Give an object vault other credentials",
		Long:  "keys replaces the credentials of an object vault. FILE is written like ~/.aws/credentials.",
		Args:  words("the name of the vault", "the file with its credentials"),
		RunE: a.runE(func(ctx context.Context, args []string) error {
			keys, err := a.bucketKeys(args[1])
			if err != nil {
				return err
			}
			return a.changeVault(ctx, args[0], client.VaultChange{BucketKeys: &keys}, "credentials of vault %s changed")
		}),
	}
}

func (a *app) changeVault(ctx context.Context, name string, change client.VaultChange, said string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	v, err := c.ChangeVault(ctx, name, change)
	if err != nil {
		return about("vault", name, err)
	}
	return a.done(map[string]client.Vault{"vault": v}, said, name)
}

func (a *app) vaultRemoveCommand() *cobra.Command {
	var data bool
	cmd := &cobra.Command{
		Use:               "remove VAULT",
		Short:             "Remove a vault; objects stay in their bucket",
		Args:              words("the name of the vault"),
		ValidArgsFunction: positions(a.completeVaults()),
	}
	cmd.Flags().BoolVar(&data, "with-data", false, "delete the files that it has on the server, too")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		if err := c.RemoveVault(ctx, args[0], data); err != nil {
			return about("vault", args[0], err)
		}
		return a.removed("vault", args[0])
	})
	return cmd
}

// completeVaults offers the names of vaults.
func (a *app) completeVaults() cobra.CompletionFunc {
	list := func(c *client.Client, ctx context.Context) ([]client.Vault, error) { return c.Vaults(ctx, "") }
	return complete(a, list, func(v client.Vault) (string, string) { return v.Name, v.Kind })
}
