package main

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const sshKeyAnswer = `{"fingerprint":"SHA256:a/b+c","key":"ssh-ed25519 A","comment":"ada@laptop","added":"2026-10-06T10:42:00Z"}`

func TestSSHKeys(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "id.pub")
	if err := os.WriteFile(file, []byte("ssh-ed25519 A ada@laptop\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const list, add, remove = "GET /v1/sshkeys?username=ada", "POST /v1/sshkeys?username=ada ", "DELETE /v1/sshkeys?fingerprint=SHA256%3Aa%2Fb%2Bc&username=ada"
	const usage = "berth: give the FILE of a public key, - for stdin, or the key itself with --key (see: berth sshkey add --help)\n"
	for name, tc := range map[string]struct {
		args  []string
		stdin string
		want  result
		asked []string
	}{
		"list": {args: []string{"list"}, asked: []string{list}, want: result{Stdout: `FINGERPRINT   COMMENT     ADDED
SHA256:a/b+c  ada@laptop  2026-10-06 12:42:00
`}},
		"list as JSON": {args: []string{"list", "--json"}, asked: []string{list}, want: result{Stdout: `{
  "keys": [
    {
      "fingerprint": "SHA256:a/b+c",
      "key": "ssh-ed25519 A",
      "comment": "ada@laptop",
      "added": "2026-10-06T10:42:00Z"
    }
  ]
}
`}},
		"add a file": {
			args: []string{"add", file}, asked: []string{add + `{"key":"ssh-ed25519 A ada@laptop\n"}`}, want: result{Stdout: "SHA256:a/b+c\n"},
		},
		"add from stdin": {
			args: []string{"add", "-"}, stdin: "ssh-rsa B", asked: []string{add + `{"key":"ssh-rsa B"}`}, want: result{Stdout: "SHA256:a/b+c\n"},
		},
		"add a text": {
			args: []string{"add", "--key", "ssh-rsa B"}, asked: []string{add + `{"key":"ssh-rsa B"}`}, want: result{Stdout: "SHA256:a/b+c\n"},
		},
		"add nothing": {args: []string{"add"}, want: result{2, "", usage}},
		"add two":     {args: []string{"add", "--key", "ssh-rsa B", file}, want: result{2, "", usage}},
		"add a private key": {
			args: []string{"add", "-"}, stdin: "-----BEGIN OPENSSH PRIVATE KEY-----\n",
			want: result{1, "", "berth: this is a private key, and was not sent (give the public one, in the file that ends in .pub)\n"},
		},
		"remove": {
			args: []string{"remove", "SHA256:a/b+c"}, asked: []string{remove}, want: result{Stdout: "key SHA256:a/b+c removed\n"},
		},
		"complete": {args: []string{"__complete", "remove", ""}, asked: []string{list}, want: result{
			Stdout: "SHA256:a/b+c\tada@laptop\n:4\n", Stderr: "Completion ended with directive: ShellCompDirectiveNoFileComp\n",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, map[string]http.HandlerFunc{
				"GET /v1/sshkeys": text(200, `{"keys":[`+sshKeyAnswer+`]}`), "POST /v1/sshkeys": text(200, `{"key":`+sshKeyAnswer+`}`),
				"DELETE /v1/sshkeys": text(200, `{"status":"removed"}`),
			})
			args := append([]string{"sshkey"}, tc.args...)
			if tc.args[0] == "__complete" {
				args = append([]string{"__complete", "sshkey"}, tc.args[1:]...)
			}
			got := command{args: args, stdin: tc.stdin, env: f.env()}.run(t.Context(), t)
			check(t, tc.want, got)
			if diff := cmp.Diff(tc.asked, f.asked()); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}
