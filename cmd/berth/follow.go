package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/berth-hpc/berth/client"
)

// follow shows a job's changes on stderr and its output from the offset on, to its end. It returns the job's exit code as an
// error. When ctx ends the job goes on.
func (a *app) follow(ctx context.Context, c *client.Client, ref client.Ref, offset int64) error {
	number, err := c.Resolve(ctx, ref)
	if err != nil {
		return detached(ref, err)
	}
	ref = client.Number(number)
	changes := a.newNotice()
	defer changes.close()

	watching, stopWatching := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() {
		// What fails here also fails where the output is read or the job is waited for, which says so.
		_, _ = watch(watching, c, ref, changes)
	})

	output := c.FollowOutput(ctx, ref, offset)
	_, err = io.Copy(changes.before(a.stdout), output)
	stopWatching()
	watcher.Wait()
	err = errors.Join(err, output.Close())
	if err == nil {
		return a.finish(ctx, c, ref)
	}
	return detached(ref, err)
}

// finish waits for the end of a job, says how it ended, and returns its exit code as an error.
func (a *app) finish(ctx context.Context, c *client.Client, ref client.Ref) error {
	job, err := a.await(ctx, c, ref)
	if err != nil {
		return detached(ref, err)
	}
	a.note("%s", summary(job))
	return withCode(job.ExitCode())
}

// await waits for the end of a job and shows on a terminal what it does until then.
func (a *app) await(ctx context.Context, c *client.Client, ref client.Ref) (client.Job, error) {
	if !a.terminal || a.flags.quiet {
		return c.Wait(ctx, ref)
	}
	changes := a.newNotice()
	defer changes.close()
	return watch(ctx, c, ref, changes)
}

// watch shows what a job waits for or does, until it has ended or ctx ends. It returns the job as it was at last.
func watch(ctx context.Context, c *client.Client, ref client.Ref, changes *notice) (client.Job, error) {
	var last client.Job
	shown := ""
	for job, err := range c.Watch(ctx, ref) {
		if err != nil {
			return job, err
		}
		if last = job; job.Status.Ended() {
			break
		}
		reason := doing(job.Substatus, job.SubstatusText)
		if job.State != "running" && job.Started.IsZero() {
			about := fmt.Sprintf("%s %s %d", job.State, job.Status, job.Substatus)
			changes.update(about, fmt.Sprintf("job %d: %s", job.Number, waiting(job, reason)))
			continue
		}
		if now := active(job, reason); now != shown {
			changes.line(fmt.Sprintf("job %d: %s", job.Number, now))
			shown = now
		}
	}
	return last, nil
}

func waiting(job client.Job, reason string) string {
	if reason == "" {
		return job.State
	}
	return job.State + ": " + reason
}

func active(job client.Job, reason string) string {
	if reason == "" {
		return job.State
	}
	return reason
}

// detached adds to an interruption that the job goes on.
func detached(ref client.Ref, err error) error {
	if errors.Is(err, context.Canceled) {
		return hintf(err, "job %s goes on; follow it again: berth tail -f %s; end it: berth shutdown %s", ref, ref, ref)
	}
	return aboutJob(ref, err)
}
