package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

// TestVaultsOfBefore: the vaults of a database without block vaults are what they were, with everything that belongs to them.
func TestVaultsOfBefore(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		err := store.MigrateTo(t.Context(), dsn, 1,
			`INSERT INTO users (name, email, admin, disabled, billing) VALUES ('alice', '', FALSE, FALSE, TRUE)`,
			`INSERT INTO teams (name, payer) VALUES ('red', 'alice')`,
			`INSERT INTO vaults (owner, name, kind, path) VALUES ('alice', 'ephemeral', 'ephemeral', '')`,
			`INSERT INTO vaults (owner, name, kind, path, is_default, team, team_read_only) VALUES ('alice', 'data', 'file', '/d', TRUE, 'red', TRUE)`,
			`INSERT INTO vaults (owner, name, kind, path, bucket, access_key, secret_key)
			VALUES ('alice', 'bucket', 'object', '', '{"Endpoint":"https://s3.example.org","Name":"b"}', 'access', 'secret')`,
		)
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, store.Config{DSN: dsn})
		want := []berth.Vault{
			{Owner: "alice", Name: "bucket", Kind: berth.VaultObject, Bucket: berth.Bucket{Endpoint: "https://s3.example.org", Name: "b"}},
			{Owner: "alice", Name: "data", Kind: berth.VaultFile, Path: "/d", Default: true, Team: "red", TeamReadOnly: true},
			{Owner: "alice", Name: "ephemeral", Kind: berth.VaultEphemeral},
		}
		got, err := s.Vaults(t.Context(), "alice")
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("vaults: %v (-want +got):\n%s", err, diff)
		}
		if c, err := s.VaultCredentials(t.Context(), "alice", "bucket"); err != nil || c != secret {
			t.Errorf("credentials: %v, %v", c, err)
		}
		// Still one default for each owner, and no vault of nobody.
		two := blockVault("alice", "home", 1<<30)
		two.Default = true
		createVault(t, s, two)
		wantDefault(t, s, "home")
		err = s.CreateVault(t.Context(), blockVault("carol", "home", 1<<30), berth.Credentials{}, store.VaultLimits{}, acted(berth.ActVaultAdded, "home"))
		if berth.KindOf(err) != berth.NotFound {
			t.Errorf("a vault of nobody: %v", err)
		}
	})
}
