package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	dataAnswer = `{"name":"data","owner":"ada","kind":"file","default":true,"team":"","share":"none"}`
	s3Answer   = `{"name":"s3@bob","owner":"bob","kind":"object","default":false,"team":"fluids","share":"read","endpoint":"https://s3.example.org",` +
		`"bucket":"b","prefix":"p/","path_style":true}`
)

func vaultRoutes() map[string]http.HandlerFunc {
	routes := administered()
	for route, answer := range map[string]string{
		"GET /v1/vaults":         `{"vaults":[` + dataAnswer + `,` + s3Answer + `]}`,
		"GET /v1/vaults/s3@bob":  `{"vault":` + s3Answer + `}`,
		"POST /v1/vaults":        `{"vault":` + s3Answer + `}`,
		"PATCH /v1/vaults/data":  `{"vault":` + dataAnswer + `}`,
		"DELETE /v1/vaults/data": `{"status":"removed"}`,
		"GET /v1/kept":           `{"kept":[{"number":7,"owner":"ada","wish":"","detail":"1 files: a"},{"number":8,"owner":"ada","wish":"save","detail":"b"}]}`,
		"POST /v1/kept/7":        `{"status":"save requested"}`,
		"DELETE /v1/kept/7":      `{"status":"drop requested"}`,
	} {
		routes[route] = text(http.StatusOK, answer)
	}
	return routes
}

// TestVaultVerbs holds what a person reads, and what the server is asked.
func TestVaultVerbs(t *testing.T) {
	t.Parallel()
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("# mine\n[default]\naws_access_key_id = a\naws_secret_access_key=s=s\n[other]\naws_access_key_id=x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("aws_secret_access_key = hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args  string
		want  result
		asked string
	}{
		"list": {"list", result{Stdout: `NAME    KIND    DEFAULT  TEAM MAY  WHERE
data    file    yes      -         -
s3@bob  object  -        read      https://s3.example.org/b/p
`}, "GET /v1/vaults"},
		"list another's": {"list --owner bob --quiet", result{Stdout: `NAME    KIND    DEFAULT  TEAM MAY  WHERE
data    file    yes      -         -
s3@bob  object  -        read      https://s3.example.org/b/p
`}, "GET /v1/vaults?owner=bob"},
		"show": {"show s3@bob", result{Stdout: `vault         s3@bob
kind          object
owner         bob
team          fluids
team may      read
endpoint      https://s3.example.org
bucket        b
prefix        p/
path style    yes
`}, "GET /v1/vaults/s3@bob"},
		"add": {
			"add s3 --endpoint https://s3.example.org --bucket b --prefix p/ --path-style --share read --owner bob --keys " + keys,
			result{Stdout: "vault s3@bob added\n"},
			`POST /v1/vaults {"owner":"bob","name":"s3","kind":"object","share":"read","endpoint":"https://s3.example.org","bucket":"b","prefix":"p/",` +
				`"path_style":true,"access_key":"a","secret_key":"s=s"}`,
		},
		"add a directory": {"add more --file --default", result{Stdout: "vault s3@bob added\n"}, `POST /v1/vaults {"name":"more","kind":"file","default":true}`},
		"add nothing":     {"add more", result{2, "", "berth: give --endpoint for an object vault, or --file for a directory of the server (see: berth vault add --help)\n"}, ""},
		"no keys": {"add s3 --endpoint https://s3.example.org --keys " + empty, result{
			1, "", "berth: " + empty + " has no credentials (it needs the lines aws_access_key_id = … and aws_secret_access_key = …)\n",
		}, ""},
		"share":            {"share data", result{Stdout: "vault data shared\n"}, `PATCH /v1/vaults/data {"share":"write"}`},
		"share to read":    {"share data --read-only", result{Stdout: "vault data shared for reading\n"}, `PATCH /v1/vaults/data {"share":"read"}`},
		"share no more":    {"share data --stop", result{Stdout: "vault data shared no more\n"}, `PATCH /v1/vaults/data {"share":"none"}`},
		"default":          {"default data", result{Stdout: "vault data is the default\n"}, `PATCH /v1/vaults/data {"default":true}`},
		"keys":             {"keys data " + keys, result{Stdout: "credentials of vault data changed\n"}, `PATCH /v1/vaults/data {"access_key":"a","secret_key":"s=s"}`},
		"remove":           {"remove data", result{Stdout: "vault data removed\n"}, "DELETE /v1/vaults/data"},
		"remove all of it": {"remove data --with-data", result{Stdout: "vault data removed\n"}, "DELETE /v1/vaults/data?data=true"},
		"kept": {"kept --all", result{Stdout: `JOB  OWNER  NOW          WHAT
7    ada    kept         1 files: a
8    ada    being saved  b
`}, "GET /v1/kept?all=true"},
		"save":           {"save 7", result{Stdout: "data of job 7 is being saved; berth vault kept tells what came of it\n"}, "POST /v1/kept/7"},
		"drop":           {"drop 7", result{Stdout: "data of job 7 is being dropped\n"}, "DELETE /v1/kept/7"},
		"save of no job": {"save x", result{2, "", "berth: x is no number of a job (see: berth vault save --help)\n"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, vaultRoutes())
			got := command{args: append([]string{"vault"}, strings.Fields(tc.args)...), env: f.env()}.run(t.Context(), t)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			var asked string
			for _, request := range f.asked() {
				asked = strings.NewReplacer("?username=ada", "", "&username=ada", "").Replace(request)
			}
			if asked != tc.asked {
				t.Errorf("asked %q, want %q", asked, tc.asked)
			}
		})
	}
}
