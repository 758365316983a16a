package control

import (
	"context"
	"strings"
	"testing"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/vault"
)

// TestVaultsBelongToTheirUsers: nobody reaches the vault of another, and a key that may only read changes nothing.
func TestVaultsBelongToTheirUsers(t *testing.T) {
	dirs := vault.Directories{Files: t.TempDir()}
	b := newBench(t, func(cfg *Config) {
		cfg.OpenVault = func(_ context.Context, v berth.Vault, _ bool) (VaultFiles, error) {
			v.Path = dirs.FilePath(v.Owner, v.Name)
			return dirs.Open(v)
		}
	})
	files, err := b.OpenVault(t.Context(), b.ada, "data", true)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	if _, err := files.Put("f", vault.Upload{}, strings.NewReader("ada's")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ChangeVault(t.Context(), b.tess, "data", VaultChange{Share: new(ShareRead)}); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		caller berth.Caller
		vault  string
		change bool
		want   berth.Kind
		sees   int
	}{
		"reader reads":     {b.reader, "data", false, "", 1},
		"reader writes":    {b.reader, "data", true, berth.Forbidden, 0},
		"another":          {b.bob, "data", true, "", 0},
		"a team leader":    {b.tess, "data", false, "", 0},
		"administrator":    {b.admin, "data", false, "", 0},
		"shared, to read":  {b.mia, "data@tess", false, "", 0},
		"shared, writes":   {b.mia, "data@tess", true, berth.Forbidden, 0},
		"shared, a leader": {b.tess, "data@ada", false, berth.NotFound, 0},
		"not the team":     {b.bob, "data@tess", false, berth.NotFound, 0},
		"no such vault":    {b.ada, "none", false, berth.NotFound, 0},
		"path for a name":  {b.ada, "../bob/data", false, berth.NotFound, 0},
	} {
		files, err := b.OpenVault(t.Context(), test.caller, test.vault, test.change)
		if berth.KindOf(err) != test.want {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		sees := 0
		err = files.Each("/", false, func(some []vault.Entry) error {
			sees += len(some)
			return nil
		})
		if sees != test.sees || err != nil {
			t.Errorf("%s: %d files, %v", name, sees, err)
		}
		if err := files.Close(); err != nil {
			t.Error(err)
		}
	}
	vaults, err := b.FileVaults(t.Context(), b.ada)
	if err != nil || len(vaults) != 2 || vaults[0].Name != "data" || vaults[1].Name != "data@tess" {
		t.Errorf("FileVaults = %v, %v", vaults, err)
	}
}
