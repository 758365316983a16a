package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	adaAnswer  = `{"name":"ada","email":"a@x","admin":true,"disabled":false,"billing":true,"team":"fluids","team_admin":false,"payer":"ada"}`
	bobAnswer  = `{"name":"bob","email":"","admin":false,"disabled":true,"billing":false,"team":"fluids","team_admin":true,"payer":"ada"}`
	usedKey    = `{"id":"k1","user":"bob","label":"laptop","read_only":false,"created":"2026-10-01T10:00:00Z","expires":"2026-10-31T10:00:00Z"}`
	readerKey  = `{"id":"k2","user":"bob","label":"","read_only":true,"created":"2026-10-01T10:00:00Z"}`
	oldKey     = `{"id":"k3","user":"bob","label":"old","read_only":false,"created":"2026-10-01T10:00:00Z","expires":"2026-10-02T10:00:00Z"}`
	keyMade    = `{"key":{"id":"k4","user":"bob","label":"laptop","read_only":false,"created":"2026-10-06T11:00:00Z"},"apikey":"secret"}`
	n0Answer   = `{"name":"n0","description":"one core","cores":1,"ram_mb":1536,"gpus":0,"scratch_mb":0,"scale_min":1,"scale_max":1,"grace_seconds":0,"personal":false,"price":0,"position":0}`
	n1Answer   = `{"name":"n1","description":"","cores":2,"ram_mb":4096,"gpus":1,"scratch_mb":10240,"scale_min":1,"scale_max":4,"grace_seconds":90,"personal":true,"price":0.5,"position":3}`
	auditFirst = `{"id":9,"at":"2026-10-06T10:42:00Z","by":"ada","from":"127.0.0.1","act":"signaled","number":12,"signal":20}`
	auditLast  = `{"id":7,"at":"2026-10-06T10:41:00Z","by":"ada","from":"127.0.0.1","act":"user-added","subject":"bob","detail":"email=b@x"}`
)

func administered() map[string]http.HandlerFunc {
	routes := recorded()
	for route, answer := range map[string]string{
		"GET /v1/users":                `{"users":[` + adaAnswer + `,` + bobAnswer + `]}`,
		"GET /v1/users/bob":            `{"user":` + bobAnswer + `,"keys":[` + usedKey + `,` + readerKey + `,` + oldKey + `]}`,
		"POST /v1/users":               `{"user":` + bobAnswer + `,` + keyMade[1:],
		"PATCH /v1/users/bob":          `{"user":` + bobAnswer + `}`,
		"POST /v1/users/bob/keys":      keyMade,
		"DELETE /v1/users/bob/keys/k1": `{"status":"revoked"}`,
		"GET /v1/teams":                `{"teams":[{"name":"fluids","payer":"ada"}]}`,
		"POST /v1/teams":               `{"team":{"name":"fluids","payer":"ada"}}`,
		"PATCH /v1/teams/fluids":       `{"team":{"name":"fluids","payer":"bob"}}`,
		"DELETE /v1/teams/fluids":      `{"status":"removed"}`,
		"GET /v1/machines":             `{"machines":[` + n0Answer + `,` + n1Answer + `]}`,
		"PUT /v1/machines/n1":          `{"machine":` + n1Answer + `}`,
		"PUT /v1/machines/big":         `{"machine":` + n1Answer + `}`,
		"DELETE /v1/machines/n1":       `{"status":"removed"}`,
		"GET /v1/audit":                `{"records":[` + auditFirst + `,` + auditLast + `],"next":0}`,
	} {
		routes[route] = text(http.StatusOK, answer)
	}
	return routes
}

