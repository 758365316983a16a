package main

import (
	"context"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

func (a *app) userVariableCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "variable",
		Short: "Manage an account's variables, which applications can ask for; everybody may manage their own",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	cmd.AddCommand(a.variableListCommand(), a.variableSetCommand())
	return cmd
}

func (a *app) variableListCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "list NAME",
		Short:             "List an account's variables",
		Args:              words("the NAME of the user"),
		ValidArgsFunction: positions(a.completeUsers()),
		RunE: a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
			variables, err := c.Variables(ctx, args[0])
			if err != nil {
				return about("user", args[0], err)
			}
			if a.flags.json {
				return a.printJSON(map[string]map[string]string{"variables": variables})
			}
			rows := [][]string{{"VARIABLE", "VALUE"}}
			for _, key := range slices.Sorted(maps.Keys(variables)) {
				rows = append(rows, []string{key, variables[key]})
			}
			return table(a.stdout, rows)
		}),
	}
}

func (a *app) variableSetCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "set NAME KEY VALUE",
		Short: "Give a variable of an account its value; '' removes it",
		Long: `set gives a variable of an account its value. Jobs of applications whose AppDef asks for the variable find it in their environment, from
the next submission on. Members of a team can get the value of the payer's account, if the AppDef says so.`,
		Example: `  berth admin user variable set ada LICENSE_SERVER 2080@license.example.org
  berth admin user variable set ada LICENSE_SERVER ''`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 3 || args[0] == "" || args[1] == "" {
				return usagef("give the NAME of the user, the KEY and the VALUE, '' to remove it")
			}
			return nil
		},
		ValidArgsFunction: positions(a.completeUsers(), a.completeVariables),
		RunE: a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
			user, key, value := args[0], args[1], args[2]
			if err := c.SetVariable(ctx, user, key, value); err != nil {
				return about("user", user, err)
			}
			status := "set"
			if value == "" {
				status = "removed"
			}
			return a.done(map[string]string{"user": user, "variable": key, "status": status}, "variable %s of %s %s", key, user, status)
		}),
	}
}

// completeVariables offers the variables of the user that was named before.
func (a *app) completeVariables(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	list := func(c *client.Client, ctx context.Context) ([]string, error) {
		variables, err := c.Variables(ctx, args[0])
		return slices.Sorted(maps.Keys(variables)), err
	}
	return complete(a, list, func(key string) (string, string) { return key, "" })(cmd, args, begun)
}
