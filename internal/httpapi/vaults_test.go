package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

const ownVault = `{"name":"data","owner":"ada","kind":"file","default":true,"team":"","share":"none"}`

func TestVaults(t *testing.T) {
	a := newTestAPI(t)
	got := a.get("/v1/vaults?" + asAda)
	want := `{"vaults":[` + ownVault + `,{"name":"results@bob","owner":"bob","kind":"object","default":false,"team":"lab","share":"read",` +
		`"endpoint":"https://s3.example.org","bucket":"b","prefix":"p/","region":"r","path_style":true}]}`
	if diff := cmp.Diff(want, got.body); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := a.get("/v1/vaults?owner=ada&" + asRoot); got.status != 200 || a.vaultsOf != "ada" {
		t.Errorf("vaults of %q: %d: %s", a.vaultsOf, got.status, got.body)
	}
	if got := a.get("/v1/vaults?owner=bob&" + asAda); got.status != 403 {
		t.Errorf("vaults of bob for ada: %d: %s", got.status, got.body)
	}
	if got := a.get("/v1/vaults/results@bob?" + asAda); !strings.HasPrefix(got.body, `{"vault":{"name":"results@bob"`) {
		t.Errorf("one vault: %s", got.body)
	}
	if got := a.get("/v1/vaults/results?" + asAda); got.status != 404 || got.errorText(t) != "Vault not found" {
		t.Errorf("no vault: %d: %s", got.status, got.body)
	}
}

func TestAddVault(t *testing.T) {
	a := newTestAPI(t)
	const body = `{"owner":"ada","name":"v","kind":"object","share":"read","default":true,"endpoint":"https://s3.example.org","bucket":"b",
		"prefix":"p/","region":"r","path_style":true,"access_key":"the-access-key","secret_key":"the-secret-key"}`
	got := a.send(http.MethodPost, "/v1/vaults?"+asAda, contentJSON, body)
	want := control.VaultRequest{
		Owner: "ada", Name: "v", Kind: berth.VaultObject, Share: control.ShareRead, Default: true,
		Bucket:      berth.Bucket{Endpoint: "https://s3.example.org", Name: "b", Prefix: "p/", Region: "r", PathStyle: true},
		Credentials: berth.Credentials{AccessKey: "the-access-key", SecretKey: "the-secret-key"},
	}
	if diff := cmp.Diff(want, a.newVault); diff != "" || got.status != 200 {
		t.Errorf("%d: %s (-want +got)\n%s", got.status, got.body, diff)
	}
	for _, secret := range []string{"the-access-key", "the-secret-key"} {
		if strings.Contains(got.body, secret) || strings.Contains(a.log.String(), secret) {
			t.Errorf("%s is shown", secret)
		}
	}
	for body, want := range map[string]struct {
		status int
		text   string
	}{
		`{"name":"data","kind":"object"}`: {409, "There is a vault of that name"},
		`{"name":"more","kind":"object"}`: {429, "Too many vaults"},
		`{}`:                              {400, "Invalid parameter(s): name: nothing was sent, a text is required; kind: nothing was sent, a text is required"},
		`{"name":"v","kind":"object","secret_key":["hunter2"]}`:  {400, "Invalid parameter(s): secret_key: a list was sent, a text is allowed"},
		`{"name":"v","kind":"object","secret_key":"a\nhunter2"}`: {400, "Invalid parameter(s): secret_key: a text was sent, a text without control"},
		`{"name":"v","kind":"block","password":["hunter2"]}`:     {400, "Invalid parameter(s): password: a list was sent, a text is allowed"},
		`{"name":"v","kind":"block","password":"a\nhunter2"}`:    {400, "Invalid parameter(s): password: a text was sent, a text without control"},
		`{"name":"v","kind":"block","size":0}`:                   {400, "Invalid parameter(s): size: 0 was sent, a whole number from 1 to 1125899906842624"},
		`{"name":"v","kind":"block","images":"two"}`:             {400, `Invalid parameter(s): images: "two" was sent, a whole number from 1`},
		`{"name":"full","kind":"block"}`:                         {507, "No space left"},
		`{"name":"lacking","kind":"block-array"}`:                {501, "The server lacks mkfs.btrfs"},
	} {
		got := a.send(http.MethodPost, "/v1/vaults?"+asAda, contentJSON, body)
		if text := got.errorText(t); got.status != want.status || !strings.HasPrefix(text, want.text) || strings.Contains(text, "hunter2") {
			t.Errorf("%s: %d: %s", body, got.status, text)
		}
	}
	if got := a.send(http.MethodPost, "/v1/vaults?username=ada&apikey="+readKey, contentJSON, body); got.status != 403 {
		t.Errorf("with a key for reading: %d: %s", got.status, got.body)
	}
}

func TestAddBlockVault(t *testing.T) {
	a := newTestAPI(t)
	got := a.send(http.MethodPost, "/v1/vaults?"+asAda, contentJSON,
		`{"name":"home","kind":"block-array","size":10737418240,"images":2,"password":"correct horse"}`)
	want := control.VaultRequest{
		Name: "home", Kind: berth.VaultBlockArray, Volume: berth.Volume{Size: 10 << 30, Images: 2}, Password: "correct horse",
	}
	if diff := cmp.Diff(want, a.newVault); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	wantBody := `{"vault":{"name":"home","owner":"ada","kind":"block-array","default":false,"team":"","share":"none",` +
		`"size":10737418240,"images":2,"encrypted":true}}`
	if diff := cmp.Diff(wantBody, got.body); diff != "" || got.status != 200 {
		t.Errorf("%d (-want +got)\n%s", got.status, diff)
	}
	if strings.Contains(a.log.String(), "correct horse") {
		t.Error("the password is in the log")
	}
}

