package httpapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

const shownAda = `{"name":"ada","email":"ada@example.org","admin":false,"disabled":false,"billing":true,"team":"lab","team_admin":false,"payer":"bob"}`

const shownKey = `{"id":"k1","user":"ada","label":"laptop","read_only":false,"created":"2023-09-06T10:42:00Z"}`

const shownSSHKey = `{"fingerprint":"SHA256:a/b+c","key":"ssh-ed25519 A","comment":"ada@laptop","added":"2023-09-06T10:42:00Z"}`

// TestAccounts checks the answers of our own API on accounts, byte by byte.
func TestAccounts(t *testing.T) {
	const n0 = `{"name":"n0","description":"one core","cores":1,"ram_mb":4608,"gpus":0,"scratch_mb":0,"scale_min":1,"scale_max":1,` +
		`"grace_seconds":0,"personal":false,"price":0.5,"position":0}`
	tests := map[string]struct {
		request, body string
		status        int
		want          string
	}{
		"a user":          {"GET /v1/users/ada?" + asAda, "", 200, `{"user":` + shownAda + `,"keys":[` + shownKey + `]}`},
		"another":         {"GET /v1/users/bob?" + asAda, "", 404, `{"error":"User not found"}`},
		"by admin":        {"GET /v1/users/ada?" + asRoot, "", 200, ""},
		"change":          {"PATCH /v1/users/ada?" + asRoot, `{"billing":false}`, 200, `{"user":` + shownAda + `}`},
		"change nobody":   {"PATCH /v1/users/eve?" + asRoot, `{"billing":false}`, 404, `{"error":"User not found"}`},
		"change by ada":   {"PATCH /v1/users/ada?" + asAda, `{"admin":true}`, 403, `{"error":"Only an administrator may do this"}`},
		"key":             {"POST /v1/users/ada/keys?" + asAda, `{"label":"laptop"}`, 200, `{"key":` + shownKey + `,"apikey":"s3cret"}`},
		"key, no body":    {"POST /v1/users/ada/keys?" + asAda, "", 200, ""},
		"key by read key": {"POST /v1/users/ada/keys?username=ada&apikey=" + readKey, "{}", 403, `{"error":"This key may only read"}`},
		"revoke":          {"DELETE /v1/users/ada/keys/k1?" + asAda, "", 200, `{"status":"revoked"}`},
		"revoke no key":   {"DELETE /v1/users/ada/keys/k9?" + asAda, "", 404, `{"error":"Key not found"}`},
		"ssh keys":        {"GET /v1/sshkeys?" + asAda, "", 200, `{"keys":[` + shownSSHKey + `]}`},
		"no ssh keys":     {"GET /v1/sshkeys?" + asRoot, "", 200, `{"keys":[]}`},
		"add ssh key":     {"POST /v1/sshkeys?" + asAda, `{"key":"ssh-ed25519 A"}`, 200, `{"key":` + shownSSHKey + `}`},
		"many ssh keys":   {"POST /v1/sshkeys?" + asAda, `{"key":"one\nmore"}`, 429, `{"error":"You have too many keys: 50, remove one first"}`},
		"ssh key there":   {"POST /v1/sshkeys?" + asAda, `{"key":"there"}`, 409, `{"error":"You have this key already"}`},
		"remove ssh key":  {"DELETE /v1/sshkeys?fingerprint=SHA256:a%2Fb%2Bc&" + asAda, "", 200, `{"status":"removed"}`},
		"no such ssh key": {"DELETE /v1/sshkeys?fingerprint=x&" + asAda, "", 404, `{"error":"Key not found"}`},
		"which ssh key":   {"DELETE /v1/sshkeys?" + asAda, "", 400, `{"error":"Required parameter(s) missing: fingerprint"}`},
		"ssh key by read": {"POST /v1/sshkeys?username=ada&apikey=" + readKey, `{"key":"x"}`, 403, `{"error":"This key may only read"}`},
		"teams":           {"GET /v1/teams?" + asAda, "", 200, `{"teams":[{"name":"lab","payer":"bob"}]}`},
		"add a team":      {"POST /v1/teams?" + asRoot, `{"name":"ops","payer":"root"}`, 200, `{"team":{"name":"ops","payer":"root"}}`},
		"same team":       {"POST /v1/teams?" + asRoot, `{"name":"lab","payer":"root"}`, 409, `{"error":"There is a team lab already"}`},
		"change a team":   {"PATCH /v1/teams/lab?" + asRoot, `{"payer":"ada"}`, 200, `{"team":{"name":"lab","payer":"ada"}}`},
		"no such team":    {"PATCH /v1/teams/x?" + asRoot, `{"payer":"ada"}`, 404, `{"error":"Team not found"}`},
		"remove a team":   {"DELETE /v1/teams/lab?" + asRoot, "", 200, `{"status":"removed"}`},
		"team by ada":     {"DELETE /v1/teams/lab?" + asAda, "", 403, `{"error":"Only an administrator may do this"}`},
		"set a machine":   {"PUT /v1/machines/n0?" + asRoot, `{"description":"one core","cores":1,"ram_mb":4608,"price":0.5}`, 200, `{"machine":` + n0 + `}`},
		"remove machine":  {"DELETE /v1/machines/n0?" + asRoot, "", 200, `{"status":"removed"}`},
		"no such machine": {"DELETE /v1/machines/n9?" + asRoot, "", 404, `{"error":"Machine type not found"}`},
		"machine by ada":  {"PUT /v1/machines/n0?" + asAda, `{"cores":1,"ram_mb":1}`, 403, `{"error":"Only an administrator may do this"}`},
		"users, bad key":  {"GET /v1/users?username=ada&apikey=x", "", 401, `{"error":"Unauthorized"}`},
		"users, nobody":   {"GET /v1/users", "", 400, `{"error":"User required"}`},
	}
	a := newTestAPI(t)
	for name, tt := range tests {
		method, path, _ := strings.Cut(tt.request, " ")
		got := a.send(method, path, "application/json", tt.body)
		if got.status != tt.status || tt.want != "" && got.body != tt.want || got.header.Get("Content-Type") != contentJSON {
			t.Errorf("%s: status %d: %s", name, got.status, got.body)
		}
	}
	if got := a.get("/v1/users?" + asAda); !strings.HasPrefix(got.body, `{"users":[`+shownAda+`,{"name":"bob",`) {
		t.Errorf("users: %s", got.body)
	}
	if got := a.get("/v1/machines?" + asAda); !strings.HasPrefix(got.body, `{"machines":[`+n0+`,{"name":"n1",`) {
		t.Errorf("machines: %s", got.body)
	}
}

