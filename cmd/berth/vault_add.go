package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

// vaultFlags are what a person says about a new vault.
type vaultFlags struct {
	client.NewVault
	keys, size                   string
	file, encrypt, passwordStdin bool
}

func (a *app) vaultAddCommand() *cobra.Command {
	var f vaultFlags
	cmd := &cobra.Command{
		Use:   "add NAME (--endpoint URL --bucket BUCKET | --kind block --size SIZE | --file --owner USER)",
		Short: "Add a vault",
		Long: `add makes an object vault: a bucket of an S3 store, or the part of it under a prefix. The credentials are read from a file that is
written like ~/.aws/credentials; the server shows them to nobody. Without a bucket, each job names one.

With --kind block it makes a filesystem of a fixed size, to which one job at a time writes; --kind block-array is striped over several
images, which the server can have on several disks. An encrypted one needs its password for every job, and nobody else knows it: who loses
it has lost the files. Only jobs reach the files of an encrypted one.

Administrators make file vaults, which are directories of the server, by --file.`,
		Example: `  berth vault add results --endpoint https://s3.example.org --bucket results --prefix ada/ --keys ~/.aws/credentials
  berth vault add home --kind block --size 10GiB --encrypt
  berth batch --image library/debian:bookworm --vault results --object input/mesh.dat -f -c 'ls -l /data'`,
	}
	f.register(a, cmd)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := f.check(); err != nil {
			return err
		}
		return words("the name of the vault")(cmd, args)
	}
	cmd.RunE = a.runE(func(ctx context.Context, args []string) error {
		f.Name = args[0]
		if err := f.secrets(a); err != nil {
			return err
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		added, err := c.AddVault(ctx, f.NewVault)
		if err != nil {
			return about("vault", f.Name, uncertain(err, "it may have been added: berth vault show %s", f.Name))
		}
		return a.done(map[string]client.Vault{"vault": added}, "vault %s added", added.Name)
	})
	return cmd
}

func (f *vaultFlags) register(a *app, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&f.file, "file", false, "a directory of the server (administrators only)")
	flags.StringVar(&f.Kind, "kind", "", "block or block-array: a filesystem of its own")
	flags.StringVar(&f.size, "size", "", "size of a block vault: GiB, or with a unit, such as 512MB (1 GB is 1024 MB)")
	flags.IntVar(&f.Images, "images", 0, "over how many images an array is striped (default 2)")
	flags.BoolVar(&f.encrypt, "encrypt", false, "encrypt a block vault with a password that is asked for")
	flags.BoolVar(&f.passwordStdin, "password-stdin", false, "encrypt a block vault with the password on stdin")
	flags.StringVar(&f.Owner, "owner", "", "user whose vault it is (administrators only)")
	flags.StringVar(&f.Endpoint, "endpoint", "", "address of the S3 store")
	flags.StringVar(&f.Bucket.Bucket, "bucket", "", "bucket; each job names one when it is empty")
	flags.StringVar(&f.Prefix, "prefix", "", "what the keys of all objects of the vault begin with")
	flags.StringVar(&f.Region, "region", "", "region of the bucket; the store is asked when it is empty")
	flags.BoolVar(&f.PathStyle, "path-style", false, "put the bucket into the path of addresses, as most stores want it that are not Amazon's")
	flags.StringVar(&f.keys, "keys", "", "file with the credentials, or - for stdin")
	flags.BoolVar(&f.Default, "default", false, "make it the vault of jobs that name none")
	flags.StringVar(&f.Share, "share", "", "what your team may do with it: read or write")
	_ = cmd.RegisterFlagCompletionFunc("owner", a.completeUsers())
	_ = cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions([]string{"block", "block-array"}, cobra.ShellCompDirectiveNoFileComp))
}

// check finds what cannot be meant, says the kind, and reads the size.
func (f *vaultFlags) check() error {
	block := f.Kind == "block" || f.Kind == "block-array"
	switch {
	case f.Kind != "" && !block:
		return usagef("--kind %s is neither block nor block-array: --endpoint makes an object vault, and --file a directory of the server", f.Kind)
	case block && (f.file || f.Endpoint != ""), f.file && f.Endpoint != "", !block && !f.file && f.Endpoint == "":
		return usagef("give --endpoint for an object vault, --kind block for a block vault, or --file for a directory of the server")
	case block != (f.size != ""):
		return usagef("--size is for block vaults, and they need it")
	case !block && (f.Images != 0 || f.encrypt || f.passwordStdin):
		return usagef("--images, --encrypt and --password-stdin are for block vaults")
	case f.file:
		f.Kind = "file"
	case !block:
		f.Kind = "object"
	default:
		megabytes, err := parseMegabytes("--size", f.size)
		f.Size = megabytes << 20
		return err
	}
	return nil
}

// secrets reads the credentials or the password.
func (f *vaultFlags) secrets(a *app) (err error) {
	switch {
	case f.keys != "":
		f.BucketKeys, err = a.bucketKeys(f.keys)
	case f.encrypt && !f.passwordStdin && terminalOf(a.stdin) == nil:
		return usagef("--encrypt asks for the password, and there is no terminal: --password-stdin reads it from stdin")
	case f.encrypt || f.passwordStdin:
		f.Password, err = a.readPassword(f.Name, true)
	}
	return err
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
