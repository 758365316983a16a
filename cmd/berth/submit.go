package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

// maxInput is more than the server takes for a submission; what is larger is a mistake.
const maxInput = 10 << 20

// afterwards says what to do with a submitted job.
type afterwards struct {
	key          string
	follow, wait bool
}

func (f *afterwards) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVarP(&f.follow, "follow", "f", false, "follow the job's status and output, and exit with its code; Ctrl-C leaves it running")
	flags.BoolVar(&f.wait, "wait", false, "wait for the end of the job and exit with its code")
	flags.StringVar(&f.key, "idempotency-key", "", "two submissions with one key are one job (for 24 hours); empty is a random one")
}

// check finds combinations that cannot be meant.
func (f *afterwards) check(a *app) error {
	switch {
	case a.flags.json && f.follow:
		return usagef("--json and --follow would mix on stdout: use --json --wait, or leave one out")
	case f.follow && f.wait:
		return usagef("--follow waits already: leave --wait out")
	default:
		return nil
	}
}

func (a *app) submitCommand() *cobra.Command {
	var then afterwards
	var password bool
	cmd := &cobra.Command{
		Use:   "submit FILE|-",
		Short: "Submit a job that is described as JSON, in a file or on stdin",
		Long: `submit sends a submission as the JARVICE API describes it. An object "user" in it is replaced by the configured account.
It prints "job NUMBER NAME", and below it the public key of a job that asks for one ("gen_sshkey": true).`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("give one FILE, or - for stdin")
			}
			if password && args[0] == "-" {
				return usagef("the submission and the password cannot both be on stdin")
			}
			return then.check(a)
		},
		RunE: a.runE(func(ctx context.Context, args []string) error {
			text, err := a.readInput(args[0])
			if err != nil {
				return err
			}
			if password {
				if text, err = a.addPassword(text); err != nil {
					return err
				}
			}
			return a.submit(ctx, then, func(c *client.Client, key string) (client.Submitted, error) {
				return c.SubmitJSON(ctx, text, key)
			})
		}),
	}
	cmd.Flags().BoolVar(&password, "vault-password-stdin", false, "read the password of its encrypted vault from stdin, or ask for it at a terminal")
	then.register(cmd)
	return cmd
}

// addPassword adds the password of its vault to a submission, which is then in no file.
func (a *app) addPassword(submission []byte) ([]byte, error) {
	var fields, vault map[string]json.RawMessage
	if err := json.Unmarshal(submission, &fields); err != nil {
		return nil, fmt.Errorf("submission is no JSON object: %w", err)
	}
	if err := json.Unmarshal(fields["vault"], &vault); err != nil || vault == nil {
		return nil, errors.New("--vault-password-stdin: the submission has no vault")
	}
	var name string
	_ = json.Unmarshal(vault["name"], &name) // what is wrong with it the server says
	password, err := a.readPassword(name, false)
	if err != nil {
		return nil, err
	}
	if vault["password"], err = json.Marshal(password); err != nil {
		return nil, fmt.Errorf("submission: %w", err)
	}
	if fields["vault"], err = json.Marshal(vault); err != nil {
		return nil, fmt.Errorf("submission: %w", err)
	}
	return json.Marshal(fields)
}

// submit sends a submission, prints the job, and does what was asked for afterwards.
func (a *app) submit(ctx context.Context, then afterwards, send func(*client.Client, string) (client.Submitted, error)) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	key := then.key
	if key == "" {
		key = rand.Text() // made here, so that an error can name it
	}
	submitted, err := send(c, key)
	switch {
	case err != nil && (client.NoAnswer(err) || errors.Is(err, context.Canceled)):
		return hintf(err, "it may have arrived; send it again with --idempotency-key %s, which makes no second job", key)
	case err != nil:
		return err
	}
	if err := a.printSubmitted(submitted, then.follow); err != nil || submitted.Number == 0 {
		return err
	}
	ref := client.Number(submitted.Number)
	switch {
	case then.follow:
		return a.follow(ctx, c, ref, 0)
	case then.wait:
		return a.finish(ctx, c, ref)
	}
	return nil
}

// printSubmitted prints the job on stdout, or on stderr when stdout is for the job's output.
func (a *app) printSubmitted(submitted client.Submitted, aside bool) error {
	if a.flags.json {
		return a.printJSON(submitted.Raw)
	}
	lines := []string{fmt.Sprintf("job %d %s", submitted.Number, submitted.Name)}
	if submitted.Number == 0 {
		lines[0] = "not submitted; it would be " + submitted.Name
	}
	if submitted.SSHPublicKey != "" {
		lines = append(lines, submitted.SSHPublicKey)
	}
	tell := a.say
	if aside {
		tell = a.note
	}
	for _, line := range lines {
		tell("%s", line)
	}
	return nil
}

// readInput reads a file, or stdin for "-".
func (a *app) readInput(path string) ([]byte, error) {
	source := a.stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		source = file
	}
	text, err := io.ReadAll(io.LimitReader(source, maxInput+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", path, err)
	case len(text) > maxInput:
		return nil, fmt.Errorf("%s is larger than 10 MiB", path)
	}
	return text, nil
}
