package main

import (
	"cmp"
	"context"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

func (a *app) imageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Manage the images in the server's own store",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	cmd.AddCommand(a.imageImportCommand(), a.imageListCommand(), a.imageRemoveCommand(), a.imagePullCommand())
	return cmd
}

func (a *app) imageListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the images in the server's store",
		Args:  cobra.NoArgs,
		RunE: a.withClient(func(ctx context.Context, c *client.Client, _ []string) error {
			images, err := c.Images(ctx)
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.printImages(images)
			}
			rows := [][]string{{"NAME", "DIGEST", "SIZE", "CREATED"}}
			for _, image := range images {
				rows = append(rows, []string{image.Name, shortDigest(image.Digest), size(image.Size), a.moment(image.Created)})
			}
			return table(a.stdout, rows)
		}),
	}
}

func (a *app) imageRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "remove NAME...",
		Short:             "Remove images from the server's store; running jobs keep what they need",
		ValidArgsFunction: a.completeImages(),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("give the NAME of an image")
			}
			return nil
		},
		RunE: a.withClient(func(ctx context.Context, c *client.Client, args []string) (err error) {
			for _, name := range args {
				if err := c.RemoveImage(ctx, name); err != nil {
					return aboutImage(name, err)
				}
				if a.flags.json {
					err = a.printJSON(map[string]string{"name": name, "status": "removed"})
				} else {
					a.say("removed %s", name)
				}
				if err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func (a *app) imagePullCommand() *cobra.Command {
	var secretFile string
	cmd := &cobra.Command{
		Use:   "pull NAME",
		Short: "Bring an image from its registry into the server's store",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("give the NAME of one image")
			}
			return nil
		},
		RunE: a.runE(func(ctx context.Context, args []string) error {
			secret, err := a.pullSecret(secretFile)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			progress := a.newNotice()
			image, err := c.PullImage(ctx, args[0], secret, func(sentence string) {
				progress.update("pull", args[0]+": "+sentence)
			})
			progress.close()
			if err != nil {
				return aboutImage(args[0], err)
			}
			return a.printImages([]client.Image{image})
		}),
	}
	cmd.Flags().StringVar(&secretFile, "pull-secret", "",
		"file with the credentials for the registry, such as ~/.docker/config.json")
	return cmd
}

// printImages prints images that are in the store now.
func (a *app) printImages(images []client.Image) error {
	if a.flags.json {
		return a.printJSON(map[string][]client.Image{"images": images})
	}
	for _, image := range images {
		a.say("%s %s %s", image.Name, cmp.Or(shortDigest(image.Digest), "-"), cmp.Or(size(image.Size), "-"))
	}
	return nil
}

// shortDigest is enough of a digest to tell images apart.
func shortDigest(digest string) string {
	const enough = 12
	algorithm, hex, ok := strings.Cut(digest, ":")
	if !ok || len(hex) <= enough {
		return digest
	}
	return algorithm + ":" + hex[:enough]
}

func size(bytes int64) string {
	if bytes <= 0 {
		return ""
	}
	return humanize.Bytes(uint64(bytes))
}