// TestAdminListings holds what a person reads.
func TestAdminListings(t *testing.T) {
	t.Parallel()
	f := newFake(t, administered())
	const keys = `KEY  LABEL   MAY   CREATED              EXPIRES
k1   laptop  act   2026-10-01 12:00:00  2026-10-31 12:00:00
k2   -       read  2026-10-01 12:00:00  -
k3   old     act   2026-10-01 12:00:00  2026-10-02 12:00:00
`
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"users": {[]string{"user", "list"}, `NAME  EMAIL  TEAM    ROLE          BILLING  STATUS
ada   a@x    fluids  admin, payer  on       active
bob   -      fluids  team admin    off      disabled
`},
		"user": {[]string{"user", "show", "bob"}, `name          bob
team          fluids
payer         ada
role          team admin
billing       off
status        disabled

` + keys},
		"keys":  {[]string{"user", "key", "list", "bob"}, keys},
		"teams": {[]string{"team", "list"}, "NAME    PAYER\nfluids  ada\n"},
		"machines": {[]string{"machine", "list"}, `NAME  CORES  MEMORY   GPUS  SCRATCH  NODES  GRACE  PERSONAL  PRICE  POSITION  DESCRIPTION
n0    1      1.5 GiB  0     -        1      -      -         0      0         one core
n1    2      4.0 GiB  1     10 GiB   1-4    1m30s  yes       0.5    3         -
`},
		"audit": {[]string{"audit"}, `TIME                 BY   FROM       ACT         ON      DETAIL
2026-10-06 12:42:00  ada  127.0.0.1  signaled    job 12  signal 20 (TSTP)
2026-10-06 12:41:00  ada  127.0.0.1  user-added  bob     email=b@x
`},
		"audit as JSON": {[]string{"audit", "--json"}, auditFirst + "\n" + auditLast + "\n"},
		"teams as JSON": {[]string{"team", "list", "--json"}, "{\n  \"teams\": [\n    {\n      \"name\": \"fluids\",\n      \"payer\": \"ada\"\n    }\n  ]\n}\n"},
		"keys as JSON": {[]string{"user", "key", "list", "bob", "--json"}, `{
  "keys": [
    {
      "id": "k1",
      "user": "bob",
      "label": "laptop",
      "read_only": false,
      "created": "2026-10-01T10:00:00Z",
      "expires": "2026-10-31T10:00:00Z"
    },
    {
      "id": "k2",
      "user": "bob",
      "label": "",
      "read_only": true,
      "created": "2026-10-01T10:00:00Z"
    },
    {
      "id": "k3",
      "user": "bob",
      "label": "old",
      "read_only": false,
      "created": "2026-10-01T10:00:00Z",
      "expires": "2026-10-02T10:00:00Z"
    }
  ]
}
`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, result{Stdout: tc.want}, f.berth(t, append([]string{"admin"}, tc.args...)...))
		})
	}
}

