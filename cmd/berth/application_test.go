package main

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-hpc/berth/internal/appdef"
)

const (
	toolAnswer = `{"id":"tool","owner":"ada","team":"fluids","public":false,"certified":true,"image":"docker.io/local/tool:latest","price":0.5,` +
		`"created":"2026-10-01T10:00:00Z","updated":"2026-10-02T10:00:00Z","commands":["Solve","Shell"]}`
	echoAnswer = `{"id":"echo","owner":"bob","team":"","public":true,"certified":false,"image":"docker.io/local/echo:latest","price":0,"commands":["Run"]}`
	toolDef    = `{"name":"Tool","author":"Ada","description":"Solves","commands":{
"Solve":{"name":"Solve it","path":"/solve","parameters":{
 "-n":{"name":"Steps","type":"INT","required":true,"min":1,"max":10,"value":4},
 "-x":{"name":"Factor","type":"FLOAT","min":0.5},
 "-v":{"name":"More","type":"BOOL","value":false},
 "mesh":{"name":"Mesh","type":"selection","values":["coarse","fine"]},
 "in":{"name":"Input","type":"FILE","required":true},
 "case":{"name":"Case","type":"UPLOAD","target":"case"},
 "fixed":{"type":"CONST","value":"1"},
 "title":{"name":"Title","type":"STR"}}},
"Shell":{"name":"A shell","path":"/bin/sh"}}}`
)

func applications() map[string]http.HandlerFunc {
	routes := administered()
	for route, answer := range map[string]string{
		"GET /v1/apps":           `{"apps":[` + echoAnswer + `,` + toolAnswer + `]}`,
		"GET /v1/apps/tool":      `{"app":` + toolAnswer + `,"appdef":` + toolDef + `}`,
		"POST /v1/apps":          `{"app":` + toolAnswer + `,"warnings":["commands.Solve.x: the key is unknown"]}`,
		"PATCH /v1/apps/tool":    `{"app":` + toolAnswer + `,"warnings":[]}`,
		"DELETE /v1/apps/tool":   `{"status":"removed"}`,
		"POST /jarvice/validate": `{"valid":true}`,
		"GET /jarvice/connect":   `{"address":"10.0.0.2:5902","password":"secret"}`,
		"GET /v1/queues": `{"queues":[{"name":"default","application":"","machine":"n0","size":1},` +
			`{"name":"long","application":"tool","machine":"n1","size":4}]}`,
		"PUT /v1/queues/default":             `{"queue":{"name":"default","application":"tool","machine":"n0","size":1}}`,
		"PUT /v1/queues/wide":                `{"queue":{"name":"wide","application":"tool","machine":"n1","size":2}}`,
		"DELETE /v1/queues/long":             `{"status":"removed"}`,
		"GET /v1/users/bob/variables":        `{"variables":{"SERVER":"2080@x","A":"b c"}}`,
		"PUT /v1/users/bob/variables/SERVER": `{"status":"set"}`,
	} {
		routes[route] = text(http.StatusOK, answer)
	}
	return routes
}

