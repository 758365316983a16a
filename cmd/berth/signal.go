package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

// signalNames are the names of the signals 1 to 31 inside of a job, which is Linux wherever this program runs.
var signalNames = strings.Fields(`HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP
	TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS`)

// lastSignal is the greatest signal, a real-time one without a name.
const lastSignal = 64

// parseSignal reads a signal's number or name; SIGUSR1, USR1 and usr1 are the same.
func parseSignal(text string) (int, error) {
	if number, err := strconv.Atoi(text); err == nil && number >= 1 && number <= lastSignal {
		return number, nil
	}
	name := strings.TrimPrefix(strings.ToUpper(text), "SIG")
	if at := slices.Index(signalNames, name); at >= 0 {
		return at + 1, nil
	}
	return 0, usagef("%q is no signal: give a number from 1 to %d, or a name such as TSTP, CONT or USR1", text, lastSignal)
}

// signalTitle is a signal for people.
func signalTitle(signal int) string {
	if signal < 1 || signal > len(signalNames) {
		return fmt.Sprintf("signal %d", signal)
	}
	return fmt.Sprintf("signal %d (%s)", signal, signalNames[signal-1])
}

func (a *app) signalCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "signal JOB [SIGNAL]",
		Short: "Send a signal to the application of a running job; TSTP suspends it, CONT lets it go on",
		Long: `signal sends a signal to all processes of a running job's application, and says which process leads them, as numbered in the job.
SIGNAL is a number from 1 to 64 or a name, with or without SIG; TSTP when there is none. A job that got TSTP or STOP is shown as
suspended until it gets CONT; a suspended job keeps its resources.`,
		Example: `  berth signal 12            suspend
  berth signal 12 CONT       go on
  berth signal 12 SIGUSR1`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 || len(args) > 2 {
				return usagef("give one JOB, its number or its name, and at most one SIGNAL")
			}
			if _, err := refs(args[:1]); err != nil || len(args) == 1 {
				return err
			}
			_, err := parseSignal(args[1])
			return err
		},
		ValidArgsFunction: positions(a.completeJobs(false), cobra.FixedCompletions(signalNames, cobra.ShellCompDirectiveNoFileComp)),
		RunE: a.withJob(func(ctx context.Context, c *client.Client, ref client.Ref, rest []string) error {
			signal := client.SignalSuspend
			if len(rest) > 0 {
				signal, _ = parseSignal(rest[0]) // it was read before
			}
			answer, err := c.Signal(ctx, ref, signal)
			if err != nil {
				return a.notNow(ref, uncertain(err, "it may have arrived: berth events %s", ref), "only running jobs take signals: berth status %s", ref)
			}
			return a.printSignaled(ref, signal, answer)
		}),
	}
}

func (a *app) printSignaled(ref client.Ref, signal int, answer client.Signaled) error {
	switch {
	case a.flags.json:
		return a.printJSON(answer.Raw)
	case answer.PID != 0:
		a.say("job %s: %s sent to process %d", ref, signalTitle(signal), answer.PID)
	default: // the image has its own program for signals
		a.say("job %s: %s: %s", ref, signalTitle(signal), bytes.TrimSpace(answer.Raw))
	}
	return nil
}

func (a *app) actionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "action JOB NAME",
		Short: "Start an action of a running job's application, one of those that info lists",
		Long: `action starts an action in a running job and does not wait for its end. What the action prints is in the job's output.
berth info JOB lists the actions.`,
		Example: `  berth action 12 checkpoint`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 || args[1] == "" {
				return usagef("give one JOB, its number or its name, and the NAME of an action")
			}
			_, err := refs(args[:1])
			return err
		},
		ValidArgsFunction: positions(a.completeJobs(false), a.completeActions),
		RunE: a.withJob(func(ctx context.Context, c *client.Client, ref client.Ref, rest []string) error {
			if err := c.Action(ctx, ref, rest[0]); err != nil {
				return a.notNow(ref, uncertain(err, "it may have been started: berth events %s", ref), "only running jobs have actions: berth status %s", ref)
			}
			const status = "action requested"
			if a.flags.json {
				return a.printJSON(map[string]string{"job": ref.String(), "action": rest[0], "status": status})
			}
			a.say("job %s: %s", ref, status)
			return nil
		}),
	}
}

func (a *app) infoCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "info JOB",
		Short:             "Show what a running job says about itself: its address and its actions",
		Example:           `  berth info 12`,
		Args:              oneJob,
		ValidArgsFunction: positions(a.completeJobs(false)),
		RunE: a.withJob(func(ctx context.Context, c *client.Client, ref client.Ref, _ []string) error {
			info, err := c.Info(ctx, ref)
			if err != nil {
				return a.notNow(ref, err, "only running jobs say something: berth status %s", ref)
			}
			if a.flags.json {
				return a.printJSON(info.Raw)
			}
			lines := [][2]string{
				{"url", info.URL}, {"address", info.Address}, {"password", info.Password}, {"about", info.About}, {"help", info.Help},
			}
			for _, name := range slices.Sorted(maps.Keys(info.Actions)) {
				lines = append(lines, [2]string{"action", withDetail(name, info.Actions[name].Description)})
			}
			return a.printLines(lines)
		}),
	}
}

func (a *app) metricsCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "metrics JOB",
		Short:             "Show how much of their cores and memory the nodes of a running job use",
		Example:           `  berth metrics 12`,
		Args:              oneJob,
		ValidArgsFunction: positions(a.completeJobs(false)),
		RunE: a.withJob(func(ctx context.Context, c *client.Client, ref client.Ref, _ []string) error {
			metrics, err := c.Metrics(ctx, ref)
			if err != nil {
				return a.notNow(ref, err, "only running jobs are measured, every few seconds: berth status %s", ref)
			}
			if a.flags.json {
				return a.printJSON(metrics.Raw)
			}
			rows := [][]string{{"NODE", "CPU", "MEMORY", "OF", "MEASURED"}}
			for i, node := range metrics.Nodes {
				rows = append(rows, []string{
					strconv.Itoa(i + 1), fmt.Sprintf("%d%%", node.CPUPercent), memory(node.MemoryUsed), memory(node.MemoryTotal),
					a.moment(node.Sampled),
				})
			}
			return table(a.stdout, rows)
		}),
	}
}

// printLine writes a JSON value in one line.
func (a *app) printLine(raw json.RawMessage) error {
	var line bytes.Buffer
	if err := json.Compact(&line, raw); err != nil {
		return err
	}
	line.WriteByte('\n')
	_, err := a.stdout.Write(line.Bytes())
	return err
}
