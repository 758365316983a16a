package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

func (a *app) vaultKeptCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "kept",
		Short: "List data of ended jobs that could not be copied back to their object vaults",
		Args:  cobra.NoArgs,
		RunE: a.withClient(func(ctx context.Context, c *client.Client, _ []string) error {
			kept, err := c.Kept(ctx, all)
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.printJSON(map[string][]client.KeptData{"kept": kept})
			}
			rows := [][]string{{"JOB", "OWNER", "NOW", "WHAT"}}
			for _, k := range kept {
				rows = append(rows, []string{strconv.FormatInt(k.Number, 10), k.Owner, keptNow(k.Wish), k.Detail})
			}
			return table(a.stdout, rows)
		}),
	}
	cmd.Flags().BoolVar(&all, "all", false, "of everybody's jobs (administrators only)")
	return cmd
}

// keptNow says what is being done with kept data.
func keptNow(wish string) string {
	switch wish {
	case "save":
		return "being saved"
	case "drop":
		return "being dropped"
	default:
		return "kept"
	}
}

func (a *app) vaultSaveCommand() *cobra.Command {
	return a.keptVerb("save", "Try again to copy the data of an ended job to its vault", "data of job %d is being saved; berth vault kept tells what came of it",
		(*client.Client).SaveKept)
}

func (a *app) vaultDropCommand() *cobra.Command {
	return a.keptVerb("drop", "Delete the data of an ended job that could not be copied to its vault", "data of job %d is being dropped", (*client.Client).DropKept)
}

func (a *app) keptVerb(verb, short, said string, do func(*client.Client, context.Context, int64) error) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " JOB",
		Short: short,
		Args:  words("the number of the job"),
		RunE: a.runE(func(ctx context.Context, args []string) error {
			number, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil {
				return usagef("%s is no number of a job", args[0])
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := do(c, ctx, number); err != nil {
				return about("data of job", args[0], err)
			}
			return a.done(map[string]any{"number": number, "status": verb + " requested"}, said, number)
		}),
	}
}
