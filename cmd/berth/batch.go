package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

// batchFlags are what a person says about a batch job.
type batchFlags struct {
	image, pullSecret, line string
	job                     jobFlags
}

func (a *app) batchCommand() *cobra.Command {
	var f batchFlags
	cmd := &cobra.Command{
		Use:   "batch --image REF [flags] (SCRIPT-FILE | - | -c 'shell line' | -- command args...)",
		Short: "Submit a job that runs a script or a command in an image",
		Long: `batch submits a job and prints "job NUMBER NAME". A script that starts with #! is executed, any other is run by /bin/sh.

With -f it shows on stderr what the job waits for, prints its output on stdout as it is written, byte for byte, and exits with
the job's exit code. Ctrl-C then leaves the job running.`,
		Example: `  berth batch --image local/tools:latest -c 'hostname && nproc'
  berth batch --image local/tools:latest --machine n1 --walltime 01:00:00 -f train.sh
  berth batch --image local/tools:latest -- ffmpeg -i /data/in.mp4 /data/out.mp4`,
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error { return f.check(a, cmd, args) }
	cmd.RunE = a.runE(func(ctx context.Context, args []string) error {
		submission, err := a.batchSubmission(f, args, cmd.ArgsLenAtDash())
		if err != nil {
			return err
		}
		return a.submit(ctx, f.job.then, func(c *client.Client, key string) (client.Submitted, error) {
			submission.IdempotencyKey = key
			return c.Batch(ctx, submission)
		})
	})
	flags := cmd.Flags()
	flags.StringVar(&f.image, "image", "", "image that the job runs in (required)")
	flags.StringVar(&f.pullSecret, "pull-secret", "", "file with the credentials for the image's registry, such as ~/.docker/config.json")
	flags.StringVarP(&f.line, "command", "c", "", "line for the shell")
	f.job.register(a, cmd)
	_ = cmd.RegisterFlagCompletionFunc("image", a.completeImages())
	return cmd
}

// check finds command lines that cannot be meant.
func (f *batchFlags) check(a *app, cmd *cobra.Command, args []string) error {
	dash, line := cmd.ArgsLenAtDash(), cmd.Flags().Changed("command")
	switch {
	case f.image == "":
		return usagef("--image is missing: which image the job runs in")
	case line && len(args) > 0:
		return usagef("-c and %q say both what to run: leave one out", args[0])
	case line && f.line == "":
		return usagef("-c has nothing to run")
	case !line && len(args) == 0:
		return usagef("what to run is missing: a SCRIPT-FILE, - for stdin, -c 'shell line', or -- command args...")
	case f.job.password && len(args) == 1 && dash < 0 && args[0] == "-":
		return usagef("the script and the password cannot both be on stdin")
	case dash > 0, dash < 0 && len(args) > 1:
		return usagef("put -- in front of a command with arguments, and nothing before it")
	}
	return f.job.check(a)
}

func (a *app) batchSubmission(f batchFlags, args []string, dash int) (client.Submission, error) {
	script, err := a.batchScript(f, args, dash)
	if err != nil {
		return client.Submission{}, err
	}
	secret, err := a.pullSecret(f.pullSecret)
	if err != nil {
		return client.Submission{}, err
	}
	submission, err := f.job.submission(a)
	if err != nil {
		return client.Submission{}, err
	}
	submission.Container = &client.Container{Image: f.image, JobScript: client.EncodeScript(script), PullSecret: secret}
	return submission, nil
}

// batchScript returns the text that the job runs.
func (a *app) batchScript(f batchFlags, args []string, dash int) (string, error) {
	switch {
	case len(args) == 0:
		return f.line, nil
	case dash == 0:
		return client.QuoteArgs(args), nil
	}
	text, err := a.readInput(args[0])
	switch {
	case err != nil:
		return "", hintf(err, "to run a command instead of a script: -- %s, or -c", args[0])
	case len(bytes.TrimSpace(text)) == 0:
		return "", fmt.Errorf("script %s is empty", args[0])
	case !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0:
		return "", hintf(fmt.Errorf("%s is no text", args[0]), "a program has to be in the image or in the vault")
	}
	return string(text), nil
}

// pullSecret reads the registry credentials from a file: a Docker configuration, or base64 of one.
func (a *app) pullSecret(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	text, err := a.readInput(path)
	if err != nil {
		return "", err
	}
	text = bytes.TrimSpace(text)
	if bytes.HasPrefix(text, []byte{'{'}) {
		return base64.StdEncoding.EncodeToString(text), nil
	}
	if _, err := base64.StdEncoding.DecodeString(string(text)); err != nil || len(text) == 0 {
		return "", fmt.Errorf("%s holds neither a Docker configuration nor base64 of one", path)
	}
	return string(text), nil
}