// TestAdminActs holds what is sent, and what a person reads of it.
func TestAdminActs(t *testing.T) {
	t.Parallel()
	const setMachines = "GET /v1/machines?username=ada"
	for name, tc := range map[string]struct {
		args []string
		sent []string
		want result
	}{
		"add a user": {
			[]string{"user", "add", "bob", "--email", "b@x", "--team", "fluids", "--team-admin", "--key-label", "l", "--expires", "720h"},
			[]string{`POST /v1/users?username=ada {"name":"bob","email":"b@x","billing":true,"team":"fluids","team_admin":true,"key":{"label":"l","expires_in":"720h0m0s"}}`},
			result{Stdout: "secret\n", Stderr: "key k4 of bob: keep it now, it is not shown again\n"},
		},
		"add an administrator who submits nothing": {
			[]string{"user", "add", "bob", "--admin", "--no-billing", "--read-only", "-q"},
			[]string{`POST /v1/users?username=ada {"name":"bob","admin":true,"billing":false,"key":{"read_only":true}}`},
			result{Stdout: "secret\n"},
		},
		"disable": {
			[]string{"user", "disable", "bob"},
			[]string{`PATCH /v1/users/bob?username=ada {"disabled":true}`},
			result{Stdout: "user bob disabled\n"},
		},
		"enable": {
			[]string{"user", "enable", "bob"},
			[]string{`PATCH /v1/users/bob?username=ada {"disabled":false}`},
			result{Stdout: "user bob enabled\n"},
		},
		"billing": {
			[]string{"user", "billing", "bob", "off"},
			[]string{`PATCH /v1/users/bob?username=ada {"billing":false}`},
			result{Stdout: "user bob has billing off\n"},
		},
		"set what is given": {
			[]string{"user", "set", "bob", "--team", "", "--admin=false"},
			[]string{`PATCH /v1/users/bob?username=ada {"admin":false,"team":""}`},
			result{Stdout: "user bob changed\n"},
		},
		"add a key": {
			[]string{"user", "key", "add", "bob", "--label", "ci", "--read-only", "--expires", "1ms"},
			[]string{`POST /v1/users/bob/keys?username=ada {"label":"ci","read_only":true,"expires_in":"1ms"}`},
			result{Stdout: "secret\n", Stderr: "key k4 of bob: keep it now, it is not shown again\n"},
		},
		"revoke a key": {
			[]string{"user", "key", "revoke", "bob", "k1"},
			[]string{`DELETE /v1/users/bob/keys/k1?username=ada`},
			result{Stdout: "key k1 of bob revoked\n"},
		},
		"rotate the only key that may act": {
			[]string{"user", "key", "rotate", "bob"},
			[]string{
				`GET /v1/users/bob?username=ada`, `POST /v1/users/bob/keys?username=ada {"label":"laptop","expires_in":"720h0m0s"}`,
				`DELETE /v1/users/bob/keys/k1?username=ada`,
			},
			result{Stdout: "secret\n", Stderr: "key k4 of bob: keep it now, it is not shown again\nkey k1 of bob revoked\n"},
		},
		"add a team": {
			[]string{"team", "add", "fluids", "--payer", "ada"},
			[]string{`POST /v1/teams?username=ada {"name":"fluids","payer":"ada"}`},
			result{Stdout: "team fluids added\n"},
		},
		"set a team": {
			[]string{"team", "set", "fluids", "--payer", "bob"},
			[]string{`PATCH /v1/teams/fluids?username=ada {"payer":"bob"}`},
			result{Stdout: "team fluids changed\n"},
		},
		"remove a team": {
			[]string{"team", "remove", "fluids"}, []string{`DELETE /v1/teams/fluids?username=ada`}, result{Stdout: "team fluids removed\n"},
		},
		"change a machine type": {
			[]string{"machine", "set", "n1", "--grace", "10s", "--personal=false", "--memory", "512MB", "--scratch", "0"},
			[]string{
				setMachines,
				`PUT /v1/machines/n1?username=ada {"description":"","cores":2,"ram_mb":512,"gpus":1,"scratch_mb":0,"scale_min":1,"scale_max":4,"grace_seconds":10,"personal":false,"price":0.5,"position":3}`,
			},
			result{Stdout: "machine type n1 set\n"},
		},
		"make a machine type": {
			[]string{"machine", "set", "big", "--cores", "16", "--memory", "64", "--description", "d", "--gpus", "1", "--scratch", "20", "--scale-max", "2", "--price", "1.5"},
			[]string{
				setMachines,
				`PUT /v1/machines/big?username=ada {"description":"d","cores":16,"ram_mb":65536,"gpus":1,"scratch_mb":20480,"scale_min":1,"scale_max":2,"grace_seconds":0,"personal":false,"price":1.5,"position":4}`,
			},
			result{Stdout: "machine type big set\n"},
		},
		"remove a machine type": {
			[]string{"machine", "remove", "n1"}, []string{`DELETE /v1/machines/n1?username=ada`}, result{Stdout: "machine type n1 removed\n"},
		},
		"audit of somebody": {
			[]string{"audit", "--by", "ada", "--subject", "bob", "--since", "24h", "--limit", "1", "-q", "--json"},
			[]string{`GET /v1/audit?by=ada&limit=1&since=2026-10-05T11%3A00%3A00Z&subject=bob&username=ada`},
			result{Stdout: auditFirst + "\n" + auditLast + "\n"},
		},
		"audit of a job": {
			[]string{"audit", "--job", "n12", "--since", "2026-10-06", "--json"},
			[]string{
				`GET /jarvice/status?name=n12&username=ada`, `GET /v1/audit?limit=100&number=12&since=2026-10-05T22%3A00%3A00Z&username=ada`,
			},
			result{Stdout: auditFirst + "\n" + auditLast + "\n"},
		},
		"change as JSON": {
			[]string{"team", "set", "fluids", "--payer", "bob", "--json"},
			[]string{`PATCH /v1/teams/fluids?username=ada {"payer":"bob"}`},
			result{Stdout: "{\n  \"team\": {\n    \"name\": \"fluids\",\n    \"payer\": \"bob\"\n  }\n}\n"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, administered())
			check(t, tc.want, f.berth(t, append([]string{"admin"}, tc.args...)...))
			check(t, tc.sent, f.asked())
		})
	}
}

