package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

// keyFlags are what a person says about a new API key.
type keyFlags struct {
	label, out string
	readOnly   bool
	expires    time.Duration
}

func (f *keyFlags) register(cmd *cobra.Command, label string) {
	flags := cmd.Flags()
	flags.StringVar(&f.label, label, "", "what the key is for")
	flags.BoolVar(&f.readOnly, "read-only", false, "the key may look and change nothing")
	flags.DurationVar(&f.expires, "expires", 0, "the key ends after this time, such as 720h (default never)")
	f.registerOut(cmd)
}

// checked accepts what args does, with a lifetime that is one.
func (f *keyFlags) checked(args cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if cmd.Flags().Changed("expires") && f.expires <= 0 {
			return usagef("--expires %s is over already", f.expires)
		}
		return args(cmd, given)
	}
}

func (f *keyFlags) registerOut(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.out, "credentials-out", "", "write address, name and key into this file, and not the key to stdout")
}

func (f *keyFlags) request() client.KeyRequest {
	return client.KeyRequest{Label: f.label, ReadOnly: f.readOnly, ExpiresIn: f.expires}
}

// issued is a key that was just made.
type issued struct {
	key client.NewKey
	// document is what --json prints of it.
	document func(client.NewKey) any
}

// handOut calls issue for a key and gives it to the person, who has no other chance to see it: on stdout, or in a file. That the
// file can be written is known before there is a key.
func (a *app) handOut(c *client.Client, path string, issue func() (issued, error)) error {
	if path == "" {
		made, err := issue()
		if err != nil {
			return err
		}
		if err := a.done(made.document(made.key), "%s", made.key.APIKey); err != nil {
			return err
		}
		a.note("key %s of %s: keep it now, it is not shown again", made.key.Key.ID, made.key.Key.User)
		return nil
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".berth-credentials-*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	made, err := issue()
	if err != nil {
		return err
	}
	key := made.key.Key
	_, err = fmt.Fprintf(file, "export BERTH_URL=%s\nexport BERTH_USER=%s\nexport BERTH_APIKEY=%s\n", c.URL(), key.User, made.key.APIKey)
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return hintf(err, "the key is lost, revoke it: berth admin user key revoke %s %s", key.User, key.ID)
	}
	a.note("key %s of %s is in %s", key.ID, key.User, path)
	if a.flags.json {
		return a.printJSON(made.document(client.NewKey{Key: key})) // what is in a file for one person is not for the terminal
	}
	return nil
}

func (a *app) userKeyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Manage the API keys of an account; everybody may manage their own",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	cmd.AddCommand(a.keyListCommand(), a.keyAddCommand(), a.keyRevokeCommand(), a.keyRotateCommand())
	return cmd
}

func (a *app) keyListCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "list NAME",
		Short:             "List what is known of an account's keys",
		Args:              words("the NAME of the user"),
		ValidArgsFunction: positions(a.completeUsers()),
		RunE: a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
			_, keys, err := c.User(ctx, args[0])
			if err != nil {
				return about("user", args[0], err)
			}
			if a.flags.json {
				return a.printJSON(map[string][]client.Key{"keys": keys})
			}
			return a.printKeys(keys)
		}),
	}
}

func (a *app) printKeys(keys []client.Key) error {
	rows := [][]string{{"KEY", "LABEL", "MAY", "CREATED", "EXPIRES"}}
	for _, key := range keys {
		may := "act"
		if key.ReadOnly {
			may = "read"
		}
		rows = append(rows, []string{key.ID, key.Label, may, a.moment(key.Created), a.moment(key.Expires)})
	}
	return table(a.stdout, rows)
}

func (a *app) keyAddCommand() *cobra.Command {
	var key keyFlags
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Make another key of an account and print it, this once only",
		Example: `  berth admin user key add ada --label laptop
  berth admin user key add ada --read-only --expires 720h --credentials-out reader`,
		Args:              key.checked(words("the NAME of the user")),
		ValidArgsFunction: positions(a.completeUsers()),
	}
	key.register(cmd, "label")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		return a.handOut(c, key.out, func() (issued, error) { return addKey(ctx, c, args[0], key.request()) })
	})
	return cmd
}

func addKey(ctx context.Context, c *client.Client, user string, request client.KeyRequest) (issued, error) {
	key, err := c.AddKey(ctx, user, request)
	if err != nil {
		return issued{}, about("user", user, uncertain(err, "a key may have been made: berth admin user key list %s", user))
	}
	return issued{key: key, document: func(key client.NewKey) any { return key }}, nil
}

func (a *app) keyRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "revoke NAME KEY",
		Short:             "Make a key worthless at once and for good",
		Example:           `  berth admin user key revoke ada k7`,
		Args:              words("the NAME of the user", "the KEY that list shows"),
		ValidArgsFunction: positions(a.completeUsers(), a.completeKeys),
		RunE: a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
			if err := c.RevokeKey(ctx, args[0], args[1]); err != nil {
				return about("key", args[1], err)
			}
			return a.done(map[string]string{"id": args[1], "status": "revoked"}, "key %s of %s revoked", args[1], args[0])
		}),
	}
}

func (a *app) keyRotateCommand() *cobra.Command {
	var key keyFlags
	cmd := &cobra.Command{
		Use:   "rotate NAME [KEY]",
		Short: "Put a new key into the place of an old one, which is worthless then",
		Long: `rotate makes a key with the label, the rights and the lifetime of an old one, prints it, and revokes the old one. KEY may be left out
when only one of the account's keys may act and has not expired.`,
		Example: `  berth admin user key rotate ada --credentials-out ada.credentials`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 || len(args) > 2 || args[0] == "" {
				return usagef("give the NAME of the user, and at most one KEY")
			}
			return nil
		},
		ValidArgsFunction: positions(a.completeUsers(), a.completeKeys),
	}
	key.registerOut(cmd)
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		user := args[0]
		_, keys, err := c.User(ctx, user)
		if err != nil {
			return about("user", user, err)
		}
		old, err := a.chooseKey(keys, args[1:])
		if err != nil {
			return about("user", user, err)
		}
		request := client.KeyRequest{Label: old.Label, ReadOnly: old.ReadOnly}
		if !old.Expires.IsZero() {
			request.ExpiresIn = old.Expires.Sub(old.Created)
		}
		if err := a.handOut(c, key.out, func() (issued, error) { return addKey(ctx, c, user, request) }); err != nil {
			return err
		}
		if err := c.RevokeKey(ctx, user, old.ID); err != nil {
			return hintf(about("key", old.ID, err), "the new key is good, and the old one too; revoke it: berth admin user key revoke %s %s", user, old.ID)
		}
		a.note("key %s of %s revoked", old.ID, user)
		return nil
	})
	return cmd
}

// chooseKey returns the key that was named, or the only one that can be meant.
func (a *app) chooseKey(keys []client.Key, named []string) (client.Key, error) {
	if len(named) > 0 {
		at := slices.IndexFunc(keys, func(k client.Key) bool { return k.ID == named[0] })
		if at < 0 {
			return client.Key{}, fmt.Errorf("it has no key %s", named[0])
		}
		return keys[at], nil
	}
	var meant []client.Key
	var ids []string
	for _, key := range keys {
		ids = append(ids, key.ID)
		if !key.ReadOnly && (key.Expires.IsZero() || a.now().Before(key.Expires)) {
			meant = append(meant, key)
		}
	}
	if len(meant) != 1 {
		return client.Key{}, hintf(fmt.Errorf("it has %d keys that may act", len(meant)), "name one of its keys: %s", strings.Join(ids, ", "))
	}
	return meant[0], nil
}