func TestAddUser(t *testing.T) {
	a := newTestAPI(t)
	got := a.send(http.MethodPost, "/v1/users?"+asRoot, form, `{"name":"eve","email":"e@x.org","admin":false,"billing":false,"team":"lab",`+
		`"team_admin":true,"key":{"label":"first","read_only":true,"expires":"2024-01-01T01:00:00+01:00"}}`)
	want := control.UserRequest{
		Name: "eve", Email: "e@x.org", NoBilling: true, Team: "lab", TeamAdmin: true,
		Key: control.KeyRequest{Label: "first", ReadOnly: true, Expires: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)},
	}
	if diff := cmp.Diff(want, a.newUser); got.status != 200 || diff != "" {
		t.Errorf("status %d: %s; control got (-want +got)\n%s", got.status, got.body, diff)
	}
	if want := `"expires":"2024-01-01T00:00:00Z"},"apikey":"s3cret"}`; !strings.HasSuffix(got.body, want) {
		t.Errorf("answer %s", got.body)
	}
	if got := a.send(http.MethodPost, "/v1/users?"+asRoot, "", ` {"name":"eve"}`); got.status != 200 {
		t.Errorf("status %d: %s", got.status, got.body)
	}
	if diff := cmp.Diff(control.UserRequest{Name: "eve"}, a.newUser); diff != "" {
		t.Errorf("the least (-want +got)\n%s", diff)
	}
	a.send(http.MethodPost, "/v1/users/ada/keys?"+asAda, "", `{"expires_in":"720h"}`)
	if want := submittedAt().Add(time.Minute + 720*time.Hour); !a.newKey.Expires.Equal(want) {
		t.Errorf("the key expires at %v", a.newKey.Expires)
	}
}