// TestCredentialsOut writes the key where only its owner finds it.
func TestCredentialsOut(t *testing.T) {
	t.Parallel()
	f := newFake(t, administered())
	for name, args := range map[string][]string{
		"add":    {"user", "add", "bob"},
		"key":    {"user", "key", "add", "bob"},
		"rotate": {"user", "key", "rotate", "bob", "k1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := write(t, "bob", "what was there before")
			got := f.berth(t, append(append([]string{"admin"}, args...), "--credentials-out", path)...)
			if got.Code != 0 || got.Stdout != "" || !strings.HasPrefix(got.Stderr, "key k4 of bob is in "+path+"\n") {
				t.Errorf("%+v", got)
			}
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			check(t, "export BERTH_URL="+f.URL+"\nexport BERTH_USER=bob\nexport BERTH_APIKEY=secret\n", string(content))
			info, err := os.Stat(path)
			if err != nil || info.Mode() != 0o600 {
				t.Errorf("mode is %v, error %v", info.Mode(), err)
			}
			if others, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(others) > 0 {
				t.Errorf("it left %v", others)
			}
			check(t, 0, command{args: []string{"--credentials", path, "jobs"}}.run(t.Context(), t).Code)
		})
	}
	before := len(f.asked())
	got := f.berth(t, "admin", "user", "add", "bob", "--credentials-out", filepath.Join(t.TempDir(), "none", "bob"))
	if got.Code != 1 || len(f.asked()) != before {
		t.Errorf("%+v, requests %v; want an error before the key is made", got, f.asked()[before:])
	}
}

// TestKeyAsJSON shows the key on stdout only when it is in no file.
func TestKeyAsJSON(t *testing.T) {
	t.Parallel()
	f := newFake(t, administered())
	got := f.berth(t, "admin", "user", "add", "bob", "--json")
	if !strings.Contains(got.Stdout, `"apikey": "secret"`) || !strings.Contains(got.Stdout, `"team": "fluids"`) {
		t.Errorf("%+v", got)
	}
	got = f.berth(t, "admin", "user", "add", "bob", "--json", "--credentials-out", filepath.Join(t.TempDir(), "bob"))
	if strings.Contains(got.Stdout, "secret") || !strings.Contains(got.Stdout, `"id": "k4"`) {
		t.Errorf("%+v", got)
	}
}

// TestAuditPages reads as many pages as it takes.
func TestAuditPages(t *testing.T) {
	t.Parallel()
	routes := administered()
	routes["GET /v1/audit"] = func(w http.ResponseWriter, r *http.Request) {
		next := map[string]string{"": "9", "9": "7", "7": "0"}[r.URL.Query().Get("before")]
		text(http.StatusOK, `{"records":[`+auditFirst+`],"next":`+next+`}`)(w, r)
	}
	for limit, pages := range map[string]int{"0": 3, "2": 2, "1": 1, "100": 3} {
		f := newFake(t, routes)
		check(t, result{Stdout: strings.Repeat(auditFirst+"\n", pages)}, f.berth(t, "admin", "audit", "--json", "--limit", limit))
		check(t, pages, len(f.asked()))
	}
}

func TestParseMemory(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"4": 4096, "1.5": 1536, "512MB": 512, "512 mib": 512, "2G": 2048, "2gb": 2048, "1TiB": 1 << 20,
		"": 0, "x": 0, "-1": 0, "0": 0, "4KB": 0, "1.0001": 0, "NaN": 0, "inf": 0, "1e99": 0, "4GBB": 0, "GB": 0,
	} {
		got, err := parseMegabytes("--memory", text)
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("%q is %d, error %v, want %d", text, got, err, want)
		}
	}
}