// TestApplicationListings holds what a person reads.
func TestApplicationListings(t *testing.T) {
	t.Parallel()
	f := newFake(t, applications())
	const quiet = "Completion ended with directive: ShellCompDirectiveNoFileComp\n"
	for name, tc := range map[string]struct {
		args []string
		want result
	}{
		"list": {[]string{"app", "list"}, result{Stdout: `ID    OWNER  FOR          CERTIFIED  PRICE  COMMANDS     IMAGE
echo  bob    everybody    -          0      Run          docker.io/local/echo:latest
tool  ada    team fluids  yes        0.5    Solve Shell  docker.io/local/tool:latest
`}},
		"show": {[]string{"app", "show", "tool"}, result{Stdout: `application   tool
name          Tool
author        Ada
description   Solves
owner         ada
for           team fluids
certified     yes
image         docker.io/local/tool:latest
price         0.5
added         2026-10-01 12:00:00
changed       2026-10-02 12:00:00

COMMAND  PARAMETER  REQUIRED  DEFAULT  VALUE                              NAME
Solve    -n         yes       4        a whole number from 1 to 10        Steps
Solve    -x         -         -        a number from 0.5                  Factor
Solve    -v         -         false    true or false                      More
Solve    mesh       -         -        one of coarse, fine                Mesh
Solve    in         yes       -        a file in the vault                Input
Solve    case       -         -        the content of a file: case=@FILE  Case
Solve    title      -         -        a text                             Title
Shell    -          -         -        -                                  A shell
`}},
		"queues": {[]string{"queues"}, result{Stdout: `NAME     APPLICATION  MACHINE  SIZE
default  -            n0       1
long     tool         n1       4
`}},
		"queues as JSON": {[]string{"queues", "--json"}, result{Stdout: `{
  "queues": [
    {
      "name": "default",
      "application": "",
      "machine": "n0",
      "size": 1
    },
    {
      "name": "long",
      "application": "tool",
      "machine": "n1",
      "size": 4
    }
  ]
}
`}},
		"variables": {[]string{"admin", "user", "variable", "list", "bob"}, result{Stdout: "VARIABLE  VALUE\nA         b c\nSERVER    2080@x\n"}},
		"variables as JSON": {
			[]string{"admin", "user", "variable", "list", "bob", "--json"},
			result{Stdout: "{\n  \"variables\": {\n    \"A\": \"b c\",\n    \"SERVER\": \"2080@x\"\n  }\n}\n"},
		},
		"connect": {[]string{"connect", "12"}, result{Stdout: "address       10.0.0.2:5902\npassword      secret\n"}},
		"connect as JSON": {
			[]string{"connect", "12", "--json"}, result{Stdout: "{\n  \"address\": \"10.0.0.2:5902\",\n  \"password\": \"secret\"\n}\n"},
		},
		"completion of applications": {
			[]string{"__complete", "app", "run", ""}, result{Stdout: "echo\tRun\ntool\tSolve Shell\n:4\n", Stderr: quiet},
		},
		"completion of commands": {
			[]string{"__complete", "app", "run", "tool", ""}, result{Stdout: "Solve\tSolve it\nShell\tA shell\n:4\n", Stderr: quiet},
		},
		"completion of parameters": {
			[]string{"__complete", "app", "run", "tool", "Solve", "--set", ""},
			result{
				Stdout: "-n=\tSteps\n-x=\tFactor\n-v=\tMore\nmesh=\tMesh\nin=\tInput\ncase=\tCase\ntitle=\tTitle\n:6\n",
				Stderr: "Completion ended with directive: ShellCompDirectiveNoSpace, ShellCompDirectiveNoFileComp\n",
			},
		},
		"completion of queues":    {[]string{"__complete", "admin", "queue", "remove", ""}, result{Stdout: "default\nlong\ttool\n:4\n", Stderr: quiet}},
		"completion of variables": {[]string{"__complete", "admin", "user", "variable", "set", "bob", ""}, result{Stdout: "A\nSERVER\n:4\n", Stderr: quiet}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, tc.want, f.berth(t, tc.args...))
		})
	}
}

// TestShowJSON keeps the order of the AppDef, which has a meaning.
func TestShowJSON(t *testing.T) {
	t.Parallel()
	f := newFake(t, applications())
	for _, args := range [][]string{{"app", "show", "tool", "--appdef"}, {"app", "show", "tool", "--json"}} {
		got := f.berth(t, args...)
		if got.Code != 0 || got.Stderr != "" || !json.Valid([]byte(got.Stdout)) {
			t.Errorf("%v: %+v", args, got)
		}
		last := -1
		for _, key := range []string{`"-n"`, `"-x"`, `"-v"`, `"mesh"`, `"in"`, `"case"`, `"fixed"`, `"title"`, `"Shell"`} {
			at := strings.Index(got.Stdout, key+": {")
			if at < last {
				t.Errorf("%v: %s is at %d, before %d", args, key, at, last)
			}
			last = at
		}
		check(t, args[3] == "--json", strings.Contains(got.Stdout, `"owner": "ada"`))
	}
	check(t, []string{"GET /v1/apps/tool?username=ada", "GET /v1/apps/tool?username=ada"}, f.asked())
}