func TestChangeUser(t *testing.T) {
	for body, want := range map[string]berth.UserChange{
		`{"email":"","team":null}`:                               {Email: new("")},
		`{"admin":true,"disabled":false}`:                        {Admin: new(true), Disabled: new(false)},
		`{"billing":"true","team":"","team_admin":false}`:        {Billing: new(true), Team: new(""), TeamAdmin: new(false)},
		"\n{\"email\":\"x@y\",\"email\":\"z@y\",\"team\":\"l\"}": {Email: new("z@y"), Team: new("l")},
	} {
		a := newTestAPI(t)
		got := a.send(http.MethodPatch, "/v1/users/ada?"+asRoot, "text/html", body)
		if diff := cmp.Diff(want, a.userChange); got.status != 200 || diff != "" {
			t.Errorf("%s: status %d; control got (-want +got)\n%s", body, got.status, diff)
		}
	}
}

func TestSetMachine(t *testing.T) {
	a := newTestAPI(t)
	got := a.send(http.MethodPut, "/v1/machines/big.1?"+asRoot, "", `{"description":"ä","cores":"64","ram_mb":1048576,"gpus":8,"scratch_mb":1024,"scale_min":2,`+
		`"scale_max":16,"grace_seconds":90,"personal":true,"price":1.25e1,"position":7}`)
	want := berth.Machine{
		Name: "big.1", Description: "ä", Cores: 64, RAM: 1 << 40, GPUs: 8, Scratch: 1 << 30, ScaleMin: 2, ScaleMax: 16, Grace: 90 * time.Second,
		Personal: true, Price: 12.5, Position: 7,
	}
	if diff := cmp.Diff(want, a.machine); got.status != 200 || diff != "" {
		t.Errorf("status %d: %s; control got (-want +got)\n%s", got.status, got.body, diff)
	}
}

