package main

import (
	"github.com/spf13/cobra"

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
