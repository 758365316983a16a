package vault

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
)

func TestEphemeralLivesAsLongAsItsAttempt(t *testing.T) {
	d := Directories{Files: filepath.Join(t.TempDir(), "vaults"), Scratch: filepath.Join(t.TempDir(), "scratch")}
	if got, err := d.Attempts(); err != nil || len(got) != 0 {
		t.Fatalf("Attempts before any = %v, %v", got, err)
	}
	v := berth.Vault{Name: berth.EphemeralVault, Kind: berth.VaultEphemeral}
	for range 2 { // preparing again after a crash finds what is there
		path, err := d.Prepare(v, "berth-1-a", 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := d.Attempts()
	if diff := cmp.Diff([]string{"berth-1-a"}, got); diff != "" || err != nil {
		t.Errorf("Attempts: %v %s", err, diff)
	}
	for range 2 {
		if err := d.Release("berth-1-a"); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := d.Attempts(); err != nil || len(got) != 0 {
		t.Errorf("Attempts after the release = %v, %v", got, err)
	}
}

func TestFileVaultStays(t *testing.T) {
	d := Directories{Files: t.TempDir(), Scratch: t.TempDir()}
	v := berth.Vault{Name: "data", Owner: "ada", Kind: berth.VaultFile, Path: d.FilePath("ada", "data")}
	path, err := d.Prepare(v, "berth-1-a", 0)
	if err != nil || path != v.Path {
		t.Fatalf("Prepare = %q, %v", path, err)
	}
	if err := d.Release("berth-1-a"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the file vault is gone: %v", err)
	}
	for _, want := range []bool{true, false} {
		if empty, err := d.Empty(v); err != nil || empty != want {
			t.Errorf("empty %v, %v; want %v", empty, err, want)
		}
		if err := os.WriteFile(filepath.Join(path, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Remove(v, false); err == nil {
		t.Error("removed with what is in it")
	}
	for _, data := range []bool{true, true, false} {
		if err := d.Remove(v, data); err != nil {
			t.Fatal(err)
		}
		if empty, err := d.Empty(v); err != nil || !empty {
			t.Errorf("after its removal empty %v, %v", empty, err)
		}
	}
}

func TestAVaultWithoutDirectoryIsRefused(t *testing.T) {
	if _, err := (Directories{}).Prepare(berth.Vault{Name: "x", Kind: "tape"}, "berth-1-a", 0); err == nil {
		t.Error("Prepare made a directory for a vault of no kind")
	}
}
