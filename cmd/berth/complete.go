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
)

// completionPatience is how long a person who presses the tab key waits for the server.
const completionPatience = 2 * time.Second

// completeJobs offers the numbers of jobs, with their status as description.
func (a *app) completeJobs(ended bool) cobra.CompletionFunc {
	return a.complete(func(ctx context.Context, c *client.Client) []cobra.Completion {
		jobs, err := c.Jobs(ctx, client.JobsFilter{All: ended})
		if err != nil {
			return nil
		}
		var offers []cobra.Completion
		for _, job := range jobs {
			about := clean(fmt.Sprintf("%s %s", job.Status, job.Label))
			offers = append(offers, cobra.CompletionWithDesc(strconv.FormatInt(job.Number, 10), about))
		}
		return offers
	})
}

// completeMachines offers the names of machine types.
func (a *app) completeMachines() cobra.CompletionFunc {
	return a.complete(func(ctx context.Context, c *client.Client) []cobra.Completion {
		machines, err := c.Machines(ctx, "")
		if err != nil {
			return nil
		}
		var offers []cobra.Completion
		for _, m := range machines {
			offers = append(offers, cobra.CompletionWithDesc(clean(m.Name), clean(m.Description)))
		}
		return offers
	})
}

// completeImages offers the names of images in the server's store.
func (a *app) completeImages() cobra.CompletionFunc {
	return a.complete(func(ctx context.Context, c *client.Client) []cobra.Completion {
		images, err := c.Images(ctx)
		if err != nil {
			return nil
		}
		var offers []cobra.Completion
		for _, image := range images {
			offers = append(offers, clean(image.Name))
		}
		return offers
	})
}

// completeApps offers the IDs of applications, with their commands as description.
func (a *app) completeApps() cobra.CompletionFunc {
	return a.complete(func(ctx context.Context, c *client.Client) []cobra.Completion {
		apps, err := c.Apps(ctx)
		if err != nil {
			return nil
		}
		var offers []cobra.Completion
		for _, entry := range apps {
			offers = append(offers, cobra.CompletionWithDesc(clean(entry.ID), clean(strings.Join(entry.Commands, " "))))
		}
		return offers
	})
}

// completeAppCommands offers the commands of the application that was named before.
func (a *app) completeAppCommands(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.complete(func(ctx context.Context, c *client.Client) []cobra.Completion {
		_, def, err := readApp(ctx, c, args[0])
		if err != nil {
			return nil
		}
		var offers []cobra.Completion
		for _, command := range def.Commands {
			offers = append(offers, cobra.CompletionWithDesc(clean(command.Key), clean(command.Name)))
		}
		return offers
	})(cmd, args, begun)
}

// completeParameters offers the parameters of the application's command that was named before, up to the "=".
func (a *app) completeParameters(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) < 2 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	offers, directive := a.complete(func(ctx context.Context, c *client.Client) []cobra.Completion {
		_, def, err := readApp(ctx, c, args[0])
		if err != nil {
			return nil
		}
		command, ok := def.Command(args[1])
		if !ok {
			return nil
		}
		var offers []cobra.Completion
		for _, parameter := range settable(command) {
			offers = append(offers, cobra.CompletionWithDesc(clean(parameter.Key)+"=", clean(parameter.Name)))
		}
		return offers
	})(cmd, args, begun)
	return offers, directive | cobra.ShellCompDirectiveNoSpace
}

// completeQueues offers the names of queues.
func (a *app) completeQueues() cobra.CompletionFunc {
	return a.complete(func(ctx context.Context, c *client.Client) []cobra.Completion {
		queues, err := c.Queues(ctx)
		if err != nil {
			return nil
		}
		var offers []cobra.Completion
		for _, queue := range queues {
			offers = append(offers, cobra.CompletionWithDesc(clean(queue.Name), clean(queue.Application)))
		}
		return offers
	})
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

// completeActions offers the actions of the job that was named before.
func (a *app) completeActions(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.complete(func(ctx context.Context, c *client.Client) []cobra.Completion {
		ref, err := client.ParseRef(args[0])
		if err != nil {
			return nil
		}
		info, err := c.Info(ctx, ref)
		if err != nil {
			return nil
		}
		var offers []cobra.Completion
		for _, name := range slices.Sorted(maps.Keys(info.Actions)) {
			offers = append(offers, cobra.CompletionWithDesc(clean(name), clean(info.Actions[name].Description)))
		}
		return offers
	})(cmd, args, begun)
}

// complete asks the server for a short while; without an answer there is nothing to offer, and nobody wants to read why.
func (a *app) complete(ask func(context.Context, *client.Client) []cobra.Completion) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		c, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
		defer cancel()
		return ask(ctx, c), cobra.ShellCompDirectiveNoFileComp
	}
}
