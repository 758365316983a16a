package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
	"github.com/berth-hpc/berth/internal/appdef"
)

func (a *app) applicationCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "app",
		Short: "Run applications, and manage the catalogue of them",
		Long: `An application is an image with an AppDef, a JSON file that says what commands it has and what parameters they take.

From nothing to a running one:
  berth app init
  berth app check AppDef.json
  berth app add numbers --image library/debian:bookworm --appdef AppDef.json
  berth app run numbers Run --set last=3 -f`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	cmd.AddCommand(a.appRunCommand(), a.appListCommand(), a.appShowCommand(), a.appAddCommand(), a.appUpdateCommand(), a.appRemoveCommand(),
		a.appHistoryCommand(), a.appInitCommand(), a.appCheckCommand())
	return cmd
}

func (a *app) appListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the applications that you may run",
		Args:  cobra.NoArgs,
		RunE: a.withClient(func(ctx context.Context, c *client.Client, _ []string) error {
			apps, err := c.Apps(ctx)
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.printJSON(map[string][]client.App{"apps": apps})
			}
			rows := [][]string{{"ID", "OWNER", "FOR", "CERTIFIED", "PRICE", "COMMANDS", "IMAGE"}}
			for _, entry := range apps {
				rows = append(rows, []string{
					entry.ID, entry.Owner, audience(entry), yes(entry.Certified), decimal(entry.Price), strings.Join(entry.Commands, " "), entry.Image,
				})
			}
			return table(a.stdout, rows)
		}),
	}
}

// audience says who may run an application.
func audience(entry client.App) string {
	switch {
	case entry.Public:
		return "everybody"
	case entry.Team != "":
		return "team " + entry.Team
	default:
		return "its owner"
	}
}

// decimal shows a number without needless digits.
func decimal(number float64) string { return strconv.FormatFloat(number, 'f', -1, 64) }

// readApp returns an application and what its AppDef says.
func readApp(ctx context.Context, c *client.Client, id string) (client.AppDetails, *appdef.AppDef, error) {
	details, err := c.App(ctx, id)
	if err != nil {
		return details, nil, about("application", id, err)
	}
	def, err := appdef.Parse(details.AppDef)
	return details, def, about("application", id, err)
}

func (a *app) appShowCommand() *cobra.Command {
	var onlyDef bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show an application with its commands, and the parameters that app run can set",
		Example: `  berth app show numbers
  berth app show numbers --appdef > AppDef.json`,
		Args:              words("the ID of the application"),
		ValidArgsFunction: positions(a.completeApps()),
	}
	cmd.Flags().BoolVar(&onlyDef, "appdef", false, "print only the AppDef, as JSON")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		if onlyDef || a.flags.json {
			details, err := c.App(ctx, args[0])
			switch {
			case err != nil:
				return about("application", args[0], err)
			case onlyDef:
				return a.printJSON(details.AppDef)
			}
			return a.printJSON(details.Raw)
		}
		details, def, err := readApp(ctx, c, args[0])
		if err != nil {
			return err
		}
		return a.printApp(details.App, def)
	})
	return cmd
}

func (a *app) printApp(entry client.App, def *appdef.AppDef) error {
	if err := a.printLines([][2]string{
		{"application", entry.ID},
		{"name", def.Name},
		{"author", def.Author},
		{"description", def.Description},
		{"owner", entry.Owner},
		{"for", audience(entry)},
		{"certified", yes(entry.Certified)},
		{"image", entry.Image},
		{"price", decimal(entry.Price)},
		{"added", a.moment(entry.Created)},
		{"changed", a.moment(entry.Updated)},
	}); err != nil {
		return err
	}
	a.say("")
	rows := [][]string{{"COMMAND", "PARAMETER", "REQUIRED", "DEFAULT", "VALUE", "NAME"}}
	for _, command := range def.Commands {
		parameters := settable(&command)
		if len(parameters) == 0 {
			rows = append(rows, []string{command.Key, "", "", "", "", command.Name})
		}
		for _, p := range parameters {
			rows = append(rows, []string{command.Key, p.Key, yes(p.Required), p.Default, kindOf(p), p.Name})
		}
	}
	return table(a.stdout, rows)
}

// settable returns the parameters that a submission can give a value.
func settable(command *appdef.Command) []appdef.Parameter {
	var parameters []appdef.Parameter
	for _, p := range command.Parameters {
		if p.Type != appdef.Const {
			parameters = append(parameters, p)
		}
	}
	return parameters
}

// kindOf says what values a parameter takes.
func kindOf(p appdef.Parameter) string {
	switch p.Type {
	case appdef.Int, appdef.Range:
		return "a whole number" + bounds(p)
	case appdef.Float:
		return "a number" + bounds(p)
	case appdef.Bool:
		return "true or false"
	case appdef.Selection:
		return "one of " + strings.Join(p.Values, ", ")
	case appdef.File:
		return "a file in the vault"
	case appdef.Upload:
		return "the content of a file: " + p.Key + "=@FILE"
	default:
		return "a text"
	}
}

func bounds(p appdef.Parameter) string {
	text := ""
	if p.Min != nil {
		text += " from " + decimal(*p.Min)
	}
	if p.Max != nil {
		text += " to " + decimal(*p.Max)
	}
	return text
}

func (a *app) appHistoryCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "history ID",
		Short: "Show what was done to an application, newest first: by whom, and which image it got",
		Long: `history shows what was done to an application, newest first: administrators everything, others what they did themselves. With --json
each record is one line.`,
		ValidArgsFunction: positions(a.completeApps()),
	}
	cmd.Flags().IntVar(&limit, "limit", 100, "how many records, 0 is all")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if limit < 0 {
			return usagef("--limit cannot be negative")
		}
		return words("the ID of the application")(cmd, args)
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		if _, err := c.App(ctx, args[0]); err != nil {
			return about("application", args[0], err)
		}
		records, err := auditRecords(ctx, c, client.AuditFilter{Subject: args[0]}, limit)
		if err != nil {
			return err
		}
		return a.printAudit(records)
	})
	return cmd
}

func (a *app) appRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "remove ID",
		Short:             "Take an application from the catalogue; its jobs go on",
		Args:              words("the ID of the application"),
		ValidArgsFunction: positions(a.completeApps()),
		RunE: a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
			if err := c.RemoveApp(ctx, args[0]); err != nil {
				return about("application", args[0], err)
			}
			return a.removed("application", args[0])
		}),
	}
}