// TestOwnBodies checks that what is wrong with a body of our own API is named, with what is allowed.
func TestOwnBodies(t *testing.T) {
	const users, keys, teams, machine = "POST /v1/users", "POST /v1/users/ada/keys", "POST /v1/teams", "PUT /v1/machines/n0"
	future := "in the future and at most 100 years ahead is allowed"
	for _, tt := range []struct{ request, body, text string }{
		{users, "", "Invalid parameter(s): name: nothing was sent, a text is required"},
		{users, "[]", "Bad Request: body: is not a JSON object"},
		{users, "name=eve", "Bad Request: body: is not a JSON object"},
		{users, `{"name":`, "Bad Request: body: is not JSON: "},
		{users, "{\"name\":\"\xff\"}", "Bad Request: body: is not valid UTF-8"},
		{users, `{"name":""}`, `Invalid parameter(s): name: "" was sent, a text is required`},
		{users, `{"name":7}`, "Invalid parameter(s): name: 7 was sent, a text is allowed"},
		{users, `{"name":"a\u0000"}`, `Invalid parameter(s): name: "a\x00" was sent, a text without control characters is allowed`},
		{users, `{"name":"a","Email":"x"}`, `Invalid parameter(s): "Email": is not known here, allowed are name, email, admin, billing, team, team_admin, key`},
		{users, `{"name":"a","apikey":"x"}`, `Invalid parameter(s): "apikey": is not known here, `},
		{users, `{"name":"a","admin":"maybe"}`, `Invalid parameter(s): admin: "maybe" was sent, true or false is allowed`},
		{users, `{"name":"a","key":[]}`, "Invalid parameter(s): key: a list was sent, an object is allowed"},
		{users, `{"name":"a","key":{"x":1}}`, `Invalid parameter(s): key."x": is not known here, allowed are label, read_only, expires, expires_in`},
		{users, `{"name":"a","key":{"expires":"now"}}`, `Invalid parameter(s): key.expires: "now" was sent, a time such as 2030-01-31T12:00:00Z ` + future},
		{keys, `{"expires":"2020-01-01T00:00:00Z"}`, "Invalid parameter(s): expires: "},
		{keys, `{"expires":"9999-12-31T23:59:59-01:00"}`, "Invalid parameter(s): expires: "},
		{keys, `{"expires_in":"-1h"}`, `Invalid parameter(s): expires_in: "-1h" was sent, a duration such as 720h ` + future},
		{keys, `{"expires_in":"2000000h"}`, "Invalid parameter(s): expires_in: "},
		{keys, `{"expires_in":"1h","expires":"2030-01-01T00:00:00Z"}`, "Invalid parameter(s): expires_in: was sent with expires, one of them is allowed"},
		{keys, `{"read_only":1,"label":{}}`, "Invalid parameter(s): label: an object was sent, a text is allowed; read_only: 1 was sent, true or false is allowed"},
		{"PATCH /v1/users/ada", "{}", "Invalid parameter(s): body: changes nothing, at least one member is required"},
		{"PATCH /v1/users/ada", `{"name":"x"}`, `Invalid parameter(s): "name": is not known here, `},
		{"POST /v1/sshkeys", `{}`, "Invalid parameter(s): key: nothing was sent, a text is required"},
		{"POST /v1/sshkeys", `{"key":7}`, "Invalid parameter(s): key: 7 was sent, a text is allowed"},
		{teams, `{"name":"x"}`, "Invalid parameter(s): payer: nothing was sent, a text is required"},
		{"PATCH /v1/teams/lab", `{"name":"x","payer":"ada"}`, `Invalid parameter(s): "name": is not known here, allowed are payer`},
		{machine, `{}`, "Invalid parameter(s): cores: nothing was sent, a whole number is required; ram_mb: nothing was sent, a whole number is required"},
		{machine, `{"cores":0,"ram_mb":1}`, "Invalid parameter(s): cores: 0 was sent, a whole number from 1 to 1048576 is allowed"},
		{machine, `{"cores":1.5,"ram_mb":1}`, "Invalid parameter(s): cores: "},
		{machine, `{"cores":1,"ram_mb":1e30}`, "Invalid parameter(s): ram_mb: "},
		{machine, `{"cores":1,"ram_mb":1,"price":-1}`, "Invalid parameter(s): price: -1 was sent, a number from 0 on is allowed"},
		{machine, `{"cores":1,"ram_mb":1,"price":1e999}`, "Invalid parameter(s): price: "},
		{machine, `{"cores":1,"ram_mb":1,"name":"n0"}`, `Invalid parameter(s): "name": is not known here, `},
	} {
		a := newTestAPI(t)
		method, path, _ := strings.Cut(tt.request, " ")
		got := a.send(method, path+"?"+asRoot, "application/json", tt.body)
		if text := got.errorText(t); got.status != 400 || !matches(text, tt.text) {
			t.Errorf("%s %s: status %d: %s", tt.request, tt.body, got.status, text)
		}
		if a.newUser.Name != "" || a.machine.Name != "" {
			t.Errorf("%s %s: control was asked", tt.request, tt.body)
		}
	}
}

