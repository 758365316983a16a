package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

func (a *app) screenshotCommand() *cobra.Command {
	var size client.ScreenshotSize
	file := ""
	cmd := &cobra.Command{
		Use:   "screenshot JOB",
		Short: "Take a picture of the desktop of a running job",
		Long: `screenshot writes a picture of the desktop of a running job to a file, as PNG: screenshot-JOB.png, unless -o says another one. With --width or
--height it becomes smaller until it is within both, and keeps its proportions; with --emphatic it gets them as they are.`,
		Example: `  berth screenshot 12 --width 640
  berth screenshot 12 -o - | display`,
		Args:              oneJob,
		ValidArgsFunction: positions(a.completeJobs(false)),
		RunE: a.withJob(func(ctx context.Context, c *client.Client, ref client.Ref, _ []string) error {
			picture, err := c.Screenshot(ctx, ref, size)
			if err != nil {
				return a.notNow(ref, err, "only running jobs have desktops: berth status %s", ref)
			}
			if file == "-" {
				_, err := a.stdout.Write(picture)
				return err
			}
			if file == "" {
				file = "screenshot-" + ref.String() + ".png"
			}
			return a.save(file, picture)
		}),
	}
	flags := cmd.Flags()
	flags.StringVarP(&file, "output", "o", "", "file to write, - for stdout")
	flags.IntVar(&size.Width, "width", 0, "largest width in pixels")
	flags.IntVar(&size.Height, "height", 0, "largest height in pixels")
	flags.BoolVar(&size.Emphatic, "emphatic", false, "take width and height as they are")
	return cmd
}

// save writes a picture, which can show what others should not see.
func (a *app) save(file string, picture []byte) error {
	if err := os.WriteFile(file, picture, 0o600); err != nil {
		return fmt.Errorf("picture: %w", err)
	}
	if a.flags.json {
		return a.printJSON(struct {
			File  string `json:"file"`
			Bytes int    `json:"bytes"`
		}{file, len(picture)})
	}
	a.say("%s", file)
	return nil
}
