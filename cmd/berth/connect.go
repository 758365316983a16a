package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

func (a *app) connectCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "connect JOB",
		Short:             "Show the address and the password of a running interactive job",
		Example:           `  berth connect 12`,
		Args:              oneJob,
		ValidArgsFunction: positions(a.completeJobs(false)),
		RunE: a.withJob(func(ctx context.Context, c *client.Client, ref client.Ref, _ []string) error {
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