// TestApplicationActs holds what is sent, and what a person reads of it.
func TestApplicationActs(t *testing.T) {
	t.Parallel()
	def := write(t, "AppDef.json", "\ufeff{\"name\": \"Tool\",\n \"commands\": {}}\n")
	secret := write(t, "config.json", `{"auths":{}}`)
	encoded := base64.StdEncoding.EncodeToString([]byte(`{"auths":{}}`))
	const warned = "warning: commands.Solve.x: the key is unknown\n"
	for name, tc := range map[string]struct {
		args []string
		sent []string
		want result
	}{
		"add": {
			[]string{
				"app", "add", "tool", "--image", "local/tool", "--appdef", def, "--pull-secret", secret, "--team", "fluids", "--public", "--certified",
				"--price", "0.5",
			},
			[]string{`POST /v1/apps?username=ada {"id":"tool","image":"local/tool","appdef":{"name":"Tool","commands":{}},"pull_secret":"` +
				encoded + `","team":"fluids","public":true,"certified":true,"price":0.5}`},
			result{Stdout: "application tool added\n", Stderr: warned},
		},
		"add with the AppDef of the image": {
			[]string{"app", "add", "tool", "--image", "local/tool", "-q"},
			[]string{`POST /v1/apps?username=ada {"id":"tool","image":"local/tool"}`},
			result{Stdout: "application tool added\n"},
		},
		"update": {
			[]string{"app", "update", "tool", "--team", "", "--certified=false", "--price", "0", "--appdef", def},
			[]string{`PATCH /v1/apps/tool?username=ada {"appdef":{"name":"Tool","commands":{}},"team":"","certified":false,"price":0}`},
			result{Stdout: "application tool changed\n"},
		},
		"update of the image": {
			[]string{"app", "update", "tool", "--image", "local/tool:2", "--public", "--pull-secret", secret},
			[]string{`PATCH /v1/apps/tool?username=ada {"image":"local/tool:2","pull_secret":"` + encoded + `","public":true}`},
			result{Stdout: "application tool changed\n"},
		},
		"remove": {
			[]string{"app", "remove", "tool"}, []string{`DELETE /v1/apps/tool?username=ada`}, result{Stdout: "application tool removed\n"},
		},
		"change a queue": {
			[]string{"admin", "queue", "set", "default", "--app", "tool"},
			[]string{`GET /v1/queues?username=ada`, `PUT /v1/queues/default?username=ada {"application":"tool","machine":"n0","size":1}`},
			result{Stdout: "queue default set\n"},
		},
		"make a queue": {
			[]string{"admin", "queue", "set", "wide", "--app", "tool", "--machine", "n1", "--size", "2"},
			[]string{`GET /v1/queues?username=ada`, `PUT /v1/queues/wide?username=ada {"application":"tool","machine":"n1","size":2}`},
			result{Stdout: "queue wide set\n"},
		},
		"remove a queue": {
			[]string{"admin", "queue", "remove", "long"}, []string{`DELETE /v1/queues/long?username=ada`}, result{Stdout: "queue long removed\n"},
		},
		"set a variable": {
			[]string{"admin", "user", "variable", "set", "bob", "SERVER", "2080@x"},
			[]string{`PUT /v1/users/bob/variables/SERVER?username=ada {"value":"2080@x"}`},
			result{Stdout: "variable SERVER of bob set\n"},
		},
		"remove a variable": {
			[]string{"admin", "user", "variable", "set", "bob", "SERVER", ""},
			[]string{`PUT /v1/users/bob/variables/SERVER?username=ada {"value":""}`},
			result{Stdout: "variable SERVER of bob removed\n"},
		},
		"check": {
			[]string{"app", "check", def},
			[]string{"POST /jarvice/validate?username=ada \ufeff{\"name\": \"Tool\",\n \"commands\": {}}"},
			result{Stdout: def + " is valid\n"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, applications())
			check(t, tc.want, f.berth(t, tc.args...))
			check(t, tc.sent, f.asked())
		})
	}
}

