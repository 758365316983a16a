package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

// appFlags are what a person says about an entry of the catalogue.
type appFlags struct {
	client.NewApp
	file, secret string
}

func (f *appFlags) register(a *app, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.Image, "image", "", "image that the application runs in")
	flags.StringVar(&f.file, "appdef", "", "file with the AppDef, or - for stdin")
	flags.StringVar(&f.secret, "pull-secret", "", "file with the credentials for the image's registry, such as ~/.docker/config.json")
	flags.StringVar(&f.Team, "team", "", "team that may run it, '' for none")
	flags.BoolVar(&f.Public, "public", false, "everybody may run it (administrators only)")
	flags.BoolVar(&f.Certified, "certified", false, "its jobs may get a token that acts for their user, whoever that is (administrators only)")
	flags.Float64Var(&f.Price, "price", 0, "price of each job and hour")
	_ = cmd.RegisterFlagCompletionFunc("image", a.completeImages())
	_ = cmd.RegisterFlagCompletionFunc("team", a.completeTeams())
}

// readAppDef reads an AppDef, which must be JSON to be part of a request.
func (a *app) readAppDef(path string) (json.RawMessage, error) {
	if path == "" {
		return nil, nil
	}
	text, err := a.readInput(path)
	if err != nil {
		return nil, err
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // some editors put it there, and it is no JSON
	if !json.Valid(text) {
		return nil, hintf(fmt.Errorf("%s is no JSON", path), "berth app check %s says where", path)
	}
	return text, nil
}

func (a *app) appAddCommand() *cobra.Command {
	var f appFlags
	cmd := &cobra.Command{
		Use:   "add ID --image REF",
		Short: "Add an application to the catalogue",
		Long: `add makes an application of an image and an AppDef; without --appdef of the image's own, its file /etc/NAE/AppDef.json. It is for you
alone, with --team for a team too, with --public for everybody. An image that the server does not have is pulled, which can take a
while; berth image pull shows how it goes on.`,
		Example: `  berth app add numbers --image library/debian:bookworm --appdef AppDef.json
  berth app add solver --image registry.example.org/cfd/solver:3 --pull-secret ~/.docker/config.json --team fluids`,
		Args: func(cmd *cobra.Command, args []string) error {
			if f.Image == "" {
				return usagef("--image is missing: which image the application runs in")
			}
			return words("the ID of the application")(cmd, args)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f.register(a, cmd)
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) (err error) {
		f.ID = args[0]
		if f.AppDef, err = a.readAppDef(f.file); err != nil {
			return err
		}
		if f.PullSecret, err = a.pullSecret(f.secret); err != nil {
			return err
		}
		changed, err := c.AddApp(ctx, f.NewApp)
		if err != nil {
			return about("application", f.ID, uncertain(err, "it may have been added: berth app show %s", f.ID))
		}
		return a.printChanged(changed, "application %s added", f.ID)
	})
	return cmd
}

// printChanged prints what was done, and beside it what is doubtful in the AppDef.
func (a *app) printChanged(changed client.ChangedApp, format string, args ...any) error {
	if !a.flags.json {
		for _, warning := range changed.Warnings {
			a.note("warning: %s", warning)
		}
	}
	return a.done(changed, format, args...)
}

// changeable are the flags of what can be changed of an application.
var changeable = []string{"image", "appdef", "team", "public", "certified", "price"}

func (a *app) appUpdateCommand() *cobra.Command {
	var f appFlags
	cmd := &cobra.Command{
		Use:   "update ID",
		Short: "Change an application; what is not given stays as it is, and so do jobs that were submitted",
		Example: `  berth app update numbers --appdef AppDef.json
  berth app update solver --image registry.example.org/cfd/solver:4 --team ''`,
		ValidArgsFunction: positions(a.completeApps()),
	}
	f.register(a, cmd)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		switch {
		case !slices.ContainsFunc(changeable, cmd.Flags().Changed):
			return usagef("give what to change: --%s", strings.Join(changeable, ", --"))
		case cmd.Flags().Changed("image") && f.Image == "":
			return usagef("--image is empty: an application has an image")
		}
		return words("the ID of the application")(cmd, args)
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) (err error) {
		change := f.change(cmd)
		if change.AppDef, err = a.readAppDef(f.file); err != nil {
			return err
		}
		if change.PullSecret, err = a.pullSecret(f.secret); err != nil {
			return err
		}
		changed, err := c.ChangeApp(ctx, args[0], change)
		if err != nil {
			return about("application", args[0], err)
		}
		return a.printChanged(changed, "application %s changed", args[0])
	})
	return cmd
}

// change is what was given, without what is in files.
func (f *appFlags) change(cmd *cobra.Command) client.AppChange {
	return client.AppChange{
		Image: given(cmd, "image", &f.Image), Team: given(cmd, "team", &f.Team), Public: given(cmd, "public", &f.Public),
		Certified: given(cmd, "certified", &f.Certified), Price: given(cmd, "price", &f.Price),
	}
}
