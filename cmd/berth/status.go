package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "status JOB...",
		Short:             "Show where jobs are, what they wait for and how they ended",
		Args:              someJobs,
		ValidArgsFunction: a.completeJobs(true),
		RunE: a.withJobs(func(ctx context.Context, c *client.Client, jobs []client.Ref) error {
			for i, ref := range jobs {
				if i > 0 && !a.flags.json {
					fmt.Fprintln(a.stdout)
				}
				if err := a.showJob(ctx, c, ref); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func (a *app) showJob(ctx context.Context, c *client.Client, ref client.Ref) error {
	job, err := c.Job(ctx, ref)
	switch {
	case err != nil:
		return aboutJob(ref, err)
	case a.flags.json:
		return a.printJSON(job.Raw)
	}
	reasons, err := a.reasons(ctx, c, job)
	if err != nil {
		return aboutJob(ref, err)
	}
	return a.printJob(job, reasons)
}

// reasons says why a queued job waits. A server that does not tell is no mistake of who asks.
func (a *app) reasons(ctx context.Context, c *client.Client, job client.Job) ([][2]string, error) {
	if job.State != "queued" {
		return nil, nil
	}
	history, err := c.JobEvents(ctx, client.Number(job.Number))
	if _, refused := errors.AsType[*client.Error](err); refused || err == nil && history.Waiting == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return a.waitingLines(history.Waiting), nil
}

func (a *app) printJob(job client.Job, reasons [][2]string) error {
	lines := slices.Concat([][2]string{
		{"job", strconv.FormatInt(job.Number, 10)},
		{"name", job.Name},
		{"status", string(job.Status)},
		{"state", job.State},
		{currentTitle(job), doing(job.Substatus, job.SubstatusText)},
	}, reasons, [][2]string{
		{"how it ended", describeEnd(job)},
		{"owner", job.Owner},
		{"label", job.Label},
		{"project", job.Project},
		{"application", strings.TrimSpace(job.Application + " " + job.Command)},
		{"image", job.Image},
		{"machine", fmt.Sprintf("%s, %s", job.Machine, nodes(job.Nodes))},
		{"submitted", a.moment(job.Submitted)},
		{"started", a.moment(job.Started)},
		{"ended", a.moment(job.Ended)},
		{"walltime", a.elapsed(job)},
	})
	return a.printLines(lines)
}

// currentTitle is the word before what a job waits for or does.
func currentTitle(job client.Job) string {
	if job.Started.IsZero() {
		return "waits for"
	}
	return "now"
}

// elapsed is how long a job ran or has been running, "" for one that never ran.
func (a *app) elapsed(job client.Job) string {
	switch {
	case job.Started.IsZero():
		return ""
	case job.Ended.IsZero():
		return clock(a.now().Sub(job.Started))
	default:
		return clock(ran(job))
	}
}

func nodes(n int) string {
	if n = cmp.Or(n, 1); n == 1 {
		return "1 node"
	}
	return fmt.Sprintf("%d nodes", n)
}
