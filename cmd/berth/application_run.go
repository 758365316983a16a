package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
	"github.com/berth-hpc/berth/internal/appdef"
)

// runFlags are what a person says about a run of an application.
type runFlags struct {
	set      []string
	geometry string
	job      jobFlags
}

func (a *app) appRunCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run ID COMMAND [--set KEY=VALUE ...]",
		Short: "Submit a job that runs a command of an application",
		Long: `run submits a job and prints "job NUMBER NAME". berth app show ID lists the commands and their parameters. Parameters that are not
set have their defaults.

  --set KEY=VALUE   true and false are sent as booleans, everything else as text, which the server reads as what the parameter is
  --set KEY:=JSON   sent as it is: a number, a boolean, or a text in quotes, such as 'KEY:="@home"'
  --set KEY=@FILE   the content of a file, for a parameter that is an upload; - is stdin

-f follows the job as batch -f does.`,
		Example: `  berth app run numbers Run --set last=3 --set '-s=, ' -f
  berth app run solver Solve --set case=@wing.json --machine n1 --nodes 2 --vault results --walltime 01:00:00`,
		ValidArgsFunction: positions(a.completeApps(), a.completeAppCommands),
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := words("the ID of the application", "the COMMAND to run")(cmd, args); err != nil {
			return err
		}
		if _, err := parseSettings(f.set); err != nil {
			return err
		}
		return f.job.check(a)
	}
	cmd.RunE = a.runE(func(ctx context.Context, args []string) error {
		submission, err := a.appSubmission(f, args[0], args[1])
		if err != nil {
			return err
		}
		return a.submit(ctx, f.job.then, func(c *client.Client, key string) (client.Submitted, error) {
			submission.IdempotencyKey = key
			if err := knownParameters(ctx, c, submission); err != nil {
				return client.Submitted{}, err
			}
			submitted, err := c.Submit(ctx, submission)
			return submitted, about("application", args[0], err)
		})
	})
	cmd.Flags().StringArrayVar(&f.set, "set", nil, "value of a parameter, as KEY=VALUE, KEY:=JSON or KEY=@FILE; may be given often")
	cmd.Flags().StringVar(&f.geometry, "geometry", "", "size of the desktop, such as 1280x720")
	f.job.register(a, cmd)
	_ = cmd.RegisterFlagCompletionFunc("set", a.completeParameters)
	return cmd
}

func (a *app) appSubmission(f runFlags, id, command string) (client.Submission, error) {
	settings, err := parseSettings(f.set)
	if err != nil {
		return client.Submission{}, err
	}
	submission, err := f.job.submission(a)
	if err != nil {
		return client.Submission{}, err
	}
	submission.App = id
	if submission.Application == nil {
		submission.Application = &client.Application{}
	}
	submission.Application.Command, submission.Application.Geometry = command, f.geometry
	submission.Application.Parameters = map[string]any{}
	for _, s := range settings {
		if s.value == nil {
			content, err := a.readInput(s.file)
			if err != nil {
				return client.Submission{}, hintf(about("--set", s.key, err), "for a text that starts with @: --set '%s:=\"@…\"'", s.key)
			}
			s.value = base64.StdEncoding.EncodeToString(content)
		}
		submission.Application.Parameters[s.key] = s.value
	}
	return submission, nil
}

// knownParameters refuses what no parameter of the command is called: the server leaves it out without a word, and the job runs with
// defaults. Of an application that cannot be read, the answer to the submission tells why.
func knownParameters(ctx context.Context, c *client.Client, submission client.Submission) error {
	given, name := slices.Sorted(maps.Keys(submission.Application.Parameters)), submission.Application.Command
	if len(given) == 0 {
		return nil
	}
	var command *appdef.Command
	if _, def, err := readApp(ctx, c, submission.App); err == nil {
		command, _ = def.Command(name)
	}
	for _, key := range given {
		if command != nil && !slices.ContainsFunc(command.Parameters, func(p appdef.Parameter) bool { return p.Key == key }) {
			return hintf(fmt.Errorf("application %s: %s has no parameter %s", submission.App, name, key), "see them: berth app show %s", submission.App)
		}
	}
	return nil
}

// parameterSetting is a value for a parameter, or the file that it is in.
type parameterSetting struct {
	key  string
	file string
	// value is a text, a boolean or JSON; nil when the file has it.
	value any
}

// parseSettings reads the values of --set.
func parseSettings(texts []string) ([]parameterSetting, error) {
	var settings []parameterSetting
	seen := map[string]bool{}
	for _, text := range texts {
		s, err := parseSetting(text)
		switch {
		case err != nil:
			return nil, err
		case seen[s.key]:
			return nil, usagef("--set %s is given twice", s.key)
		}
		seen[s.key] = true
		settings = append(settings, s)
	}
	return settings, nil
}

func parseSetting(text string) (parameterSetting, error) {
	key, value, ok := strings.Cut(text, "=")
	key, isJSON := strings.CutSuffix(key, ":")
	switch {
	case !ok || key == "":
		return parameterSetting{}, usagef("--set %q is not of the form KEY=VALUE", text)
	case isJSON && !isScalar(value):
		return parameterSetting{}, usagef("--set %s:= needs a number, true, false or a text in quotes as JSON, and not %s", key, value)
	case isJSON:
		return parameterSetting{key: key, value: json.RawMessage(value)}, nil
	case strings.HasPrefix(value, "@"):
		return parameterSetting{key: key, file: value[1:]}, nil
	case value == "true", value == "false":
		return parameterSetting{key: key, value: value == "true"}, nil
	}
	return parameterSetting{key: key, value: value}, nil
}

// isScalar says whether a text is JSON that a parameter can have as its value.
func isScalar(text string) bool {
	var value any
	if json.Unmarshal([]byte(text), &value) != nil {
		return false
	}
	switch value.(type) {
	case string, float64, bool:
		return true
	default:
		return false
	}
}
