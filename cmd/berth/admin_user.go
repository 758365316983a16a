package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

func (a *app) userAddCommand() *cobra.Command {
	var user client.NewUser
	var key keyFlags
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Make an account and print its API key, which is shown this once only",
		Long: `add makes an account and its first API key. The key alone goes to stdout; the server keeps only a hash of it, so nobody can see it
again. With --credentials-out it goes into a file instead, as lines for the shell, which --credentials reads too.`,
		Example: `  berth admin user add ada --email ada@example.org
  berth admin user add bob --team fluids --credentials-out bob.credentials
  berth admin user add monitor --no-billing --read-only --expires 720h`,
		Args: key.checked(words("the NAME of the user")),
	}
	flags := cmd.Flags()
	flags.StringVar(&user.Email, "email", "", "address of the person")
	flags.BoolVar(&user.Admin, "admin", false, "an administrator: sees and controls everything")
	flags.StringVar(&user.Team, "team", "", "team that the user is in")
	flags.BoolVar(&user.TeamAdmin, "team-admin", false, "sees and controls every job of the team")
	flags.BoolVar(&user.NoBilling, "no-billing", false, "may not submit jobs")
	key.register(cmd, "key-label")
	_ = cmd.RegisterFlagCompletionFunc("team", a.completeTeams())
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		user.Name = args[0]
		user.Key = key.request()
		return a.handOut(c, key.out, func() (issued, error) {
			added, err := c.AddUser(ctx, user)
			if err != nil {
				return issued{}, about("user", user.Name, uncertain(err, "it may have been added: berth admin user show %s", user.Name))
			}
			return issued{key: added.NewKey, document: func(key client.NewKey) any { added.NewKey = key; return added }}, nil
		})
	})
	return cmd
}

func (a *app) userListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the accounts that you may see",
		Args:  cobra.NoArgs,
		RunE: a.withClient(func(ctx context.Context, c *client.Client, _ []string) error {
			users, err := c.Users(ctx)
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.printJSON(map[string][]client.User{"users": users})
			}
			rows := [][]string{{"NAME", "EMAIL", "TEAM", "ROLE", "BILLING", "STATUS"}}
			for _, user := range users {
				rows = append(rows, []string{user.Name, user.Email, user.Team, role(user), onOff(user.Billing), status(user)})
			}
			return table(a.stdout, rows)
		}),
	}
}

// role is what a user may do besides submitting jobs, "" for nothing.
func role(user client.User) string {
	var roles []string
	if user.Admin {
		roles = append(roles, "admin")
	}
	if user.TeamAdmin {
		roles = append(roles, "team admin")
	}
	if user.Payer != "" && user.Payer == user.Name {
		roles = append(roles, "payer")
	}
	return strings.Join(roles, ", ")
}

func status(user client.User) string {
	if user.Disabled {
		return "disabled"
	}
	return "active"
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func (a *app) userShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "show NAME",
		Short:             "Show an account and what is known of its keys",
		Args:              words("the NAME of the user"),
		ValidArgsFunction: positions(a.completeUsers()),
		RunE: a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
			user, keys, err := c.User(ctx, args[0])
			if err != nil {
				return about("user", args[0], err)
			}
			if a.flags.json {
				return a.printJSON(userDocument{user, keys})
			}
			if err := a.printLines([][2]string{
				{"name", user.Name},
				{"email", user.Email},
				{"team", user.Team},
				{"payer", user.Payer},
				{"role", role(user)},
				{"billing", onOff(user.Billing)},
				{"status", status(user)},
			}); err != nil {
				return err
			}
			a.say("")
			return a.printKeys(keys)
		}),
	}
}

// userDocument is an account as the server shows it.
type userDocument struct {
	User client.User  `json:"user"`
	Keys []client.Key `json:"keys,omitzero"`
}

// changeUser changes an account and prints in a few words what was done.
func (a *app) changeUser(ctx context.Context, name string, change client.UserChange, words string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	user, err := c.ChangeUser(ctx, name, change)
	if err != nil {
		return about("user", name, err)
	}
	return a.done(userDocument{User: user}, "user %s %s", name, words)
}

func (a *app) userSetCommand() *cobra.Command {
	var email, team string
	var admin, teamAdmin bool
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Change what is known of an account; what is not given stays as it is",
		Example: `  berth admin user set ada --email ada@example.org --team fluids --team-admin
  berth admin user set ada --team '' --team-admin=false`,
		ValidArgsFunction: positions(a.completeUsers()),
	}
	flags := cmd.Flags()
	flags.StringVar(&email, "email", "", "address of the person")
	flags.StringVar(&team, "team", "", "team that the user is in, '' for none")
	flags.BoolVar(&teamAdmin, "team-admin", false, "sees and controls every job of the team")
	flags.BoolVar(&admin, "admin", false, "an administrator: sees and controls everything")
	_ = cmd.RegisterFlagCompletionFunc("team", a.completeTeams())
	change := func() client.UserChange {
		return client.UserChange{
			Email: given(cmd, "email", &email), Team: given(cmd, "team", &team),
			TeamAdmin: given(cmd, "team-admin", &teamAdmin), Admin: given(cmd, "admin", &admin),
		}
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if change() == (client.UserChange{}) {
			return usagef("give what to change: --email, --team, --team-admin or --admin")
		}
		return words("the NAME of the user")(cmd, args)
	}
	cmd.RunE = a.runE(func(ctx context.Context, args []string) error {
		return a.changeUser(ctx, args[0], change(), "changed")
	})
	return cmd
}

// given returns the value of a flag that was given, else nil.
func given[T any](cmd *cobra.Command, flag string, value *T) *T {
	if cmd.Flags().Changed(flag) {
		return value
	}
	return nil
}

func (a *app) userBillingCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "billing NAME on|off",
		Short: "Say whether an account may submit jobs; for the payer of a team, whether the team may",
		Args: func(cmd *cobra.Command, args []string) error {
			if err := words("the NAME of the user", "on or off")(cmd, args); err != nil {
				return err
			}
			if args[1] != "on" && args[1] != "off" {
				return usagef("%q is neither on nor off", args[1])
			}
			return nil
		},
		ValidArgsFunction: positions(a.completeUsers(), cobra.FixedCompletions([]string{"on", "off"}, cobra.ShellCompDirectiveNoFileComp)),
		RunE: a.runE(func(ctx context.Context, args []string) error {
			billing := args[1] == "on"
			return a.changeUser(ctx, args[0], client.UserChange{Billing: &billing}, "has billing "+args[1])
		}),
	}
}

// userSwitchCommand makes the verbs disable and enable.
func (a *app) userSwitchCommand(verb string) *cobra.Command {
	cmd := &cobra.Command{
		Use:               verb + " NAME",
		Short:             "Let a disabled account in again",
		Args:              words("the NAME of the user"),
		ValidArgsFunction: positions(a.completeUsers()),
	}
	disabled := verb == "disable"
	if disabled {
		cmd.Short = "Refuse an account, with all its keys, like one that is unknown; its jobs go on"
	}
	cmd.RunE = a.runE(func(ctx context.Context, args []string) error {
		return a.changeUser(ctx, args[0], client.UserChange{Disabled: &disabled}, verb+"d")
	})
	return cmd
}
