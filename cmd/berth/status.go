package main

import (
	"cmp"
	"context"
	"fmt"
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
		RunE: a.runE(func(ctx context.Context, args []string) error {
			jobs, err := refs(args)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			for i, ref := range jobs {
				job, err := c.Job(ctx, ref)
				if err != nil {
					return aboutJob(ref, err)
				}
				if err := a.showJob(job, i > 0); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func (a *app) showJob(job client.Job, another bool) error {
	if a.flags.json {
		return a.printJSON(job.Raw)
	}
	if another {
		fmt.Fprintln(a.stdout)
	}
	return a.printJob(job)
}

func (a *app) printJob(job client.Job) error {
	lines := [][2]string{
		{"job", strconv.FormatInt(job.Number, 10)},
		{"name", job.Name},
		{"status", string(job.Status)},
		{"state", job.State},
		{currentTitle(job), doing(job.Substatus, job.SubstatusText)},
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
	}
	for _, line := range lines {
		if value := clean(line[1]); value != "" {
			if _, err := fmt.Fprintf(a.stdout, "%-13s %s\n", line[0], value); err != nil {
				return err
			}
		}
	}
	return nil
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
