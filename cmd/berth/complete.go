package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
	"github.com/berth-hpc/berth/internal/appdef"
)

// completionPatience is how long a person who presses the tab key waits for the server.
const completionPatience = 2 * time.Second

// complete offers what a list of the server has: names, each with a word for people that may be empty. The server is asked for a short
// while; without an answer there is nothing to offer, and nobody wants to read why.
func complete[T any](
	a *app, list func(*client.Client, context.Context) ([]T, error), offer func(T) (name, about string),
) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		c, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
		defer cancel()
		all, err := list(c, ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		offers := make([]cobra.Completion, len(all))
		for i, one := range all {
			name, about := offer(one)
			if offers[i] = clean(name); about != "" {
				offers[i] = cobra.CompletionWithDesc(clean(name), clean(about))
			}
		}
		return offers, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeJobs offers the numbers of jobs, with their status.
func (a *app) completeJobs(ended bool) cobra.CompletionFunc {
	list := func(c *client.Client, ctx context.Context) ([]client.JobEntry, error) {
		return c.Jobs(ctx, client.JobsFilter{All: ended})
	}
	return complete(a, list, func(job client.JobEntry) (string, string) {
		return strconv.FormatInt(job.Number, 10), fmt.Sprintf("%s %s", job.Status, job.Label)
	})
}

// completeMachines offers the names of machine types.
func (a *app) completeMachines() cobra.CompletionFunc {
	list := func(c *client.Client, ctx context.Context) ([]client.Machine, error) { return c.Machines(ctx, "") }
	return complete(a, list, func(m client.Machine) (string, string) { return m.Name, m.Description })
}

// completeImages offers the names of images in the server's store.
func (a *app) completeImages() cobra.CompletionFunc {
	return complete(a, (*client.Client).Images, func(image client.Image) (string, string) { return image.Name, "" })
}

// completeApps offers the IDs of applications, with their commands.
func (a *app) completeApps() cobra.CompletionFunc {
	return complete(a, (*client.Client).Apps, func(entry client.App) (string, string) { return entry.ID, strings.Join(entry.Commands, " ") })
}

// completeAppCommands offers the commands of the application that was named before.
func (a *app) completeAppCommands(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	list := func(c *client.Client, ctx context.Context) ([]appdef.Command, error) {
		_, def, err := readApp(ctx, c, args[0])
		if err != nil {
			return nil, err
		}
		return def.Commands, nil
	}
	return complete(a, list, func(command appdef.Command) (string, string) { return command.Key, command.Name })(cmd, args, begun)
}

// completeParameters offers the parameters of the application's command that was named before, up to the "=".
func (a *app) completeParameters(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) < 2 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list := func(c *client.Client, ctx context.Context) ([]appdef.Parameter, error) {
		_, def, err := readApp(ctx, c, args[0])
		if err != nil {
			return nil, err
		}
		command, ok := def.Command(args[1])
		if !ok {
			return nil, nil
		}
		return settable(command), nil
	}
	offer := func(p appdef.Parameter) (string, string) { return p.Key + "=", p.Name }
	offers, directive := complete(a, list, offer)(cmd, args, begun)
	return offers, directive | cobra.ShellCompDirectiveNoSpace
}

// completeQueues offers the names of queues.
func (a *app) completeQueues() cobra.CompletionFunc {
	return complete(a, (*client.Client).Queues, func(q client.Queue) (string, string) { return q.Name, q.Application })
}

// completeActions offers the actions of the job that was named before.
func (a *app) completeActions(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var actions map[string]client.ActionInfo
	list := func(c *client.Client, ctx context.Context) ([]string, error) {
		ref, err := client.ParseRef(args[0])
		if err != nil {
			return nil, err
		}
		info, err := c.Info(ctx, ref)
		actions = info.Actions
		return slices.Sorted(maps.Keys(actions)), err
	}
	return complete(a, list, func(name string) (string, string) { return name, actions[name].Description })(cmd, args, begun)
}

// positions offers something else for each argument, and nothing behind the last.
func positions(offers ...cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= len(offers) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return offers[len(args)](cmd, args, begun)
	}
}
