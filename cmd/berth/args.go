package main

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/berth-hpc/berth/client"
)

// oneJob accepts exactly one JOB.
func oneJob(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("give one JOB, its number or its name")
	}
	_, err := refs(args)
	return err
}

// someJobs accepts one or more JOBs.
func someJobs(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("give a JOB, its number or its name")
	}
	_, err := refs(args)
	return err
}

// atMostOne accepts nothing or one of what.
func atMostOne(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > 1 {
			return usagef("give at most one %s", what)
		}
		return nil
	}
}

func refs(args []string) ([]client.Ref, error) {
	parsed := make([]client.Ref, len(args))
	for i, arg := range args {
		ref, err := client.ParseRef(arg)
		if err != nil {
			return nil, usagef("%s", err)
		}
		parsed[i] = ref
	}
	return parsed, nil
}

// flagValues says what a flag takes, by the type of its value.
var flagValues = map[string]string{
	"bool": "true or false", "int": "a whole number", "float64": "a number", "duration": "a duration such as 30s, 10m or 24h",
}

// flagError says what a flag takes that got something else. Other errors of the command line say themselves what is wrong.
func flagError(err error) error {
	wrong, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return err
	}
	takes, known := flagValues[wrong.GetFlag().Value.Type()]
	if !known {
		return err
	}
	return usagef("--%s takes %s, and not %q", wrong.GetFlag().Name, takes, wrong.GetValue())
}
