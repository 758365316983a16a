package client_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/client"
)

const (
	bobAnswer = `{"name":"bob","email":"b@x","admin":false,"disabled":false,"billing":true,"team":"fluids","team_admin":true,"payer":"ada"}`
	keyAnswer = `{"id":"k1","user":"bob","label":"laptop","read_only":true,"created":"2026-11-24T06:00:00Z"}`
)

var (
	bob    = client.User{Name: "bob", Email: "b@x", Billing: true, Team: "fluids", TeamAdmin: true, Payer: "ada"}
	laptop = client.Key{ID: "k1", User: "bob", Label: "laptop", ReadOnly: true, Created: morning}
)

func TestUsers(t *testing.T) {
	t.Parallel()
	no, team := false, ""
	checkExchanges(t, map[string]exchange{
		"list": {
			call: func(t *testing.T, c *client.Client) (any, error) { return c.Users(t.Context()) },
			want: "GET /v1/users?username=ada", answer: `{"users":[` + bobAnswer + `]}`, result: []client.User{bob},
		},
		"show": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				user, keys, err := c.User(t.Context(), "bob")
				return []any{user, keys}, err
			},
			want: "GET /v1/users/bob?username=ada", answer: `{"user":` + bobAnswer + `,"keys":[` + keyAnswer + `]}`,
			result: []any{bob, []client.Key{laptop}},
		},
		"add": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return c.AddUser(t.Context(), client.NewUser{Name: "bob", Email: "b@x", Team: "fluids", TeamAdmin: true, Key: client.KeyRequest{Label: "laptop"}})
			},
			want:   "POST /v1/users?username=ada",
			body:   `{"name":"bob","email":"b@x","billing":true,"team":"fluids","team_admin":true,"key":{"label":"laptop"}}`,
			answer: `{"user":` + bobAnswer + `,"key":` + keyAnswer + `,"apikey":"secret"}`,
			result: client.AddedUser{User: bob, NewKey: client.NewKey{Key: laptop, APIKey: "secret"}},
		},
		"add without billing": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				added, err := c.AddUser(t.Context(), client.NewUser{Name: "bob", NoBilling: true, Admin: true, Key: client.KeyRequest{Expires: morning}})
				return added.APIKey, err
			},
			want:   "POST /v1/users?username=ada",
			body:   `{"name":"bob","admin":true,"billing":false,"key":{"expires":"2026-11-24T06:00:00Z"}}`,
			answer: `{"apikey":"secret"}`,
			result: "secret",
		},
		"change": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return c.ChangeUser(t.Context(), "bob", client.UserChange{Billing: &no, Team: &team})
			},
			want: "PATCH /v1/users/bob?username=ada", body: `{"billing":false,"team":""}`, answer: `{"user":` + bobAnswer + `}`, result: bob,
		},
		"add a key": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return c.AddKey(t.Context(), "bob", client.KeyRequest{Label: "laptop", ReadOnly: true, ExpiresIn: 90 * time.Minute})
			},
			want:   "POST /v1/users/bob/keys?username=ada",
			body:   `{"label":"laptop","read_only":true,"expires_in":"1h30m0s"}`,
			answer: `{"key":` + keyAnswer + `,"apikey":"secret"}`,
			result: client.NewKey{Key: laptop, APIKey: "secret"},
		},
		"revoke a key": {
			call: func(t *testing.T, c *client.Client) (any, error) { return nil, c.RevokeKey(t.Context(), "bob", "k1") },
			want: "DELETE /v1/users/bob/keys/k1?username=ada", answer: `{"status":"revoked"}`,
		},
	})
}

func TestSSHKeys(t *testing.T) {
	t.Parallel()
	const answer = `{"fingerprint":"SHA256:a/b+c","key":"ssh-ed25519 A","comment":"ada@laptop","added":"2026-11-24T06:00:00Z"}`
	key := client.SSHKey{Fingerprint: "SHA256:a/b+c", Key: "ssh-ed25519 A", Comment: "ada@laptop", Added: morning}
	checkExchanges(t, map[string]exchange{
		"list": {
			call: func(t *testing.T, c *client.Client) (any, error) { return c.SSHKeys(t.Context()) },
			want: "GET /v1/sshkeys?username=ada", answer: `{"keys":[` + answer + `]}`, result: []client.SSHKey{key},
		},
		"add": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return c.AddSSHKey(t.Context(), "ssh-ed25519 A ada@laptop")
			},
			want: "POST /v1/sshkeys?username=ada", body: `{"key":"ssh-ed25519 A ada@laptop"}`, answer: `{"key":` + answer + `}`, result: key,
		},
		"remove": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return nil, c.RemoveSSHKey(t.Context(), key.Fingerprint)
			},
			want: "DELETE /v1/sshkeys?fingerprint=SHA256%3Aa%2Fb%2Bc&username=ada", answer: `{"status":"removed"}`,
		},
	})
}

