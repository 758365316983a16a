package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

func (a *app) jobsCommand() *cobra.Command {
	var filter client.JobsFilter
	var project string
	var team bool
	cmd := &cobra.Command{
		Use:   "jobs",
		Short: "List jobs: those that have not ended, unless --all or --completed says otherwise",
		Example: `  berth jobs
  berth jobs --all --label night
  berth jobs --team`,
		Args: cobra.NoArgs,
		RunE: a.withClient(func(ctx context.Context, c *client.Client, _ []string) error {
			list := c.Jobs
			if team {
				list = c.TeamJobs
			}
			jobs, err := list(ctx, filter)
			if err != nil {
				return err
			}
			if project != "" {
				jobs = slices.DeleteFunc(jobs, func(job client.JobEntry) bool { return job.Project != project })
			}
			if a.flags.json {
				return a.printJSON(byNumber(jobs))
			}
			return a.printJobs(jobs, team)
		}),
	}
	flags := cmd.Flags()
	flags.BoolVar(&filter.All, "all", false, "ended jobs too")
	flags.BoolVar(&filter.Completed, "completed", false, "only jobs that have ended, however")
	flags.StringVar(&filter.Label, "label", "", "only jobs whose label contains this")
	flags.StringVar(&project, "project", "", "only jobs of this project")
	flags.BoolVar(&team, "team", false, "jobs of the whole team, for those who may see them; for administrators everybody's")
	cmd.MarkFlagsMutuallyExclusive("all", "completed")
	return cmd
}

func (a *app) printJobs(jobs []client.JobEntry, owners bool) error {
	rows := [][]string{{"NUMBER", "NAME", "STATUS", "WAITS FOR", "MACHINE", "SUBMITTED", "TIME"}}
	for _, job := range jobs {
		rows = append(rows, []string{
			strconv.FormatInt(job.Number, 10),
			job.Name,
			string(job.Status),
			doing(job.Substatus, job.SubstatusText),
			machine(job),
			a.moment(job.Submitted()),
			a.runtime(job),
		})
	}
	if owners {
		rows[0] = slices.Insert(rows[0], 1, "OWNER")
		for i, job := range jobs {
			rows[i+1] = slices.Insert(rows[i+1], 1, job.Owner)
		}
	}
	return table(a.stdout, rows)
}

func machine(job client.JobEntry) string {
	asked := job.Submission.Machine
	if asked.Nodes > 1 {
		return fmt.Sprintf("%s x %d", asked.Type, asked.Nodes)
	}
	return asked.Type
}

// runtime is how long a job ran or has been running.
func (a *app) runtime(job client.JobEntry) string {
	started, ended := job.Started(), job.Ended()
	switch {
	case started.IsZero():
		return ""
	case job.Walltime != "":
		return job.Walltime
	case ended.IsZero():
		return clock(a.now().Sub(started))
	default:
		return clock(ended.Sub(started))
	}
}

// byNumber writes the server's entries as the server does, an object from number to job, and in the order of the numbers.
type byNumber []client.JobEntry

// MarshalJSON keeps each entry as it came.
func (jobs byNumber) MarshalJSON() ([]byte, error) {
	object := []byte{'{'}
	for i, job := range jobs {
		if i > 0 {
			object = append(object, ',')
		}
		object = strconv.AppendQuote(object, strconv.FormatInt(job.Number, 10))
		object = append(object, ':')
		object = append(object, job.Raw...)
	}
	return append(object, '}'), nil
}

var _ json.Marshaler = byNumber(nil)
