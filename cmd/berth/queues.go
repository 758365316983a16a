package main

import (
	"context"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

func (a *app) queuesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "queues",
		Short: "List the queues that HPC scripts can be sent to",
		Args:  cobra.NoArgs,
		RunE: a.withClient(func(ctx context.Context, c *client.Client, _ []string) error {
			queues, err := c.Queues(ctx)
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.printJSON(map[string][]client.Queue{"queues": queues})
			}
			rows := [][]string{{"NAME", "APPLICATION", "MACHINE", "SIZE"}}
			for _, queue := range queues {
				rows = append(rows, []string{queue.Name, queue.Application, queue.Machine, strconv.Itoa(queue.Size)})
			}
			return table(a.stdout, rows)
		}),
	}
}

func (a *app) queueSetCommand() *cobra.Command {
	var f client.Queue
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Make a queue, or change what is given of one that is there",
		Example: `  berth admin queue set default --app tools
  berth admin queue set long --app tools --machine n1 --size 4`,
		Args:              words("the NAME of the queue"),
		ValidArgsFunction: positions(a.completeQueues()),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Application, "app", "", "application whose image runs the scripts")
	flags.StringVar(&f.Machine, "machine", "", "machine type of scripts that name none")
	flags.IntVar(&f.Size, "size", 1, "greatest number of nodes of a job")
	_ = cmd.RegisterFlagCompletionFunc("app", a.completeApps())
	_ = cmd.RegisterFlagCompletionFunc("machine", a.completeMachines())
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		queues, err := c.Queues(ctx)
		if err != nil {
			return err
		}
		queue := client.Queue{Name: args[0], Size: 1}
		if at := slices.IndexFunc(queues, func(q client.Queue) bool { return q.Name == args[0] }); at >= 0 {
			queue = queues[at]
		} else if f.Application == "" || f.Machine == "" {
			return usagef("queue %s is not there; to make it give --app and --machine", args[0])
		}
		set(&queue.Application, f.Application, flags.Changed("app"))
		set(&queue.Machine, f.Machine, flags.Changed("machine"))
		set(&queue.Size, f.Size, flags.Changed("size"))
		queue, err = c.SetQueue(ctx, queue)
		if err != nil {
			return about("queue", args[0], err)
		}
		return a.done(map[string]client.Queue{"queue": queue}, "queue %s set", args[0])
	})
	return cmd
}

func (a *app) queueRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "remove NAME",
		Short:             "Remove a queue: no script can be sent to it any more",
		Args:              words("the NAME of the queue"),
		ValidArgsFunction: positions(a.completeQueues()),
		RunE: a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
			if err := c.RemoveQueue(ctx, args[0]); err != nil {
				return about("queue", args[0], err)
			}
			return a.removed("queue", args[0])
		}),
	}
}