func TestTeams(t *testing.T) {
	t.Parallel()
	fluids := client.Team{Name: "fluids", Payer: "ada"}
	checkExchanges(t, map[string]exchange{
		"list": {
			call: func(t *testing.T, c *client.Client) (any, error) { return c.Teams(t.Context()) },
			want: "GET /v1/teams?username=ada", answer: `{"teams":[{"name":"fluids","payer":"ada"}]}`, result: []client.Team{fluids},
		},
		"add": {
			call: func(t *testing.T, c *client.Client) (any, error) { return c.AddTeam(t.Context(), fluids) },
			want: "POST /v1/teams?username=ada", body: `{"name":"fluids","payer":"ada"}`,
			answer: `{"team":{"name":"fluids","payer":"ada"}}`, result: fluids,
		},
		"change": {
			call: func(t *testing.T, c *client.Client) (any, error) { return c.ChangeTeam(t.Context(), fluids) },
			want: "PATCH /v1/teams/fluids?username=ada", body: `{"payer":"ada"}`,
			answer: `{"team":{"name":"fluids","payer":"ada"}}`, result: fluids,
		},
		"remove": {
			call: func(t *testing.T, c *client.Client) (any, error) { return nil, c.RemoveTeam(t.Context(), "fluids") },
			want: "DELETE /v1/teams/fluids?username=ada", answer: `{"status":"removed"}`,
		},
	})
}

func TestMachineTypes(t *testing.T) {
	t.Parallel()
	n1 := client.MachineType{
		Name: "n1", Description: "half of it", Cores: 2, RAM: 4096, ScratchMB: 1024, ScaleMin: 1, ScaleMax: 4, GraceSeconds: 10, Personal: true, Price: 0.5, Position: 1,
	}
	const body = `{"description":"half of it","cores":2,"ram_mb":4096,"gpus":0,"scratch_mb":1024,"scale_min":1,"scale_max":4,"grace_seconds":10,` +
		`"personal":true,"price":0.5,"position":1}`
	shown := `{"name":"n1",` + body[1:]
	checkExchanges(t, map[string]exchange{
		"list": {
			call: func(t *testing.T, c *client.Client) (any, error) { return c.MachineTypes(t.Context()) },
			want: "GET /v1/machines?username=ada", answer: `{"machines":[` + shown + `]}`, result: []client.MachineType{n1},
		},
		"set": {
			call: func(t *testing.T, c *client.Client) (any, error) { return c.SetMachine(t.Context(), n1) },
			want: "PUT /v1/machines/n1?username=ada", body: body, answer: `{"machine":` + shown + `}`, result: n1,
		},
		"remove": {
			call: func(t *testing.T, c *client.Client) (any, error) { return nil, c.RemoveMachine(t.Context(), "n1") },
			want: "DELETE /v1/machines/n1?username=ada", answer: `{"status":"removed"}`,
		},
	})
}

func TestAudit(t *testing.T) {
	t.Parallel()
	const record = `{"id":7,"at":"2026-11-24T06:00:00Z","by":"ada","from":"127.0.0.1","act":"signaled","number":3,"signal":20,"new":true}`
	checkExchanges(t, map[string]exchange{
		"everything": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				page, err := c.Audit(t.Context(), client.AuditFilter{})
				if err == nil && string(page.Records[0].Raw) != record {
					t.Errorf("raw is %s", page.Records[0].Raw)
				}
				page.Records[0].Raw = nil
				return page, err
			},
			want: "GET /v1/audit?username=ada", answer: `{"records":[` + record + `],"next":7}`,
			result: client.AuditPage{Next: 7, Records: []client.AuditRecord{
				{ID: 7, At: morning, By: "ada", From: "127.0.0.1", Act: "signaled", Number: 3, Signal: 20},
			}},
		},
		"filtered": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				page, err := c.Audit(t.Context(), client.AuditFilter{
					By: "ada", Subject: "bob", Number: 3, Since: morning.Add(time.Millisecond), Before: 7, Limit: 10,
				})
				return page.Next, err
			},
			want:   "GET /v1/audit?before=7&by=ada&limit=10&number=3&since=2026-11-24T06%3A00%3A00.001Z&subject=bob&username=ada",
			answer: `{"records":[],"next":0}`, result: int64(0),
		},
	})
}

// TestNamesStaySegments is about names that would make the address of something else.
func TestNamesStaySegments(t *testing.T) {
	t.Parallel()
	var got []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.URL.EscapedPath())
		answer(w, http.StatusNotFound, `{"error":"User not found"}`)
	})
	for _, name := range []string{"", ".", "..", "a/b", "../teams", "a?b#c", "%2e%2e"} {
		if _, _, err := c.User(t.Context(), name); err == nil {
			t.Errorf("no error for %q", name)
		}
	}
	want := []string{"/v1/users/a%2Fb", "/v1/users/..%2Fteams", "/v1/users/a%3Fb%23c", "/v1/users/%252e%252e"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}
