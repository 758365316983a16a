package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

func (a *app) teamListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the teams that you may see",
		Args:  cobra.NoArgs,
		RunE: a.withClient(func(ctx context.Context, c *client.Client, _ []string) error {
			teams, err := c.Teams(ctx)
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.printJSON(map[string][]client.Team{"teams": teams})
			}
			rows := [][]string{{"NAME", "PAYER"}}
			for _, team := range teams {
				rows = append(rows, []string{team.Name, team.Payer})
			}
			return table(a.stdout, rows)
		}),
	}
}

// teamPayerCommand makes the verbs add and set.
func (a *app) teamPayerCommand(verb string) *cobra.Command {
	var payer string
	cmd := &cobra.Command{
		Use:     verb + " NAME --payer USER",
		Short:   "Give a team another payer, one of its members",
		Example: `  berth admin team ` + verb + ` fluids --payer ada`,
		Args: func(cmd *cobra.Command, args []string) error {
			if payer == "" {
				return usagef("--payer is missing: the user who pays for the team's jobs")
			}
			return words("the NAME of the team")(cmd, args)
		},
		ValidArgsFunction: positions(a.completeTeams()),
	}
	cmd.Flags().StringVar(&payer, "payer", "", "user who pays for the team's jobs, and sees and controls them (required)")
	_ = cmd.RegisterFlagCompletionFunc("payer", a.completeUsers())
	request, words := (*client.Client).ChangeTeam, "changed"
	if verb == "add" {
		cmd.Short = "Make a team; its payer becomes a member"
		cmd.ValidArgsFunction = cobra.NoFileCompletions
		request, words = (*client.Client).AddTeam, "added"
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		team, err := request(c, ctx, client.Team{Name: args[0], Payer: payer})
		if err != nil {
			return about("team", args[0], err)
		}
		return a.done(map[string]client.Team{"team": team}, "team %s %s", args[0], words)
	})
	return cmd
}

func (a *app) teamRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "remove NAME",
		Short:             "Remove a team that has no other member than its payer",
		Args:              words("the NAME of the team"),
		ValidArgsFunction: positions(a.completeTeams()),
		RunE: a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
			if err := c.RemoveTeam(ctx, args[0]); err != nil {
				return about("team", args[0], err)
			}
			return a.removed("team", args[0])
		}),
	}
}
