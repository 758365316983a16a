package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

func (a *app) eventsCommand() *cobra.Command {
	var follow, all bool
	cmd := &cobra.Command{
		Use:   "events [JOB]",
		Short: "Show what happened to a job and why it waits, or with -f what happens to your jobs as it happens",
		Long: `events shows what happened to a job, and for a queued one its place in the queue, what keeps it from starting, and when it starts at
the latest.

With -f it goes on until the job has ended; without a JOB it shows what happens to your jobs from now on, until Ctrl-C. It goes
on over restarts of the server, and misses nothing. With -f --json each event is one line.`,
		Example: `  berth events 12
  berth events -f
  berth events -f --all --json | jq -r 'select(.kind == "ended") | .number'`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return usagef("give at most one JOB")
			case len(args) == 0 && !follow:
				return usagef("give a JOB, its number or its name, or --follow for what happens to your jobs")
			case all && (len(args) > 0 || !follow):
				return usagef("--all goes with --follow and without a JOB")
			}
			_, err := refs(args)
			return err
		},
		ValidArgsFunction: positions(a.completeJobs(true)),
	}
	flags := cmd.Flags()
	flags.BoolVarP(&follow, "follow", "f", false, "go on as it happens")
	flags.BoolVar(&all, "all", false, "with --follow, every job that you may see, not only your own")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		if len(args) == 0 {
			return a.followEvents(ctx, c, client.EventsFilter{All: all})
		}
		ref, err := client.ParseRef(args[0])
		if err != nil {
			return err
		}
		history, err := c.JobEvents(ctx, ref)
		switch {
		case err != nil:
			return aboutJob(ref, err)
		case follow:
			return aboutJob(ref, a.followHistory(ctx, c, history))
		case a.flags.json:
			return a.printJSON(history.Raw)
		}
		return a.printHistory(history)
	})
	return cmd
}

func (a *app) printHistory(history client.History) error {
	for _, event := range history.Events {
		a.say("%s  %s", a.moment(event.At), describeEvent(event))
	}
	if history.Waiting == nil {
		return nil
	}
	a.say("")
	return a.printLines(a.waitingLines(history.Waiting))
}

// waitingLines say why a queued job waits.
func (a *app) waitingLines(w *client.Waiting) [][2]string {
	lines := [][2]string{{"position", fmt.Sprintf("%d in the queue", w.Position)}}
	for _, blocker := range w.Blockers {
		lines = append(lines, [2]string{"held back by", describeBlocker(blocker)})
	}
	return append(lines, [2]string{"starts by", a.moment(w.EstimatedStart)})
}

func describeBlocker(blocker client.Blocker) string {
	switch {
	case blocker.Detail != "": // it names the job
		return blocker.Detail
	case blocker.Number != 0:
		return fmt.Sprintf("job %d", blocker.Number)
	default:
		return blocker.Kind
	}
}

// followHistory shows what happened to a job and then what happens, until it has ended.
func (a *app) followHistory(ctx context.Context, c *client.Client, history client.History) error {
	for _, event := range history.Events {
		if err := a.printEvent(event); err != nil {
			return err
		}
	}
	if history.Status.Ended() {
		return nil
	}
	return a.followEvents(ctx, c, client.EventsFilter{Number: history.Number, After: history.LastID()})
}

// followEvents shows what happens, until the one job has ended that it is about, or else until ctx ends.
func (a *app) followEvents(ctx context.Context, c *client.Client, filter client.EventsFilter) error {
	events := c.Events(ctx, filter)
	defer events.Close()
	for event, err := range events.All() {
		if err != nil {
			return err
		}
		if err := a.printEvent(event); err != nil {
			return err
		}
		if filter.Number != 0 && event.Final() {
			break
		}
	}
	return nil
}

func (a *app) printEvent(event client.Event) error {
	if a.flags.json {
		return a.printLine(event.Raw)
	}
	_, err := fmt.Fprintf(a.stdout, "%s  job %d  %s\n", event.At.In(a.location).Format(time.DateTime), event.Number, clean(describeEvent(event)))
	return err
}

// describeEvent says what happened, in the words of a person.
func describeEvent(event client.Event) string {
	switch event.Kind {
	case "submitted":
		return "submitted" + by(event.By)
	case "placed":
		return "got its resources"
	case "waiting":
		if event.Wait == "" {
			return withDetail("waits no more", event.Detail)
		}
		return withDetail("waits for "+event.Wait, event.Detail)
	case "stop-requested":
		return "shutdown requested" + by(event.By)
	case "terminate-requested":
		return "terminate requested" + by(event.By)
	case "signaled":
		return signalTitle(event.Signal) + " sent" + by(event.By)
	case "action-requested":
		return fmt.Sprintf("action %s started%s", event.Detail, by(event.By))
	case "ended":
		return describeExit(event)
	case "staging":
		return describeExit(event) + "; data is copied back"
	case "staged":
		return withDetail("data was copied back", event.Detail)
	default: // started, stopping, refused, and what later servers know
		return withDetail(event.Kind, event.Detail)
	}
}

func describeExit(event client.Event) string {
	exit := event.Exit
	switch {
	case exit == nil:
		return withDetail("ended: "+event.State, event.Detail)
	case exit.Node != "":
		return withDetail("ended, because its node "+exit.Node+" ended", exit.Detail)
	case !exit.Known:
		return withDetail("ended, and how could not be learned", exit.Detail)
	case !exit.Ran:
		return withDetail("ended before its command ran", exit.Detail)
	case exit.OutOfMemory:
		return withDetail("the kernel ended it: its memory was used up", exit.Detail)
	case exit.Signal != 0:
		return withDetail("ended by "+signalTitle(exit.Signal), exit.Detail)
	default:
		return withDetail(fmt.Sprintf("ended with exit code %d", exit.Code), exit.Detail)
	}
}
