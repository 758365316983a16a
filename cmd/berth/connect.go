package main

import (
	"context"

	"github.com/spf13/cobra"
)

func (a *app) connectCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "connect JOB",
		Short:             "Show the address and the password of a running interactive job",
		Example:           `  berth connect 12`,
		Args:              oneJob,
		ValidArgsFunction: positions(a.completeJobs(false)),
		RunE: a.runE(func(ctx context.Context, args []string) error {
			ref, c, err := a.forJob(args)
			if err != nil {
				return err
			}
			connection, err := c.Connect(ctx, ref)
			if err != nil {
				return a.notNow(ref, err, "only running jobs of interactive commands have an address: berth status %s", ref)
			}
			if a.flags.json {
				return a.printJSON(connection.Raw)
			}
			return a.printLines([][2]string{{"address", connection.Address}, {"password", connection.Password}})
		}),
	}
}
