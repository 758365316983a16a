package appdef_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/internal/appdef"
)

func TestParse(t *testing.T) {
	t.Parallel()
	app := sample(t, "arguments")
	if app.Version != 1 || app.Name != "Arguments" || app.ScaleMax != 4 || app.Identity != nil || len(app.Commands) != 7 {
		t.Errorf("read %+v", app)
	}
	var keys []string
	for _, command := range app.Commands {
		keys = append(keys, command.Key)
	}
	if diff := cmp.Diff([]string{"print", "slots", "cluster", "assemble", "batch", "server", "terminal"}, keys); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
	assemble, _ := app.Command("assemble")
	if assemble.Walltime != 20*time.Minute || assemble.ScaleMax != 1 || assemble.AllowsNodes(2) || !assemble.AllowsNodes(1) {
		t.Errorf("assemble is %+v", assemble)
	}
	server, _ := app.Command("server")
	terminal, _ := app.Command("terminal")
	batch, _ := app.Command("batch")
	if batch.Ports != nil || server.Ports == nil || len(server.Ports) != 0 || !server.AllowsNodes(4) || server.AllowsNodes(5) {
		t.Errorf("server is %+v", server)
	}
	if diff := cmp.Diff([]appdef.Port{{Number: 22, Protocol: "tcp"}, {Number: 8080, Protocol: "tcp"}}, terminal.Ports); diff != "" || !terminal.PublicIP {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
	want := []string{
		`commands.assemble.machines: "[" is no pattern of machine types and matches none`,
		`commands.assemble.machines: "__update machine types here__" is no pattern of machine types and matches none`,
	}
	if diff := cmp.Diff(want, app.Warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestParseVersion2(t *testing.T) {
	t.Parallel()
	app := sample(t, "shell")
	if app.Version != 2 || !app.Licensed || !app.HPC {
		t.Errorf("read %+v", app)
	}
	if diff := cmp.Diff(&appdef.Identity{Username: "octo", UID: 1000}, app.Identity); diff != "" {
		t.Errorf("identity (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]appdef.Variable{{Key: "LICENSE_SERVER", Name: "Licence server", UserOwned: true, Inherit: true}}, app.Variables); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]appdef.Action{{Name: "save", Args: "date > /data/saved", Alt: "Saves"}}, app.Actions); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
	if len(app.Warnings) != 1 || !strings.HasPrefix(app.Warnings[0], "commands.mpi.mpirun: this server brings no MPI along") {
		t.Errorf("warnings %q, want that there is no MPI", app.Warnings)
	}
}

func TestMachines(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ yes, no []string }{
		`["*"]`:                  {[]string{"n0", "np8gk1", "a-b_c"}, nil},
		`["n0", "nx5u"]`:         {[]string{"n0", "nx5u"}, []string{"n00", "n", "N0"}},
		`["ng[1-9]-*"]`:          {[]string{"ng1-a", "ng9-"}, []string{"ng0-a", "ng10-a"}},
		`["n[0-10]"]`:            {[]string{"n0", "n1"}, []string{"n2", "n10"}},
		`["*0", "np*g*"]`:        {[]string{"n0", "x10", "np8gk1"}, []string{"n1", "np8"}},
		`["n[!0]"]`:              {[]string{"n1"}, []string{"n0"}},
		`["n?"]`:                 {[]string{"n1"}, []string{"n10", "n"}},
		`["[", "n[", "a b", ""]`: {[]string{"["}, []string{"n0", "n"}},
		`[]`:                     {[]string{"n0"}, nil},
		`null`:                   {[]string{"n0"}, nil},
	}
	for patterns, test := range tests {
		app := parse(t, `{"machines": `+patterns+`, "commands": {"c": {"path": "/p"}}}`)
		for _, name := range test.yes {
			if !app.Commands[0].AllowsMachine(name) {
				t.Errorf("%s does not match %s", patterns, name)
			}
		}
		for _, name := range test.no {
			if app.Commands[0].AllowsMachine(name) {
				t.Errorf("%s matches %s", patterns, name)
			}
		}
	}
}

// TestParseAccepts holds what public applications have in their files, and what is said about it.
func TestParseAccepts(t *testing.T) {
	t.Parallel()
	const command = `{"path": "/p", "parameters": {"-x": %s}}`
	tests := []struct{ app, command, warning string }{
		{app: `{"id": "x", "public": true, "price": "0", "checkedout": "true", "nae": "n", "appid": "a", "commands": {"c": %s}}`},
		{app: `{"variable": {}, "commands": {"c": %s}}`, warning: `variable: the key is unknown and ignored; is "variables" meant?`},
		{app: `{"scale-max": 1, "commands": {"c": %s}}`, warning: `scale-max: the key is unknown and ignored; is "scale_max" meant?`},
		{app: `{"scale_min": 1, "commands": {"c": %s}}`, warning: "scale_min: the key is unknown and ignored"},
		{app: `{"image": "x", "commands": {"c": %s}}`, warning: `image: "x" is not an object and is ignored`},
		{app: `{"image": {"data": "%%%%", "type": ""}, "variables": {}, "description": "", "commands": {"c": %s}}`},
		{app: `{"vault-types": ["OBJECT", "BLOB"], "commands": {"c": %s}}`, warning: `vault-types: "BLOB" is not one of FILE, BLOCK, BLOCK_ARRAY, OBJECT, NONE`},
		{app: `{"machines": "n0", "commands": {"c": %s}}`, warning: `machines: "n0" is read as a list of one`},
		{app: `{"appdefversion": "2", "commands": {"c": %s}}`},
		{app: "\ufeff{\r\n\"commands\":\t{\"a name with blanks\": %s}}\r\n"},
		{command: `{"path": "/bin/bash -l"}`},
		{command: `{"path": "python run.py"}`, warning: `commands.c.path: "python" is not an absolute path`},
		{command: `{"path": "/p", "interactive": false, "interactive": true, "ports": []}`},
		{command: `{"path": "/p", "webshell": true}`, warning: `commands.c.webshell: the key has no effect without "appdefversion": 2`},
		{command: `{"path": "/p", "webshell": false, "name": "x y", "noqueue": true, "hints": ["SCALE_NODES"]}`},
		{command: `{"path": "/p", "ports": ["80"]}`, warning: `commands.c.ports: "80" is read as 80/tcp`},
		{command: `{"path": "/usr/bin/true", "nested_kubernetes": {}, "parameters": {"targets": [1]}}`},
		{command: fmt.Sprintf(command, `{"type": "STR", "positional": true, "variable": false}`)},
		{command: fmt.Sprintf(command, `{"type": "INT", "value": "3", "min": 1, "max": 5.0}`)},
		{command: fmt.Sprintf(command, `{"type": "INT"}`)},
		{command: fmt.Sprintf(command, `{"type": "INT", "value": 9, "max": 5}`), warning: `commands.c.parameters.-x.value: the default "9" is not 5 or less`},
		{command: fmt.Sprintf(command, `{"type": "FLOAT", "value": 1, "min": "0.5", "max": 2, "precision": 1.0}`)},
		{command: fmt.Sprintf(command, `{"type": "FLOAT", "presision": 1}`), warning: `commands.c.parameters.-x.presision: the key is unknown and ignored; is "precision" meant?`},
		{command: fmt.Sprintf(command, `{"type": "BOOL", "required": "true"}`), warning: `commands.c.parameters.-x.required: "true" is read as true`},
		{command: fmt.Sprintf(command, `{"type": "CONST", "value": "", "required": false}`)},
		{command: fmt.Sprintf(command, `{"type": "selection", "vaules": ["a"]}`), warning: `commands.c.parameters.-x.vaules: the key is unknown and ignored; is "values" meant?`},
		{command: fmt.Sprintf(command, `{"type": "selection", "values": ["a", " "], "mvalues": ["b", "c"]}`)},
		{command: fmt.Sprintf(command, `{"type": "UPLOAD", "target": "/data/test.json", "size": "10"}`)},
	}
	for _, test := range tests {
		text := strings.Replace(test.app, "%s", `{"path": "/p"}`, 1)
		if test.app == "" {
			text = `{"commands": {"c": ` + test.command + `}}`
		}
		app, err := appdef.Parse([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if all := strings.Join(app.Warnings, "; "); test.warning == "" && all != "" || !strings.Contains(all, test.warning) {
			t.Errorf("%s: warnings %q, want %q", text, all, test.warning)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	const parameter = `{"commands": {"Run": {"path": "/p", "parameters": {"-n": %s}}}}`
	const command = `{"appdefversion": 2, "commands": {"Run": %s}}`
	tests := []struct{ format, text, want string }{
		{"%s", "", `the AppDef is not JSON: line 1, column 0: unexpected end of JSON input, at the end of ""`},
		{"%s", "{\n\"a\": 1,}", `the AppDef is not JSON: line 2, column 8: invalid character '}' looking for beginning of object key string, at the end of "{\n\"a\": 1,}"`},
		{"%s", "[]", `the AppDef is not an object but a list`},
		{"%s", "{\"a\": \"\xff\"}", `the AppDef is not valid UTF-8`},
		{"%s", strings.Repeat("[", 65) + strings.Repeat("]", 65), `the AppDef is too large: at most 100000 values are allowed, and at most 64 inside each other`},
		{"%s", "[" + strings.Repeat("0,", 100_000) + "0]", `the AppDef is too large: at most 100000 values are allowed, and at most 64 inside each other`},
		{"%s", strings.Repeat(" ", 4<<20) + "{}", `the AppDef has 4194306 bytes, at most 4194304 are allowed`},
		{"%s", "{}", `commands: at least one command is needed`},
		{"%s", `{"commands": []}`, `commands: a list is not an object`},
		{"%s", `{"commands": {"a": 1}}`, `commands.a: 1 is not an object`},
		{"%s", `{"identity": {"uid": 0, "gid": -1, "username": "root"}, "commands": {"c": {"path": "/p"}}}`, `identity.uid: 0 is not a whole number from 1 to 2147483647; ` +
			`identity.gid: -1 is not a whole number from 1 to 2147483647; identity.username: "root" is not a name of up to 32 of a-z A-Z 0-9 _ . -, a letter or _ first, other than root`},
		{"%s", `{"licensed": "perhaps", "name": [], "commands": {"c": {"path": "/p"}}}`, `name: a list is not a text; licensed: "perhaps" is not true or false`},
		{"%s", `{"variables": {"A-B": {}}, "commands": {"c": {"path": "/p"}}}`, `variables.A-B: "A-B" is not the name of a variable: letters, digits and _ are, no digit first`},
		{command, `{"type": "image/png", "data": "x"}`, `commands.Run.path: a command needs the path of its program`},
		{command, `{"path": "/p", "walltime": "1h"}`, `commands.Run.walltime: "1h" is not a time as HH:MM:SS`},
		{command, `{"path": "/p", "ports": ["0/tcp"]}`, `commands.Run.ports: "0/tcp" is not a port and tcp, udp or sctp, as in 8080/tcp`},
		{command, `{"path": "/bin/sh -c 'x"}`, `commands.Run.path: "/bin/sh -c 'x" would take the arguments behind it for something else`},
		{command, `{"path": "/a/../run.sh", "cmdscript": "id"}`, `commands.Run.path: "/a/../run.sh" is not the absolute path of a file, which the cmdscript is written to`},
		{command, `{"path": "/run.sh", "cmdscript": " "}`, `commands.Run.cmdscript: the script is empty`},
		{command, `{"path": "/p", "parameters": {"a": {"type": "UPLOAD", "target": "a"}, "b": {"type": "UPLOAD", "target": "b"}}}`, `commands.Run.parameters: 2 parameters are of type UPLOAD, one is allowed`},
		{parameter, `{"type": "FOO"}`, `commands.Run.parameters.-n.type: "FOO" is not one of CONST, STR, INT, FLOAT, RANGE, BOOL, FILE, UPLOAD, selection`},
		{parameter, `[1]`, `commands.Run.parameters.-n: a list is not an object`},
		{parameter, `{"type": "CONST"}`, `commands.Run.parameters.-n.value: a CONST needs a value`},
		{parameter, `{"type": "BOOL", "value": 2}`, `commands.Run.parameters.-n.value: 2 is not true or false`},
		{parameter, `{"type": "INT", "min": "low"}`, `commands.Run.parameters.-n.min: "low" is not a number`},
		{parameter, `{"type": "selection", "values": ["a"], "mvalues": ["a", "b"]}`, `commands.Run.parameters.-n.mvalues: 2 values are listed for the 1 of values`},
		{parameter, `{"type": "UPLOAD"}`, `commands.Run.parameters.-n.target: "" is not a path below /opt`},
		{parameter, `{"type": "UPLOAD", "target": "a/../../etc/passwd"}`, `commands.Run.parameters.-n.target: "a/../../etc/passwd" is not a path below /opt`},
		{parameter, `{"type": "STR", "variable": true}`, `commands.Run.parameters.-n: "-n" is not the name of a variable: letters, digits and _ are, no digit first`},
		{parameter, `{"type": "CONST", "value": "a\u0000"}`, `commands.Run.parameters.-n.value: the text has a NUL byte`},
	}
	for _, test := range tests {
		_, err := appdef.Parse([]byte(strings.Replace(test.format, "%s", test.text, 1)))
		if err == nil || err.Error() != test.want {
			t.Errorf("%.200s:\n %v, want\n %s", test.text, err, test.want)
		}
	}
}

func TestParseBoundsProblems(t *testing.T) {
	t.Parallel()
	var commands strings.Builder
	for i := range 100 {
		fmt.Fprintf(&commands, `"c%d": {},`, i)
	}
	_, err := appdef.Parse([]byte(`{"commands": {` + strings.TrimSuffix(commands.String(), ",") + `}}`))
	refusal, ok := errors.AsType[*appdef.Error](err)
	if !ok || len(refusal.Problems) != 21 || refusal.Problems[20] != "and 80 more" {
		t.Errorf("error %v", err)
	}
}

// TestDuplicateKeys: the last one wins, at the place of the first.
func TestDuplicateKeys(t *testing.T) {
	t.Parallel()
	app := parse(t, `{"commands": {"c": {"path": "/p", "parameters": {"a": {"type": "FOO"}, "b": {"type": "CONST", "value": "b"},
		"a": {"type": "CONST", "value": "x"}, "\u0061": {"type": "CONST", "value": "a", "positional": false}}}}}`)
	got, err := appdef.Render(app, "c", nil, appdef.Environment{})
	if diff := cmp.Diff([]string{"/p", "a", "a", "b", "b"}, got.Argv); err != nil || diff != "" {
		t.Errorf("%v, words (-want +got):\n%s", err, diff)
	}
}

func TestNestedIsNotRun(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`{"appkind": "kns", "commands": {"c": {"path": "/usr/bin/true", "parameters": {"a": 1}}}}`,
		`{"nestedkubernetes": {"kubernetes_version": "1.30"}, "commands": {"c": {"path": "/usr/bin/true"}}}`,
	} {
		_, err := appdef.Render(parse(t, text), "c", nil, appdef.Environment{})
		if want := `application.command: "c" describes a Kubernetes cluster, which this server cannot run`; err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// large is an AppDef with an icon of the usual size.
func large(b *testing.B) []byte {
	b.Helper()
	text, err := os.ReadFile("testdata/arguments.json")
	if err != nil {
		b.Fatal(err)
	}
	icon := base64.StdEncoding.EncodeToString(make([]byte, 12_500))
	return []byte(strings.Replace(string(text), `iVBO\nRw0K`, icon, 1))
}

func BenchmarkParse(b *testing.B) {
	text := large(b)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := appdef.Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	app := parse(b, string(large(b)))
	values, env := submitted(b, `{"file_1": "picked", "str_1": "it's", "int_1": 3}`), environment()
	for b.Loop() {
		if _, err := appdef.Render(app, "print", values, env); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWire(b *testing.B) {
	app := parse(b, string(large(b)))
	for b.Loop() {
		if _, err := app.Wire(); err != nil {
			b.Fatal(err)
		}
	}
}
