package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

func (a *app) vaultAddCommand() *cobra.Command {
	var v client.NewVault
	var keys string
	cmd := &cobra.Command{
		Use:   "add NAME --endpoint URL --bucket BUCKET | add NAME --file --owner USER",
		Short: "Add a vault",
		Long: `add makes an object vault: a bucket of an S3 store, or the part of it under a prefix. The credentials are read from a file that is
written like ~/.aws/credentials; the server shows them to nobody. Without a bucket, each job names one.

Administrators make file vaults, which are directories of the server, by --file.`,
		Example: `  berth vault add results --endpoint https://s3.example.org --bucket results --prefix ada/ --keys ~/.aws/credentials
  berth batch --image library/debian:bookworm --vault results --object input/mesh.dat -f -c 'ls -l /data'`,
	}
	flags := cmd.Flags()
	file := flags.Bool("file", false, "a directory of the server (administrators only)")
	flags.StringVar(&v.Owner, "owner", "", "user whose vault it is (administrators only)")
	flags.StringVar(&v.Endpoint, "endpoint", "", "address of the S3 store")
	flags.StringVar(&v.Bucket.Bucket, "bucket", "", "bucket; each job names one when it is empty")
	flags.StringVar(&v.Prefix, "prefix", "", "what the keys of all objects of the vault begin with")
	flags.StringVar(&v.Region, "region", "", "region of the bucket; the store is asked when it is empty")
	flags.BoolVar(&v.PathStyle, "path-style", false, "put the bucket into the path of addresses, as most stores want it that are not Amazon's")
	flags.StringVar(&keys, "keys", "", "file with the credentials, or - for stdin")
	flags.BoolVar(&v.Default, "default", false, "make it the vault of jobs that name none")
	flags.StringVar(&v.Share, "share", "", "what your team may do with it: read or write")
	_ = cmd.RegisterFlagCompletionFunc("owner", a.completeUsers())
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if *file == (v.Endpoint != "") {
			return usagef("give --endpoint for an object vault, or --file for a directory of the server")
		}
		return words("the name of the vault")(cmd, args)
	}
	cmd.RunE = a.runE(func(ctx context.Context, args []string) (err error) {
		v.Name, v.Kind = args[0], "object"
		if *file {
			v.Kind = "file"
		}
		if keys != "" {
			if v.BucketKeys, err = a.bucketKeys(keys); err != nil {
				return err
			}
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		added, err := c.AddVault(ctx, v)
		if err != nil {
			return about("vault", v.Name, uncertain(err, "it may have been added: berth vault show %s", v.Name))
		}
		return a.done(map[string]client.Vault{"vault": added}, "vault %s added", added.Name)
	})
	return cmd
}

// bucketKeys reads the first credentials of a file that is written like ~/.aws/credentials. Errors do not show what is in it.
func (a *app) bucketKeys(path string) (client.BucketKeys, error) {
	text, err := a.readInput(path)
	if err != nil {
		return client.BucketKeys{}, err
	}
	var keys client.BucketKeys
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, "=")
		switch name, value = strings.TrimSpace(name), strings.TrimSpace(value); {
		case name == "aws_access_key_id" && keys.AccessKey == "":
			keys.AccessKey = value
		case name == "aws_secret_access_key" && keys.SecretKey == "":
			keys.SecretKey = value
		}
	}
	if keys.AccessKey == "" || keys.SecretKey == "" {
		return client.BucketKeys{}, hintf(fmt.Errorf("%s has no credentials", path), "it needs the lines aws_access_key_id = … and aws_secret_access_key = …")
	}
	return keys, nil
}
