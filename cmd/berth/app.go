package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

// Exit codes. wait and everything that follows a job exit with the job's code instead.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// app is one run of the program. Everything that it touches outside of the server is in its fields.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	// terminal says that a person watches stderr.
	terminal bool
	now      func() time.Time
	location *time.Location
	version  string
	// backoff is the first pause of the client between attempts; 0 is the client's default.
	backoff time.Duration

	flags globalFlags
	// started is set when a verb runs: what fails before is wrong usage.
	started bool
}

// globalFlags are the flags of every verb.
type globalFlags struct {
	url, user, apikey, credentials string
	json, quiet                    bool
}

// run carries out one command line and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.rootCommand() //nolint:contextcheck // cobra hands ctx to the verbs
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	command, err := root.ExecuteContextC(ctx)
	if code, ok := errors.AsType[exitCode](err); ok {
		return int(code)
	}
	if err == nil {
		return exitOK
	}
	if _, ok := errors.AsType[*usageError](err); ok || !a.started {
		line, _, _ := strings.Cut(err.Error(), "\n")
		fmt.Fprintf(a.stderr, "berth: %s (see: %s --help)\n", clean(line), command.CommandPath())
		return exitUsage
	}
	a.report(err)
	switch {
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, errSettings):
		return exitUsage
	default:
		return exitError
	}
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "berth",
		Short: "Submit jobs to a berth server, follow them, suspend and end them, manage images, applications and accounts",
		Long: `berth submits containerised jobs to a berth server, follows them, suspends and ends them, and manages the server's images,
applications, queues, accounts and machine types.

A JOB is a job's number or its name. Where the server is and who asks is taken from, in this order:
  --url, --user, --apikey
  --credentials FILE                       the file "credentials" in the data directory of berthd
  BERTH_URL, BERTH_USER, BERTH_APIKEY
  JARVICE_API_URL, JARVICE_USER, JARVICE_API_KEY
  ~/.config/berth/config.yaml              url, user, apikey
  ~/.jarvice.cfg                           [auth] url, username, apikey

Exit codes: 0 all went well, 1 it did not, 2 wrong usage, 130 interrupted. wait, tail -f, and batch, submit and app run
with -f or --wait exit with the job's own code: 0 only when it was COMPLETED.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE:          func(cmd *cobra.Command, args []string) error { return group(cmd, args) },
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.flags.url, "url", "", "address of the server, such as http://127.0.0.1:8080")
	flags.StringVar(&a.flags.user, "user", "", "name of the account")
	flags.StringVar(&a.flags.apikey, "apikey", "", "API key of the account (others on this machine can see it; better in BERTH_APIKEY)")
	flags.StringVar(&a.flags.credentials, "credentials", "", "file with lines BERTH_URL=, BERTH_USER= and BERTH_APIKEY=")
	flags.BoolVar(&a.flags.json, "json", false, "print JSON as the server sent it")
	flags.BoolVarP(&a.flags.quiet, "quiet", "q", false, "no progress and no notes on stderr, only errors")
	root.AddCommand(
		a.batchCommand(), a.submitCommand(), a.applicationCommand(),
		a.statusCommand(), a.jobsCommand(), a.tailCommand(), a.outputCommand(), a.waitCommand(),
		a.eventsCommand(), a.infoCommand(), a.metricsCommand(),
		a.connectCommand(), a.shellCommand(), a.screenshotCommand(),
		a.signalCommand(), a.actionCommand(), a.endCommand("shutdown"), a.endCommand("terminate"),
		a.machinesCommand(), a.queuesCommand(), a.vaultCommand(), a.sshKeyCommand(), a.imageCommand(), a.adminCommand(),
		a.versionCommand(),
	)
	return root
}

// group is what a command does that only has commands below it.
func group(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unknown command %q for %q", args[0], cmd.CommandPath())
	}
	return cmd.Help()
}

// verb is what a command does, after its arguments were found right.
type verb func(ctx context.Context, args []string) error

func (a *app) runE(v verb) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.started = true
		return v(cmd.Context(), args)
	}
}

// withClient is runE for a verb that asks the server.
func (a *app) withClient(v func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return a.runE(func(ctx context.Context, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		return v(ctx, c, args)
	})
}

// withJob is runE for a verb about one job, the first argument; rest are the others.
func (a *app) withJob(v func(ctx context.Context, c *client.Client, ref client.Ref, rest []string) error) func(*cobra.Command, []string) error {
	return a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		ref, err := client.ParseRef(args[0])
		if err != nil {
			return err
		}
		return v(ctx, c, ref, args[1:])
	})
}

// withJobs is runE for a verb about the jobs that its arguments name.
func (a *app) withJobs(v func(ctx context.Context, c *client.Client, jobs []client.Ref) error) func(*cobra.Command, []string) error {
	return a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		jobs, err := refs(args)
		if err != nil {
			return err
		}
		return v(ctx, c, jobs)
	})
}

// client returns a client of the configured server.
func (a *app) client() (*client.Client, error) {
	s, err := a.settings()
	if err != nil {
		return nil, err
	}
	return a.connect(s)
}

// openClient returns a client for what the server tells everybody, with whatever account is set.
func (a *app) openClient() (*client.Client, error) {
	s, err := a.settings()
	if err != nil && s.url == "" {
		return nil, err
	}
	return a.connect(s)
}

func (a *app) connect(s settings) (*client.Client, error) {
	c, err := client.New(client.Config{
		URL: s.url, Username: s.user, APIKey: s.apikey, UserAgent: "berth/" + a.version, Backoff: a.backoff,
	})
	if err != nil {
		return nil, &settingsError{err.Error()}
	}
	return c, nil
}

// note tells a person something beside the result.
func (a *app) note(format string, args ...any) {
	if !a.flags.quiet {
		fmt.Fprintln(a.stderr, clean(fmt.Sprintf(format, args...)))
	}
}

// say prints a line of the result.
func (a *app) say(format string, args ...any) {
	fmt.Fprintln(a.stdout, clean(fmt.Sprintf(format, args...)))
}

// report prints an error in its one line.
func (a *app) report(err error) {
	fmt.Fprintln(a.stderr, "berth: "+a.explain(err))
}

// printJSON writes a value as indented JSON. A json.RawMessage keeps its order and its numbers.
func (a *app) printJSON(value any) error {
	encoder := json.NewEncoder(a.stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