// TestAccountFailures checks that a failure of control is answered and nothing else is told.
func TestAccountFailures(t *testing.T) {
	for operation, request := range map[string]string{
		"Users": "GET /v1/users", "User": "GET /v1/users/ada", "AddUser": `POST /v1/users {"name":"x"}`,
		"ChangeUser": `PATCH /v1/users/ada {"admin":true}`, "AddKey": "POST /v1/users/ada/keys {}", "RevokeKey": "DELETE /v1/users/ada/keys/k1",
		"SSHKeys": "GET /v1/sshkeys", "AddSSHKey": `POST /v1/sshkeys {"key":"x"}`,
		"Teams": "GET /v1/teams", "AddTeam": `POST /v1/teams {"name":"x","payer":"y"}`, "ChangeTeam": `PATCH /v1/teams/lab {"payer":"y"}`,
		"RemoveTeam": "DELETE /v1/teams/lab", "Machines": "GET /v1/machines", "SetMachine": `PUT /v1/machines/x {"cores":1,"ram_mb":1}`,
		"RemoveMachine": "DELETE /v1/machines/n0", "Audit": "GET /v1/audit", "Explain": "GET /v1/jobs/8/events", "Metrics": "GET /v1/jobs/8/metrics",
	} {
		a := newTestAPI(t)
		a.fail[operation] = fmt.Errorf("secret: %w", http.ErrAbortHandler)
		parts := append(strings.SplitN(request, " ", 3), "")
		key := asRoot
		if strings.Contains(parts[1], "/jobs/") {
			key = asAda
		}
		got := a.send(parts[0], parts[1]+"?"+key, "", parts[2])
		if text := got.errorText(t); got.status != 500 || text != "Internal error" || !strings.Contains(a.log.String(), "secret") {
			t.Errorf("%s: status %d: %s", operation, got.status, text)
		}
	}
}

func TestAudit(t *testing.T) {
	a := newTestAPI(t)
	at := submittedAt()
	a.audited = []berth.Record{
		{ID: 9, Act: berth.Act{Kind: berth.ActUserChanged, At: at, By: "root", From: "10.0.0.1", Subject: "ada", Detail: "billing=false"}},
		record(8, time.Second, berth.StateRunning, berth.Event{Kind: berth.EventSignaled, By: "ada", Signal: 9}),
	}
	const records = `{"records":[{"id":9,"at":"2023-09-06T10:42:00Z","by":"root","from":"10.0.0.1","act":"user-changed","subject":"ada",` +
		`"detail":"billing=false"},{"id":8,"at":"2023-09-06T10:42:01Z","by":"ada","act":"signaled","number":8,"signal":9}],"next":`
	filter := map[string]string{
		"by": "ada", "subject": "x", "number": "8", "since": "2023-09-06T12:42:00+02:00", "before": "77", "limit": "2",
	}
	want := control.AuditFilter{By: "ada", Subject: "x", Number: 8, Since: at, Before: 77, Limit: 2}
	for way, send := range ways() {
		a.auditFilter = control.AuditFilter{}
		got := send(a, "/jarvice/audit", merged(with(), filter))
		if got.body != records+`8}` {
			t.Errorf("%s: status %d: %s", way, got.status, got.body)
		}
		if diff := cmp.Diff(want, a.auditFilter); diff != "" {
			t.Errorf("%s: control got (-want +got)\n%s", way, diff)
		}
	}
	if got := a.get("/v1/audit?" + asRoot); got.body != records+`0}` || a.auditFilter != (control.AuditFilter{Limit: 100}) {
		t.Errorf("all: control got %+v: %s", a.auditFilter, got.body)
	}
	for _, bad := range []string{"limit=0", "limit=1001", "limit=x", "since=yesterday", "before=-1", "number=x"} {
		for _, path := range []string{"/v1/audit?", "/jarvice/audit?"} {
			if got := a.get(path + bad + "&" + asAda); got.status != 400 {
				t.Errorf("%s: status %d: %s", bad, got.status, got.body)
			}
		}
	}
}