// TestChangedAsJSON has the warnings in the document, and no prose beside it.
func TestChangedAsJSON(t *testing.T) {
	t.Parallel()
	f := newFake(t, applications())
	got := f.berth(t, "app", "add", "tool", "--image", "x", "--json")
	if got.Code != 0 || got.Stderr != "" || !strings.Contains(got.Stdout, `"commands.Solve.x: the key is unknown"`) || !json.Valid([]byte(got.Stdout)) {
		t.Errorf("%+v", got)
	}
}

// TestAppCheck prints each place on a line. It needs the address of the server only.
func TestAppCheck(t *testing.T) {
	t.Parallel()
	routes := applications()
	routes["POST /jarvice/validate"] = func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.URL.RawQuery != "" {
			t.Errorf("credentials were sent: %v, %s", r.Header, r.URL)
		}
		text(400, `{"error":"Invalid AppDef: commands.Run.path: a path is needed; commands.Run.parameters.-n.type: \"X\" is no type; give INT; machines: \u001b is no text"}`)(w, r)
	}
	f := newFake(t, routes)
	run := func(args ...string) result {
		return command{args: append([]string{"app", "check", "-"}, args...), stdin: "{}", env: map[string]string{"BERTH_URL": f.URL}}.run(t.Context(), t)
	}
	check(t, result{Code: 1, Stdout: "commands.Run.path: a path is needed\n" +
		"commands.Run.parameters.-n.type: \"X\" is no type; give INT\nmachines: \uFFFD is no text\n"}, run())
	check(t, result{Code: 1, Stdout: `{
  "valid": false,
  "problems": [
    "commands.Run.path: a path is needed",
    "commands.Run.parameters.-n.type: \"X\" is no type; give INT",
    "machines: \u001b is no text"
  ]
}
`}, run("--json"))

	got := command{args: []string{"app", "check", "-"}, stdin: "{}"}.run(t.Context(), t)
	if got.Code != 2 || !strings.HasPrefix(got.Stderr, "berth: no server is set") {
		t.Errorf("without an address: %+v", got)
	}
	routes["POST /jarvice/validate"] = text(500, `{"error":"Internal error"}`)
	check(t, result{Code: 1, Stderr: "berth: check of -: Internal error (try again; the log of berthd says more)\n"}, run())
}

