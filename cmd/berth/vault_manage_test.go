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
	homeAnswer = `{"name":"home","owner":"ada","kind":"block-array","default":false,"team":"","share":"none","size":10737418240,"images":2,` +
		`"encrypted":true}`
)

func vaultRoutes() map[string]http.HandlerFunc {
	routes := administered()
	for route, answer := range map[string]string{
		"GET /v1/vaults":        `{"vaults":[` + dataAnswer + `,` + s3Answer + `,` + homeAnswer + `]}`,
		"GET /v1/vaults/home":   `{"vault":` + homeAnswer + `}`,
		"GET /v1/vaults/s3@bob": `{"vault":` + s3Answer + `}`,
		"POST /v1/vaults":       `{"vault":` + s3Answer + `}`,
		"PATCH /v1/vaults/data": `{"vault":` + dataAnswer + `}`,

		"POST /v1/vaults/home/password": `{"status":"changed"}`,
		"POST /v1/vaults/home/repair":   `{"status":"repaired"}`,

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
		"show a block vault": {"show home", result{Stdout: `vault         home
kind          block-array
size          10 GiB, encrypted
images        2
owner         ada
`}, "GET /v1/vaults/home"},
		"list": {"list", result{Stdout: `NAME    KIND         SIZE               DEFAULT  TEAM MAY  WHERE
data    file         -                  yes      -         -
s3@bob  object       -                  -        read      https://s3.example.org/b/p
home    block-array  10 GiB, encrypted  -        -         -
`}, "GET /v1/vaults"},
		"list another's": {"list --owner bob --quiet", result{Stdout: `NAME    KIND         SIZE               DEFAULT  TEAM MAY  WHERE
data    file         -                  yes      -         -
s3@bob  object       -                  -        read      https://s3.example.org/b/p
home    block-array  10 GiB, encrypted  -        -         -
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
		"add nothing":     {"add more", result{2, "", "berth: give --endpoint for an object vault, --kind block for a block vault, or --file for a directory of the server (see: berth vault add --help)\n"}, ""},
		"no keys": {"add s3 --endpoint https://s3.example.org --keys " + empty, result{
			1, "", "berth: " + empty + " has no credentials (it needs the lines aws_access_key_id = … and aws_secret_access_key = …)\n",
		}, ""},
		"share":            {"share data", result{Stdout: "vault data shared\n"}, `PATCH /v1/vaults/data {"share":"write"}`},
		"share to read":    {"share data --read-only", result{Stdout: "vault data shared for reading\n"}, `PATCH /v1/vaults/data {"share":"read"}`},
		"share no more":    {"share data --stop", result{Stdout: "vault data shared no more\n"}, `PATCH /v1/vaults/data {"share":"none"}`},
		"default":          {"default data", result{Stdout: "vault data is the default\n"}, `PATCH /v1/vaults/data {"default":true}`},
		"keys":             {"keys data " + keys, result{Stdout: "credentials of vault data changed\n"}, `PATCH /v1/vaults/data {"access_key":"a","secret_key":"s=s"}`},
		"repair":           {"repair home", result{Stdout: "vault home repaired\n"}, "POST /v1/vaults/home/repair"},
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

// TestBlockVaultVerbs: a password comes by stdin, and is asked for at a terminal.
func TestBlockVaultVerbs(t *testing.T) {
	t.Parallel()
	const help = " (see: berth vault add --help)\n"
	for name, tc := range map[string]struct {
		args, stdin string
		want        result
		asked       string
	}{
		"block": {
			"--kind block --size 10GiB --share write", "",
			result{Stdout: "vault s3@bob added\n"},
			`POST /v1/vaults {"name":"home","kind":"block","share":"write","size":10737418240}`,
		},
		"array": {
			"--kind block-array --size 1.5 --images 4 --password-stdin", "correct horse\nmore",
			result{Stdout: "vault s3@bob added\n"},
			`POST /v1/vaults {"name":"home","kind":"block-array","size":1610612736,"images":4,"password":"correct horse"}`,
		},
		"no password":            {"--kind block --size 1 --password-stdin", "\n", result{1, "", "berth: there is no password (on stdin it is a line of its own)\n"}, ""},
		"no size":                {"--kind block", "", result{2, "", "berth: --size is for block vaults, and they need it" + help}, ""},
		"the size of a bucket":   {"--endpoint https://x --size 1", "", result{2, "", "berth: --size is for block vaults, and they need it" + help}, ""},
		"an encrypted directory": {"--file --encrypt", "", result{2, "", "berth: --images, --encrypt and --password-stdin are for block vaults" + help}, ""},
		"two kinds": {"--file --kind block --size 1", "", result{
			2, "", "berth: give --endpoint for an object vault, --kind block for a block vault, or --file for a directory of the server" + help,
		}, ""},
		"a tape": {"--kind tape --size 1", "", result{
			2, "", "berth: --kind tape is neither block nor block-array: --endpoint makes an object vault, and --file a directory of the server" + help,
		}, ""},
		"no terminal": {"--kind block --size 1 --encrypt", "word", result{
			2, "", "berth: --encrypt asks for the password, and there is no terminal: --password-stdin reads it from stdin" + help,
		}, ""},
		"half a megabyte": {"--kind block --size 0.5MB", "", result{
			2, "", "berth: --size \"0.5MB\" is no whole number of MB: give GiB, such as 4 or 1.5, or a unit, such as 512MB" + help,
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, vaultRoutes())
			got := command{args: append([]string{"vault", "add", "home"}, strings.Fields(tc.args)...), stdin: tc.stdin, env: f.env()}.run(t.Context(), t)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			var asked string
			for _, request := range f.asked() {
				asked = strings.NewReplacer("?username=ada", "").Replace(request)
			}
			if asked != tc.asked {
				t.Errorf("asked %q, want %q", asked, tc.asked)
			}
		})
	}
}

// TestNoRoomForAVault: to try again helps nobody.
func TestNoRoomForAVault(t *testing.T) {
	t.Parallel()
	f := newFake(t, map[string]http.HandlerFunc{"POST /v1/vaults": text(http.StatusInsufficientStorage, `{"error":"The server's disk is too small for this vault"}`)})
	want := result{1, "", "berth: vault home: The server's disk is too small for this vault " +
		"(an administrator of the server makes room; the log of berthd says on which disk)\n"}
	got := command{args: []string{"vault", "add", "home", "--kind", "block", "--size", "1"}, env: f.env()}.run(t.Context(), t)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestVaultPasswordVerb: two lines of stdin, and nothing of them is shown.
func TestVaultPasswordVerb(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args, stdin string
		want        result
		asked       string
	}{
		"changed": {
			"home --password-stdin", "correct horse\nbattery staple\nmore",
			result{Stdout: "password of vault home changed\n"},
			`POST /v1/vaults/home/password {"password":"correct horse","new_password":"battery staple"}`,
		},
		"as JSON": {
			"home --password-stdin --json", "correct horse\r\nbattery staple",
			result{Stdout: "{\n  \"status\": \"changed\",\n  \"vault\": \"home\"\n}\n"},
			`POST /v1/vaults/home/password {"password":"correct horse","new_password":"battery staple"}`,
		},
		"one line": {
			"home --password-stdin", "correct horse\n", result{1, "", "berth: there is no password (on stdin it is a line of its own)\n"}, "",
		},
		"no terminal": {
			"home", "correct horse\nbattery staple\n",
			result{2, "", "berth: it asks for the passwords, and there is no terminal: --password-stdin reads them from stdin (see: berth vault password --help)\n"},
			"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, vaultRoutes())
			got := command{args: append([]string{"vault", "password"}, strings.Fields(tc.args)...), env: f.env(), stdin: tc.stdin}.run(t.Context(), t)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			asked := strings.ReplaceAll(strings.Join(f.asked(), "\n"), "?username=ada", "")
			if asked != tc.asked {
				t.Errorf("asked %q, want %q", asked, tc.asked)
			}
		})
	}
}
