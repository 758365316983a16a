package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

func (a *app) waitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "wait JOB...",
		Short: "Wait for the end of jobs and exit with their exit code",
		Long: `wait returns when all the jobs have ended and says on stderr how each of them ended. It exits with the job's exit code; with
several jobs, with the first in the order of the arguments that is not 0. A job that was not COMPLETED never gives 0.`,
		Args:              someJobs,
		ValidArgsFunction: a.completeJobs(false),
		RunE: a.withJobs(func(ctx context.Context, c *client.Client, jobs []client.Ref) error {
			code := 0
			for _, ref := range jobs {
				job, err := a.await(ctx, c, ref)
				if err != nil {
					return detached(ref, err)
				}
				if a.flags.json {
					if err := a.printJSON(job.Raw); err != nil {
						return err
					}
				}
				a.note("%s", summary(job))
				if code == 0 {
					code = job.ExitCode()
				}
			}
			return withCode(code)
		}),
	}
}

// endCommand makes the verbs shutdown and terminate.
func (a *app) endCommand(verb string) *cobra.Command {
	cmd := &cobra.Command{
		Use:               verb + " JOB...",
		Short:             "End jobs gracefully: they may finish what they do; a queued job is canceled",
		Args:              someJobs,
		ValidArgsFunction: a.completeJobs(false),
	}
	request, answer := (*client.Client).Shutdown, "shutdown requested"
	if verb == "terminate" {
		cmd.Short = "End jobs at once, in whatever state they are"
		request, answer = (*client.Client).Terminate, "terminated"
	}
	cmd.RunE = a.withJobs(func(ctx context.Context, c *client.Client, jobs []client.Ref) error {
		return a.endJobs(jobs, answer, func(ref client.Ref) error { return request(c, ctx, ref) })
	})
	return cmd
}

// endJobs asks for the end of every job, also when one of them refuses, and returns the last error.
func (a *app) endJobs(jobs []client.Ref, answer string, end func(client.Ref) error) error {
	var last error
	for _, ref := range jobs {
		err := end(ref)
		switch {
		case err != nil:
			if last != nil {
				a.report(last)
			}
			last = a.notNow(ref, err, "it has ended already: berth status %s", ref)
		case a.flags.json:
			if err := a.printJSON(map[string]string{"job": ref.String(), "status": answer}); err != nil {
				return err
			}
		default:
			a.say("job %s: %s", ref, answer)
		}
	}
	return last
}
