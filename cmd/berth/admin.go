package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

func (a *app) adminCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "admin",
		Short: "Manage users, teams, machine types and queues, and see who did what and used how much",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	user := &cobra.Command{
		Use:   "user",
		Short: "Manage accounts and their API keys",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	user.AddCommand(a.userAddCommand(), a.userListCommand(), a.userShowCommand(), a.userSetCommand(), a.userBillingCommand(),
		a.userSwitchCommand("disable"), a.userSwitchCommand("enable"), a.userKeyCommand(), a.userVariableCommand())
	team := &cobra.Command{
		Use:   "team",
		Short: "Manage teams: users with one of them who pays for their jobs",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	team.AddCommand(a.teamListCommand(), a.teamPayerCommand("add"), a.teamPayerCommand("set"), a.teamRemoveCommand())
	machine := &cobra.Command{
		Use:   "machine",
		Short: "Manage the machine types that jobs can ask for",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	machine.AddCommand(a.machineListCommand(), a.machineSetCommand(), a.machineRemoveCommand())
	queue := &cobra.Command{
		Use:   "queue",
		Short: "Manage the queues that HPC scripts are sent to",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	list := a.queuesCommand()
	list.Use = "list"
	queue.AddCommand(list, a.queueSetCommand(), a.queueRemoveCommand())
	cmd.AddCommand(user, team, machine, queue, a.auditCommand(), a.billingCommand(), a.projectsCommand(), a.licenseCommand(), a.backupCommand())
	return cmd
}

// words accepts exactly these arguments, none of them empty.
func words(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		wrong := len(args) != len(names)
		for _, arg := range args {
			wrong = wrong || arg == ""
		}
		if wrong {
			return usagef("give %s", strings.Join(names, " and "))
		}
		return nil
	}
}

// done prints what was done to what, or as JSON the document.
func (a *app) done(document any, format string, args ...any) error {
	if a.flags.json {
		return a.printJSON(document)
	}
	a.say(format, args...)
	return nil
}

// removed prints that something was removed.
func (a *app) removed(what, name string) error {
	return a.done(map[string]string{"name": name, "status": "removed"}, "%s %s removed", what, name)
}

// completeUsers offers the names of accounts.
func (a *app) completeUsers() cobra.CompletionFunc {
	return complete(a, (*client.Client).Users, func(user client.User) (string, string) { return user.Name, user.Email })
}

// completeTeams offers the names of teams.
func (a *app) completeTeams() cobra.CompletionFunc {
	return complete(a, (*client.Client).Teams, func(team client.Team) (string, string) { return team.Name, "paid by " + team.Payer })
}

// completeKeys offers the keys of the user that was named before.
func (a *app) completeKeys(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	list := func(c *client.Client, ctx context.Context) ([]client.Key, error) {
		_, keys, err := c.User(ctx, args[0])
		return keys, err
	}
	return complete(a, list, func(key client.Key) (string, string) { return key.ID, key.Label })(cmd, args, begun)
}
