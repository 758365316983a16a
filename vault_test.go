package berth_test

import (
	"testing"

	"github.com/berth-hpc/berth"
)

func TestVaultNames(t *testing.T) {
	t.Parallel()
	for called, want := range map[string][2]string{
		"data": {"ada", "data"}, "data@bob": {"bob", "data"}, "data@": {"", "data"}, "a.b-c_d@x.y": {"x.y", "a.b-c_d"},
	} {
		owner, name := berth.SplitVaultName(called, "ada")
		if [2]string{owner, name} != want {
			t.Errorf("%s of ada is %s of %s, want %v", called, name, owner, want)
		}
		if full := berth.FullVaultName(called, "ada"); full != want[1]+"@"+want[0] {
			t.Errorf("%s of ada is %s in full", called, full)
		}
		if again := (berth.Vault{Owner: owner, Name: name}).VaultName("ada"); again != called {
			t.Errorf("%s of ada is called %s", called, again)
		}
	}
}

func TestVaultUsers(t *testing.T) {
	t.Parallel()
	v := berth.Vault{Owner: "ada", Team: "red", TeamReadOnly: true}
	alone := berth.Vault{Owner: "ada"}
	tests := map[string]struct {
		vault            berth.Vault
		user, team       string
		usable, readOnly bool
	}{
		"its owner":               {v, "ada", "red", true, false},
		"its owner in no team":    {v, "ada", "", true, false},
		"the team":                {v, "bob", "red", true, true},
		"another team":            {v, "bob", "blue", false, false},
		"no team":                 {v, "bob", "", false, false},
		"not shared":              {alone, "bob", "", false, false},
		"nobody":                  {berth.Vault{}, "", "", false, false},
		"the team, for writing":   {berth.Vault{Owner: "ada", Team: "red"}, "bob", "red", true, false},
		"not shared with anybody": {alone, "bob", "red", false, false},
	}
	for name, test := range tests {
		usable, readOnly := test.vault.UsableBy(test.user, test.team)
		if usable != test.usable || readOnly != test.readOnly {
			t.Errorf("%s: usable %v, read-only %v", name, usable, readOnly)
		}
	}
}
