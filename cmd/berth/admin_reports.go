package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

// billingFlags select the jobs of a bill.
type billingFlags struct {
	filter      client.BillingFilter
	from, until string
	csv         bool
}

func (a *app) billingCommand() *cobra.Command {
	var f billingFlags
	cmd := &cobra.Command{
		Use:   "billing",
		Short: "Show who has used how much this month, and what it cost",
		Long: `billing shows for each user and payer how many jobs were submitted this month, for how many seconds their nodes ran, and what that cost
by the prices of machine types and applications at the submission. Months and days are those of UTC. With --json all values are texts.`,
		Example: `  berth admin billing
  berth admin billing --last-month --itemized --csv > bill.csv
  berth admin billing --from 2026-11-01 --until 2026-11-24 --by ada,bob --machine n1`,
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.filter.Users, "by", nil, "only what these users have submitted or pay for")
	flags.StringSliceVar(&f.filter.Machines, "machine", nil, "only jobs of these machine types")
	flags.StringSliceVar(&f.filter.Apps, "app", nil, "only jobs of these applications")
	flags.StringSliceVar(&f.filter.Statuses, "status", nil, "only jobs with these statuses, such as COMPLETED")
	flags.BoolVar(&f.filter.LastMonth, "last-month", false, "last month instead of this one")
	flags.StringVar(&f.from, "from", "", "from this day on, such as 2026-11-01, instead of this month")
	flags.StringVar(&f.until, "until", "", "up to this day (default today)")
	flags.BoolVar(&f.filter.Itemized, "itemized", false, "a line for each job instead of each user")
	flags.BoolVar(&f.csv, "csv", false, "print the table for spreadsheets, as the server sent it")
	_ = cmd.RegisterFlagCompletionFunc("by", a.completeUsers())
	_ = cmd.RegisterFlagCompletionFunc("machine", a.completeMachines())
	_ = cmd.RegisterFlagCompletionFunc("app", a.completeApps())
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := f.period(a.now().UTC()); err != nil {
			return err
		}
		if f.csv && a.flags.json {
			return usagef("--csv and --json are two forms of one table: leave one out")
		}
		return cobra.NoArgs(cmd, args)
	}
	cmd.RunE = a.runE(func(ctx context.Context, _ []string) error { return a.billing(ctx, f) })
	return cmd
}

// period reads the days.
func (f *billingFlags) period(today time.Time) error {
	switch {
	case f.from == "" && f.until == "":
		return nil
	case f.from == "":
		return usagef("--until needs --from")
	case f.filter.LastMonth:
		return usagef("--last-month and --from are two times: leave one out")
	}
	f.filter.Until = today
	for _, day := range []struct {
		flag, text string
		at         *time.Time
	}{{"from", f.from, &f.filter.From}, {"until", f.until, &f.filter.Until}} {
		if day.text == "" {
			continue
		}
		var err error
		if *day.at, err = time.Parse(time.DateOnly, day.text); err != nil {
			return usagef("--%s %q is no date such as 2026-11-24", day.flag, day.text)
		}
	}
	return nil
}

func (a *app) billing(ctx context.Context, f billingFlags) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	text, err := c.Billing(ctx, f.filter)
	if err != nil {
		return err
	}
	if f.csv {
		_, err := a.stdout.Write(text)
		return err
	}
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	switch {
	case err != nil:
		return fmt.Errorf("answer to billing: %w", err)
	case len(rows) == 0:
		return errors.New("answer to billing: it is empty")
	}
	if a.flags.json {
		return a.printJSON(map[string][]map[string]string{"billing": named(rows)})
	}
	for i, column := range rows[0] {
		rows[0][i] = strings.ToUpper(column)
	}
	return table(a.stdout, rows)
}

// named returns the rows below the first one by the names of the columns, which that one holds.
func named(rows [][]string) []map[string]string {
	entries := make([]map[string]string, len(rows)-1)
	for i, row := range rows[1:] {
		entries[i] = make(map[string]string, len(row))
		for j, cell := range row {
			entries[i][rows[0][j]] = cell
		}
	}
	return entries
}

func (a *app) projectsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "projects",
		Short: "List who has submitted jobs of which project",
		Long: `projects lists the users of each project. A project is a word that submissions give (batch --project); its name here is that of who
pays, a hyphen, and the word.`,
		Args: cobra.NoArgs,
		RunE: a.withClient(func(ctx context.Context, c *client.Client, _ []string) error {
			projects, err := c.Projects(ctx)
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.printJSON(map[string]map[string][]string{"projects": projects})
			}
			rows := [][]string{{"PROJECT", "USERS"}}
			for _, name := range slices.Sorted(maps.Keys(projects)) {
				rows = append(rows, []string{name, strings.Join(projects[name], " ")})
			}
			return table(a.stdout, rows)
		}),
	}
}

func (a *app) licenseCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "license",
		Short: "Show what allows this server to be used",
		Args:  cobra.NoArgs,
		RunE: a.withClient(func(ctx context.Context, c *client.Client, _ []string) error {
			text, err := c.License(ctx)
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.printJSON(map[string]string{"license": text})
			}
			for line := range strings.Lines(text) {
				a.say("%s", line)
			}
			return nil
		}),
	}
}