func TestChangeAndRemoveVault(t *testing.T) {
	a := newTestAPI(t)
	got := a.send(http.MethodPatch, "/v1/vaults/data?"+asAda, contentJSON, `{"share":"write","default":false,"access_key":"a","secret_key":"s"}`)
	want := control.VaultChange{
		Share: new(control.ShareWrite), Default: new(false), Credentials: &berth.Credentials{AccessKey: "a", SecretKey: "s"},
	}
	if diff := cmp.Diff(want, a.vaultChange); diff != "" || got.body != `{"vault":`+ownVault+`}` {
		t.Errorf("%d: %s (-want +got)\n%s", got.status, got.body, diff)
	}
	a.send(http.MethodPatch, "/v1/vaults/data?"+asAda, contentJSON, `{"default":true}`)
	if diff := cmp.Diff(control.VaultChange{Default: new(true)}, a.vaultChange); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := a.send(http.MethodPatch, "/v1/vaults/data?"+asAda, contentJSON, `{}`); got.status != 400 {
		t.Errorf("no change: %d: %s", got.status, got.body)
	}
	if got := a.send(http.MethodDelete, "/v1/vaults/data?"+asAda, "", ""); got.status != 409 {
		t.Errorf("removed with its files: %d: %s", got.status, got.body)
	}
	if got := a.send(http.MethodDelete, "/v1/vaults/data?data=true&"+asAda, "", ""); got.body != `{"status":"removed"}` || !a.withData {
		t.Errorf("%d: %s", got.status, got.body)
	}
}

func TestKeptData(t *testing.T) {
	a := newTestAPI(t)
	want := `{"kept":[{"number":9,"owner":"ada","wish":"save","detail":"1 files could not be copied: a"}]}`
	if got := a.get("/v1/kept?" + asAda); got.body != want {
		t.Errorf("%d: %s", got.status, got.body)
	}
	if got := a.get("/v1/kept?all=true&" + asRoot); got.status != 200 || !a.everyone {
		t.Errorf("of everybody: %d: %s", got.status, got.body)
	}
	for method, want := range map[string]struct {
		wish berth.KeptWish
		body string
	}{
		http.MethodPost:   {berth.KeptWishSave, `{"status":"save requested"}`},
		http.MethodDelete: {berth.KeptWishDrop, `{"status":"drop requested"}`},
	} {
		if got := a.send(method, "/v1/kept/9?"+asAda, "", ""); got.body != want.body || a.keptWish != want.wish {
			t.Errorf("%s: %d: %s", method, got.status, got.body)
		}
		if got := a.send(method, "/v1/kept/8?"+asAda, "", ""); got.status != 404 || got.errorText(t) != "No data of the job is kept" {
			t.Errorf("%s of none: %d: %s", method, got.status, got.body)
		}
	}
}

func TestVaultPasswordAndRepair(t *testing.T) {
	a := newTestAPI(t)
	got := a.send(http.MethodPost, "/v1/vaults/data/password?"+asAda, contentJSON, `{"password":"correct horse","new_password":"battery staple"}`)
	if got.status != 200 || got.body != `{"status":"changed"}` || a.passwords != [2]string{"correct horse", "battery staple"} {
		t.Errorf("%d: %s, passwords %q", got.status, got.body, a.passwords)
	}
	if got := a.send(http.MethodPost, "/v1/vaults/data/repair?"+asAda, "", ""); got.status != 200 || got.body != `{"status":"repaired"}` {
		t.Errorf("%d: %s", got.status, got.body)
	}
	busy := &berth.Error{Kind: berth.Conflict, Msg: "The vault is in use", Detail: "job 12 has it"}
	a.fail["ChangeVaultPassword"], a.fail["RepairVault"] = busy, busy
	for _, of := range []string{"password", "repair"} {
		if got := a.send(http.MethodPost, "/v1/vaults/data/"+of+"?"+asAda, contentJSON, `{}`); got.status != 409 || got.errorText(t) != "The vault is in use: job 12 has it" {
			t.Errorf("%s of one in use: %d: %s", of, got.status, got.body)
		}
		if got := a.send(http.MethodPost, "/v1/vaults/none/"+of+"?"+asAda, contentJSON, `{}`); got.status != 404 {
			t.Errorf("%s of none: %d: %s", of, got.status, got.body)
		}
		if got := a.send(http.MethodPost, "/v1/vaults/data/"+of+"?username=ada&apikey="+readKey, contentJSON, `{}`); got.status != 403 {
			t.Errorf("%s with a key for reading: %d: %s", of, got.status, got.body)
		}
	}
	got = a.send(http.MethodPost, "/v1/vaults/data/password?"+asAda, contentJSON, `{"password":["hunter2"],"new_password":"a\nhunter2"}`)
	if text := got.errorText(t); got.status != 400 || strings.Contains(text, "hunter2") {
		t.Errorf("%d: %s", got.status, text)
	}
	for _, secret := range []string{"correct horse", "battery staple"} {
		if strings.Contains(a.log.String(), secret) {
			t.Errorf("%s is in the log", secret)
		}
	}
}