// TestAppInit writes an AppDef that is valid, without warnings, and that runs as the hints say.
func TestAppInit(t *testing.T) {
	t.Parallel()
	f := newFake(t, nil)
	dir := filepath.Join(t.TempDir(), "new", "numbers")
	path := filepath.Join(dir, "AppDef.json")
	got := f.berth(t, "app", "init", dir)
	if got.Code != 0 || got.Stdout != path+" written\n" || !strings.Contains(got.Stderr, "berth app check "+path+"\n") {
		t.Fatalf("%+v", got)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	def, err := appdef.Parse(content)
	if err != nil {
		t.Fatal(err)
	}
	check(t, []string(nil), def.Warnings)
	for command, tc := range map[string]struct{ values, want string }{
		"Run":  {`{"last":"3","-w":true}`, "/usr/bin/seq|-w|-s|, |1|3"},
		"Show": {`{"file":"a.txt"}`, "/show.sh|-text|hello world|/data/a.txt"},
	} {
		var values map[string]json.RawMessage
		if err := json.Unmarshal([]byte(tc.values), &values); err != nil {
			t.Fatal(err)
		}
		rendered, err := appdef.Render(def, command, values, appdef.Environment{})
		if err != nil {
			t.Fatal(err)
		}
		check(t, tc.want, strings.Join(rendered.Argv, "|"))
		check(t, []string(nil), rendered.Warnings)
	}

	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	check(t, result{Code: 1, Stderr: "berth: " + path + " is there already (give another DIR, or remove it first)\n"}, f.berth(t, "app", "init", dir))
	if content, _ := os.ReadFile(path); string(content) != "mine" {
		t.Errorf("it wrote over what was there: %s", content)
	}
	if asked := f.asked(); len(asked) > 0 {
		t.Errorf("the server was asked: %v", asked)
	}
}

func TestApplicationErrors(t *testing.T) {
	t.Parallel()
	routes := applications()
	routes["GET /v1/apps/none"] = text(404, `{"error":"Application Not Found"}`)
	routes["GET /v1/apps/broken"] = text(200, `{"app":{"id":"broken"},"appdef":[]}`)
	routes["POST /v1/apps"] = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	routes["PATCH /v1/apps/tool"] = text(403, `{"error":"Only its owner or an administrator may do this"}`)
	routes["DELETE /v1/queues/default"] = text(409, `{"error":"The queue default stays"}`)
	routes["GET /jarvice/connect"] = text(404, `{"error":"Running job is not found"}`)
	f := newFake(t, routes)
	def := write(t, "AppDef.json", "{")
	for name, tc := range map[string]struct {
		args []string
		want result
	}{
		"unknown":     {[]string{"app", "show", "none"}, result{1, "", "berth: application none: Application Not Found\n"}},
		"odd":         {[]string{"app", "show", "broken"}, result{1, "", "berth: application broken: the AppDef is not an object but a list\n"}},
		"not allowed": {[]string{"app", "update", "tool", "--public"}, result{1, "", "berth: application tool: Only its owner or an administrator may do this\n"}},
		"no JSON": {
			[]string{"app", "update", "tool", "--appdef", def},
			result{1, "", "berth: " + def + " is no JSON (berth app check " + def + " says where)\n"},
		},
		"queue that stays": {[]string{"admin", "queue", "remove", "default"}, result{1, "", "berth: queue default: The queue default stays\n"}},
		"not interactive": {
			[]string{"connect", "12"},
			result{1, "", "berth: job 12: Running job is not found (only running jobs of interactive commands have an address: berth status 12)\n"},
		},
		"no image":    {[]string{"app", "add", "x"}, result{2, "", "berth: --image is missing: which image the application runs in (see: berth app add --help)\n"}},
		"empty image": {[]string{"app", "update", "x", "--image", ""}, result{2, "", "berth: --image is empty: an application has an image (see: berth app update --help)\n"}},
		"no change": {
			[]string{"app", "update", "x"},
			result{2, "", "berth: give what to change: --image, --appdef, --team, --public, --certified, --price (see: berth app update --help)\n"},
		},
		"no id": {[]string{"app", "remove"}, result{2, "", "berth: give the ID of the application (see: berth app remove --help)\n"}},
		"new queue without all": {
			[]string{"admin", "queue", "set", "new", "--app", "tool"},
			result{2, "", "berth: queue new is not there; to make it give --app and --machine (see: berth admin queue set --help)\n"},
		},
		"no value": {
			[]string{"admin", "user", "variable", "set", "bob", "K"},
			result{2, "", "berth: give the NAME of the user, the KEY and the VALUE, '' to remove it (see: berth admin user variable set --help)\n"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, tc.want, f.berth(t, tc.args...))
		})
	}
	got := f.berth(t, "app", "add", "tool", "--image", "x")
	if got.Code != 1 || !strings.Contains(got.Stderr, "(it may have been added: berth app show tool)") {
		t.Errorf("lost answer: %+v", got)
	}
}