func TestAdminErrors(t *testing.T) {
	t.Parallel()
	routes := administered()
	routes["POST /v1/users"] = text(409, `{"error":"User exists already"}`)
	routes["DELETE /v1/users/bob/keys/k2"] = text(500, `{"error":"Internal error"}`)
	routes["PATCH /v1/users/bob"] = text(403, `{"error":"Only an administrator may do this"}`)
	f := newFake(t, routes)
	const rotated = "key k4 of bob: keep it now, it is not shown again\n"
	for name, tc := range map[string]struct {
		args []string
		want result
	}{
		"user exists":       {[]string{"user", "add", "bob"}, result{1, "", "berth: user bob: User exists already\n"}},
		"no such user":      {[]string{"user", "show", "eve"}, result{1, "", "berth: user eve: Not found\n"}},
		"no administrator":  {[]string{"user", "disable", "bob"}, result{1, "", "berth: user bob: Only an administrator may do this\n"}},
		"no such key":       {[]string{"user", "key", "rotate", "bob", "k9"}, result{1, "", "berth: user bob: it has no key k9\n"}},
		"no such machine":   {[]string{"machine", "remove", "zz"}, result{1, "", "berth: machine type zz: Not found\n"}},
		"half a rotation":   {[]string{"user", "key", "rotate", "bob", "k2"}, result{1, "secret\n", rotated + "berth: key k2: Internal error (the new key is good, and the old one too; revoke it: berth admin user key revoke bob k2)\n"}},
		"new machine type":  {[]string{"machine", "set", "zz", "--cores", "1"}, result{2, "", "berth: machine type zz is not there; to make it give --cores and --memory (see: berth admin machine set --help)\n"}},
		"no name":           {[]string{"user", "add"}, result{2, "", "berth: give the NAME of the user (see: berth admin user add --help)\n"}},
		"over already":      {[]string{"user", "key", "add", "bob", "--expires", "-1h"}, result{2, "", "berth: --expires -1h0m0s is over already (see: berth admin user key add --help)\n"}},
		"nothing to change": {[]string{"user", "set", "bob"}, result{2, "", "berth: give what to change: --email, --team, --team-admin or --admin (see: berth admin user set --help)\n"}},
		"neither on nor":    {[]string{"user", "billing", "bob", "no"}, result{2, "", "berth: \"no\" is neither on nor off (see: berth admin user billing --help)\n"}},
		"no payer":          {[]string{"team", "add", "x"}, result{2, "", "berth: --payer is missing: the user who pays for the team's jobs (see: berth admin team add --help)\n"}},
		"bad memory":        {[]string{"machine", "set", "n1", "--memory", "x"}, result{2, "", "berth: --memory \"x\" is no whole number of MB: give GiB, such as 4 or 1.5, or a unit, such as 512MB (see: berth admin machine set --help)\n"}},
		"bad scratch":       {[]string{"machine", "set", "n1", "--scratch", "-1"}, result{2, "", "berth: --scratch \"-1\" is no whole number of MB: give GiB, such as 4 or 1.5, or a unit, such as 512MB (see: berth admin machine set --help)\n"}},
		"bad grace":         {[]string{"machine", "set", "n1", "--grace", "1ms"}, result{2, "", "berth: --grace 1ms is no whole number of seconds (see: berth admin machine set --help)\n"}},
		"bad since":         {[]string{"audit", "--since", "x"}, result{2, "", "berth: --since \"x\" is neither a duration such as 24h nor a date such as 2026-11-24 (see: berth admin audit --help)\n"}},
		"unknown":           {[]string{"user", "fly"}, result{2, "", "berth: unknown command \"fly\" for \"berth admin user\" (see: berth admin user --help)\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, tc.want, f.berth(t, append([]string{"admin"}, tc.args...)...))
		})
	}
}

// TestManyKeys is about a user whose key to rotate has to be named.
func TestManyKeys(t *testing.T) {
	t.Parallel()
	f := newFake(t, map[string]http.HandlerFunc{"GET /v1/users/bob": text(200, fmt.Sprintf(`{"user":{},"keys":[%s,%s]}`, usedKey, strings.Replace(usedKey, "k1", "k5", 1)))})
	check(t, result{1, "", "berth: user bob: it has 2 keys that may act (name one of its keys: k1, k5)\n"}, f.berth(t, "admin", "user", "key", "rotate", "bob"))
}

func TestAdminCompletion(t *testing.T) {
	t.Parallel()
	f := newFake(t, administered())
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"users":         {[]string{"user", "show", ""}, "ada\ta@x\nbob\n:4\n"},
		"keys":          {[]string{"user", "key", "revoke", "bob", ""}, "k1\tlaptop\nk2\nk3\told\n:4\n"},
		"on or off":     {[]string{"user", "billing", "bob", ""}, "on\noff\n:4\n"},
		"teams":         {[]string{"team", "remove", ""}, "fluids\tpaid by ada\n:4\n"},
		"team of a new": {[]string{"user", "add", "x", "--team", ""}, "fluids\tpaid by ada\n:4\n"},
		"machines":      {[]string{"machine", "set", ""}, "n0\tone core\nn1\thalf of it\n:4\n"},
		"payers":        {[]string{"team", "add", "x", "--payer", ""}, "ada\ta@x\nbob\n:4\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, result{Stdout: tc.want, Stderr: completionEnd}, f.berth(t, append([]string{"__complete", "admin"}, tc.args...)...))
		})
	}
}
