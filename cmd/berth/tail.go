package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

// tailLines is how many lines tail shows unless told, as the API does.
const tailLines = 100

func (a *app) tailCommand() *cobra.Command {
	var follow bool
	var lines int
	cmd := &cobra.Command{
		Use:   "tail JOB",
		Short: "Print the last lines of a running job's output, or follow it with -f",
		Long: `tail prints the last lines of a running job's output.

With -f it prints the output from its beginning (or its last lines with -n) and then as it is written, waits for a job that
has not started, and ends with the job, with the job's exit code. Ctrl-C leaves the job running.`,
		Args:              oneJob,
		ValidArgsFunction: a.completeJobs(false),
	}
	flags := cmd.Flags()
	flags.BoolVarP(&follow, "follow", "f", false, "go on until the job has ended")
	flags.IntVarP(&lines, "lines", "n", tailLines, "how many lines, 0 is all (with -f: all, unless given)")
	cmd.RunE = a.runE(func(ctx context.Context, args []string) error {
		ref, c, err := a.forOutput(args)
		switch {
		case err != nil:
			return err
		case lines < 0:
			return usagef("--lines cannot be negative")
		case follow && (!flags.Changed("lines") || lines == 0):
			return a.follow(ctx, c, ref, 0)
		case follow:
			return a.followTail(ctx, c, ref, lines)
		}
		text, err := c.Tail(ctx, ref, lines)
		if err != nil {
			return a.notNow(ref, err, "only running jobs have a tail; follow it: berth tail -f %s; read it after its end: berth output %s", ref, ref)
		}
		_, err = a.stdout.Write(text)
		return err
	})
	return cmd
}

func (a *app) outputCommand() *cobra.Command {
	var lines int
	cmd := &cobra.Command{
		Use:               "output JOB",
		Short:             "Print the output of a job that has ended, byte for byte",
		Args:              oneJob,
		ValidArgsFunction: a.completeJobs(true),
	}
	cmd.Flags().IntVarP(&lines, "lines", "n", client.AllLines, "only the last lines, 0 is all")
	cmd.RunE = a.runE(func(ctx context.Context, args []string) error {
		ref, c, err := a.forOutput(args)
		switch {
		case err != nil:
			return err
		case lines < 0:
			return usagef("--lines cannot be negative")
		case lines == client.AllLines:
			return a.copyOutput(ctx, c, ref)
		}
		text, err := c.Output(ctx, ref, lines)
		if err != nil {
			return a.notNow(ref, err, "read what is there: berth tail %s; wait for its end: berth wait %s", ref, ref)
		}
		_, err = a.stdout.Write(text)
		return err
	})
	return cmd
}

// forOutput returns what the verbs about output need.
func (a *app) forOutput(args []string) (client.Ref, *client.Client, error) {
	if a.flags.json {
		return client.Ref{}, nil, usagef("the output of a job is no JSON: leave --json out")
	}
	ref, err := client.ParseRef(args[0])
	if err != nil {
		return client.Ref{}, nil, err
	}
	c, err := a.client()
	return ref, c, err
}

// copyOutput prints all the bytes of an ended job's output.
func (a *app) copyOutput(ctx context.Context, c *client.Client, ref client.Ref) error {
	job, err := c.Job(ctx, ref)
	if err != nil {
		return aboutJob(ref, err)
	}
	if !job.Status.Ended() {
		return hintf(aboutJob(ref, errors.New("it has not ended")),
			"read what is there: berth tail %s; wait for its end: berth wait %s", ref, ref)
	}
	output := c.OpenOutput(ctx, client.Number(job.Number), 0)
	_, err = io.Copy(a.stdout, output)
	return aboutJob(ref, errors.Join(err, output.Close()))
}

// followTail prints the last lines of what is there, and then what is written.
func (a *app) followTail(ctx context.Context, c *client.Client, ref client.Ref, lines int) error {
	present := c.OpenOutput(ctx, ref, 0)
	tail, err := lastLines(present, lines)
	offset := present.Offset()
	if err = errors.Join(err, present.Close()); err != nil {
		return detached(ref, err)
	}
	if _, err := a.stdout.Write(tail); err != nil {
		return err
	}
	return a.follow(ctx, c, ref, offset)
}

// lastLines reads r to its end and returns its last lines; a last line without line end counts.
func lastLines(r io.Reader, lines int) ([]byte, error) {
	var kept []byte
	chunk := make([]byte, 64<<10)
	for trimAt := 1 << 20; ; {
		n, err := r.Read(chunk)
		kept = append(kept, chunk[:n]...)
		if len(kept) > trimAt {
			kept = bytes.Clone(kept[lastLinesStart(kept, lines):])
			trimAt = 2*len(kept) + 1<<20 // so that trimming costs no more than reading
		}
		switch {
		case errors.Is(err, io.EOF):
			return kept[lastLinesStart(kept, lines):], nil
		case err != nil:
			return nil, err
		}
	}
}

func lastLinesStart(text []byte, lines int) int {
	end := len(bytes.TrimSuffix(text, []byte{'\n'}))
	for range lines {
		end = bytes.LastIndexByte(text[:end], '\n')
		if end < 0 {
			return 0
		}
	}
	return end + 1
}

// notNow says for a job that is there what to do instead; the server answers the wrong moment and the wrong job alike.
func (a *app) notNow(ref client.Ref, err error, format string, args ...any) error {
	if refused, ok := errors.AsType[*client.Error](err); ok && refused.StatusCode == http.StatusNotFound &&
		refused.Message != "Not found" && refused.Message != "Job not found" {
		return hintf(aboutJob(ref, err), format, args...)
	}
	return aboutJob(ref, err)
}
