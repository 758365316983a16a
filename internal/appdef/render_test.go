package appdef_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/internal/appdef"
)

// sample reads an AppDef of testdata.
func sample(t testing.TB, name string) *appdef.AppDef {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(text))
}

func parse(t testing.TB, text string) *appdef.AppDef {
	t.Helper()
	app, err := appdef.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return app
}

// submitted makes the values of a submission from its JSON.
func submitted(t testing.TB, text string) map[string]json.RawMessage {
	t.Helper()
	values := map[string]json.RawMessage{}
	if text == "" {
		return values
	}
	if err := json.Unmarshal([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	return values
}

func environment() appdef.Environment {
	return appdef.Environment{
		APIURL: "https://berth.example/api/", APIUser: "ada", APIKey: "k3y", Cores: 4, Nodes: 2, GPUs: 2, OtherGPUs: 1, RAM: 128, OtherRAM: 64,
		JobLabel: "my label", MachineType: "ng2", VaultType: "FILE", VaultName: "home", BasePath: "jobs/7/",
		Random: strings.Repeat("0123456789abcdef", 8), Password: "s3cret",
	}
}

// TestVectors shows the command lines that the public applications expect.
func TestVectors(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		app, command, values string
		want                 []string
	}{
		"all types with their defaults": {
			"arguments", "print", `{"file_1": "picked"}`,
			[]string{"const_2", "const_2_value", "const_1_value", "str_1_value", "str_3_value", "2", "1.2", "0", "bool_1", "selection_1_val1", "/data/picked"},
		},
		"constants only":      {"arguments", "slots", "", []string{"-g", "/usr/local/bin/jobscript.sh"}},
		"bare words as keys":  {"arguments", "cluster", `{"desktop": true}`, []string{"up", "memory", "128", "desktop"}},
		"a box not ticked":    {"arguments", "cluster", `{"desktop": false}`, []string{"up", "memory", "128"}},
		"choices and options": {"arguments", "assemble", `{"-inputFile": "x.fasta"}`, []string{"-action", "all", "-genomeSize", "1.0", "-genomeMagnitude", "None", "-inputType", "-pacbio-raw", "-inputFile", "/data/x.fasta"}},
		"empty options": {
			"arguments", "assemble", `{"-inputFile": "/data/x.fasta", "-options": "", "-spec": "", "-action": "trim"}`,
			[]string{"-action", "trim", "-genomeSize", "1.0", "-genomeMagnitude", "None", "-inputType", "-pacbio-raw", "-inputFile", "/data/x.fasta"},
		},
		"free text is one word": {"arguments", "batch", `{"command": "sleep 10 && ls"}`, []string{"-l", "-c", "sleep 10 && ls"}},
		"machine values": {
			"shell", "benchmark", `{"-renderFile": "Ryzen CPU", "-enableCPU": true, "-disableGPU": false}`,
			[]string{"-renderFile", "RyzenGraphic_27", "-enableCPU", "-gpucount", "2"},
		},
		"no file":                   {"shell", "notebook", "", []string{"-u", "/jobs/7"}},
		"a file":                    {"shell", "notebook", `{"-r": "req.txt"}`, []string{"-r", "/data/req.txt", "-u", "/jobs/7"}},
		"words read by their place": {"shell", "workflow", "", []string{"-APIURL", "https://berth.example/api/", "-APIUSER", "ada", "-APIKEY", "k3y", "-VAULT", "home"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := sample(t, test.app)
			got, err := appdef.Render(app, test.command, submitted(t, test.values), environment())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got.Argv[1:]); diff != "" {
				t.Errorf("words (-want +got):\n%s", diff)
			}
			if app.Version == 2 {
				want := got.Argv[0] + " " + strings.Join(test.want, " ")
				if diff := cmp.Diff(want, got.Shell); diff != "" {
					t.Errorf("shell (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestRenderVariables(t *testing.T) {
	t.Parallel()
	got, err := appdef.Render(sample(t, "arguments"), "print", submitted(t, `{"file_1": "f", "str_2": "a\nb $c"}`), environment())
	if err != nil {
		t.Fatal(err)
	}
	want := []appdef.Setting{{Key: "const_3", Value: "const_3_value"}, {Key: "str_2", Value: "a\nb $c"}}
	if diff := cmp.Diff(want, got.Variables); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
	got, err = appdef.Render(sample(t, "shell"), "benchmark", submitted(t, `{"DEBUG_GPU": "True"}`), environment())
	if diff := cmp.Diff([]appdef.Setting{{Key: "DEBUG_GPU", Value: "true"}}, got.Variables); err != nil || diff != "" {
		t.Errorf("%v, variables (-want +got):\n%s", err, diff)
	}
}

func TestRenderMPI(t *testing.T) {
	t.Parallel()
	got, err := appdef.Render(sample(t, "shell"), "mpi", nil, environment())
	if err != nil {
		t.Fatal(err)
	}
	_, arguments, found := strings.Cut(got.Shell, "/opt/JARVICE/openmpi/bin/mpirun ")
	if want := "-x PATH -x LD_LIBRARY_PATH -N 4 --hostfile /etc/JARVICE/nodes /IMB-MPI1"; !found || arguments != want {
		t.Errorf("shell %s, want mpirun %s", got.Shell, want)
	}
}

func TestRenderFiles(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"plain script", "packed script"} {
		got, err := appdef.Render(sample(t, "shell"), command, submitted(t, `{"text": "a b"}`), environment())
		if err != nil {
			t.Fatal(err)
		}
		if got.Script == nil || got.Script.Path != "/run.sh" || !strings.HasPrefix(string(got.Script.Data), "#!/bin/sh\necho ") {
			t.Errorf("%s: %+v", command, got.Script)
		}
	}
	values := `{"file_1": "f", "upload_1": "` + strings.ReplaceAll(base64.URLEncoding.EncodeToString([]byte("\xff\xfe a file ?>")), "=", "") + `\r\n"}`
	got, err := appdef.Render(sample(t, "arguments"), "print", submitted(t, values), environment())
	if err != nil {
		t.Fatal(err)
	}
	want := []appdef.Content{{Path: "/opt/etc/upload.txt", Data: []byte("\xff\xfe a file ?>")}}
	if diff := cmp.Diff(want, got.Uploads); diff != "" {
		t.Errorf("uploads (-want +got):\n%s", diff)
	}
}

// TestRenderKind shows what a command is to be run in.
func TestRenderKind(t *testing.T) {
	t.Parallel()
	type kind struct{ Init, Interactive, Desktop, Webshell, Verbose bool }
	tests := map[string]struct {
		app  string
		want kind
		argv []string
	}{
		"server":   {"arguments", kind{Init: true, Interactive: true}, []string{"/sbin/init"}},
		"terminal": {"arguments", kind{Interactive: true, Webshell: true}, []string{"/usr/bin/top", "-d", "1"}},
		"workflow": {"shell", kind{Interactive: true, Webshell: true, Verbose: true}, nil},
		"choose":   {"shell", kind{Interactive: true, Desktop: true}, []string{"/usr/local/bin/nimbix_desktop", "/usr/bin/choose", "-q", "low"}},
		"mpi":      {"shell", kind{}, []string{"/IMB-MPI1"}},
	}
	for command, test := range tests {
		got, err := appdef.Render(sample(t, test.app), command, nil, environment())
		if err != nil {
			t.Fatal(err)
		}
		k := kind{got.Init, got.Interactive, got.Desktop, got.Webshell, got.VerboseInit}
		if diff := cmp.Diff(test.want, k); diff != "" {
			t.Errorf("%s (-want +got):\n%s", command, diff)
		}
		if diff := cmp.Diff(test.argv, got.Argv); test.argv != nil && diff != "" {
			t.Errorf("%s: words (-want +got):\n%s", command, diff)
		}
		if desktop := strings.HasPrefix(got.Shell, "/usr/local/bin/nimbix_desktop /"); desktop != test.want.Desktop {
			t.Errorf("%s: in a desktop is %v: %s", command, desktop, got.Shell)
		}
	}
}

func TestRenderConditions(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		values string
		want   []string
		level  string
	}{
		"the default":           {`{}`, []string{"-q", "low"}, ""},
		"all must be true":      {`{"-safe": true}`, []string{"-safe", "-q", "low"}, "high"},
		"none must be true":     {`{"quick": false, "-n": 7}`, []string{"-n", "7"}, ""},
		"what takes no part":    {`{"quick": true, "-n": 700000}`, []string{"-q", "low"}, ""},
		"one of two is not all": {`{"quick": false, "-safe": true, "-n": "65536"}`, []string{"-safe", "-n", "65536"}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := appdef.Render(sample(t, "shell"), "choose", submitted(t, test.values), environment())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got.Argv[2:]); diff != "" {
				t.Errorf("words (-want +got):\n%s", diff)
			}
			level := ""
			for _, variable := range got.Variables {
				level = variable.Value
			}
			if level != test.level {
				t.Errorf("variables %v, want %q", got.Variables, test.level)
			}
		})
	}
}

// one renders one parameter and returns what becomes of it.
func one(t *testing.T, definition, value string) (string, error) {
	t.Helper()
	app := parse(t, `{"commands": {"c": {"path": "/p", "parameters": {"-n": `+definition+`}}}}`)
	got, err := appdef.Render(app, "c", submitted(t, value), environment())
	if err != nil {
		return "", err
	}
	return strings.Join(got.Argv[1:], "|"), nil
}

func TestRenderValues(t *testing.T) {
	t.Parallel()
	tests := []struct{ definition, value, want string }{
		{`{"type": "INT", "min": 1, "max": 5}`, `{"-n": 5}`, "-n|5"},
		{`{"type": "INT", "min": 1.0, "max": "5"}`, `{"-n": "5.0"}`, "-n|5"},
		{`{"type": "INT"}`, `{"-n": 9007199254740993}`, "-n|9007199254740993"},
		{`{"type": "INT"}`, `{"-n": null}`, ""},
		{`{"type": "INT", "value": "3"}`, `{}`, "-n|3"},
		{`{"type": "RANGE", "min": 1, "max": 9, "step": "2"}`, `{"-n": "7"}`, "-n|7"},
		{`{"type": "FLOAT", "precision": 2.0}`, `{"-n": 1.999}`, "-n|1.99"},
		{`{"type": "FLOAT", "precision": 0}`, `{"-n": ".9"}`, "-n|0"},
		{`{"type": "FLOAT", "precision": 3}`, `{"-n": 1.5e-3}`, "-n|0.001"},
		{`{"type": "FLOAT", "precision": 1, "max": 1.2}`, `{"-n": 1.29}`, "-n|1.2"},
		{`{"type": "FLOAT", "presision": 1}`, `{"-n": 10}`, "-n|10"},
		{`{"type": "STR"}`, `{"-n": 1.50}`, "-n|1.50"},
		{`{"type": "STR"}`, `{"-n": true}`, "-n|true"},
		{`{"type": "STR", "value": 5}`, `{}`, "-n|5"},
		{`{}`, `{"-n": "no type is STR"}`, "-n|no type is STR"},
		{`{"type": "STR", "value": "x"}`, `{"-n": ""}`, ""},
		{`{"type": "BOOL", "value": "true"}`, `{}`, "-n"},
		{`{"type": "BOOL", "positional": true}`, `{"-n": "TRUE"}`, "-n"},
		{`{"type": "BOOL", "value": true}`, `{"-n": 0}`, ""},
		{`{"type": "selection", "values": ["a", "b"]}`, `{"-n": "b"}`, "-n|b"},
		{`{"type": "selection", "values": ["a", "202"], "value": "202"}`, `{}`, "-n|202"},
		{`{"type": "selection", "values": ["a", "b"], "mvalues": ["1", "2"]}`, `{"-n": 2}`, "-n|2"},
		{`{"type": "selection", "vaules": ["a"]}`, `{"-n": "anything"}`, "-n|anything"},
		{`{"type": "FILE"}`, `{"-n": "a/../b c"}`, "-n|/data/b c"},
		{`{"type": "FILE"}`, `{"-n": "/etc/passwd"}`, "-n|/etc/passwd"},
		{`{"type": "FILE", "value": "in.dat"}`, `{}`, "-n|/data/in.dat"},
		{`{"type": "CONST", "value": ""}`, `{"-n": "x"}`, "-n|"},
		{`{"type": "CONST", "value": "%JOBLABEL%/%TCORES%-%TGPUS%-%TRAM%"}`, `{}`, "-n|my label/8-3-192"},
		{`{"type": "CONST", "value": "100%%NODES%% %JOB_LABEL% %RANDOM16%%RANDOM17%%"}`, `{}`, "-n|100%2% %JOB_LABEL% 0123456789abcdef%RANDOM17%%"},
		{`{"type": "CONST", "value": "$HOME $(id)"}`, `{}`, "-n|$HOME $(id)"},
	}
	for _, test := range tests {
		if got, err := one(t, test.definition, test.value); err != nil || got != test.want {
			t.Errorf("%s with %s: %q, %v; want %q", test.definition, test.value, got, err, test.want)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ definition, value, want string }{
		{`{"type": "INT", "min": 1, "max": 65536}`, `{"-n": 70000}`, `70000 is not within 1 to 65536`},
		{`{"type": "INT", "min": 1}`, `{"-n": "0"}`, `"0" is not 1 or more`},
		{`{"type": "INT", "max": 5}`, `{"-n": 6}`, `6 is not 5 or less`},
		{`{"type": "INT", "max": 5, "value": 6}`, `{}`, `the default "6" is not 5 or less`},
		{`{"type": "INT"}`, `{"-n": 1.5}`, `1.5 is not a whole number`},
		{`{"type": "INT"}`, `{"-n": "1e30"}`, `"1e30" is not a whole number`},
		{`{"type": "INT"}`, `{"-n": [1]}`, `a list is not a text, a number or a boolean`},
		{`{"type": "RANGE", "min": 1, "max": 9, "step": 3}`, `{"-n": 6}`, `6 is not 1 and a multiple of 3`},
		{`{"type": "FLOAT"}`, `{"-n": "nan"}`, `"nan" is not a number`},
		{`{"type": "FLOAT"}`, `{"-n": "0x1p-2"}`, `"0x1p-2" is not a number`},
		{`{"type": "FLOAT", "min": 0.5, "precision": 0}`, `{"-n": 0.75}`, `0.75 is not 0.5 or more`},
		{`{"type": "BOOL"}`, `{"-n": "maybe"}`, `"maybe" is not true or false`},
		{`{"type": "BOOL"}`, `{"-n": {}}`, `an object is not true or false`},
		{`{"type": "selection", "values": ["a", "b"]}`, `{"-n": "c"}`, `"c" is not one of "a", "b"`},
		{`{"type": "selection", "values": ["a"], "required": true}`, `{"-n": ""}`, `a value is required`},
		{`{"type": "STR", "required": true, "value": ""}`, `{}`, `a value is required`},
		{`{"type": "STR"}`, `{"-n": "a\u0000b"}`, `the text has a NUL byte`},
		{`{"type": "FILE"}`, `{"-n": "a/../../etc"}`, `"a/../../etc" leads out of /data`},
		{`{"type": "FILE"}`, `{"-n": "../database"}`, `"../database" leads out of /data`},
		{`{"type": "UPLOAD", "target": "t", "size": 2}`, `{"-n": "YWJj"}`, `the file has 3 bytes, at most 2 are allowed`},
		{`{"type": "UPLOAD", "target": "t"}`, `{"-n": "a b!"}`, `the content is not base64`},
		{`{"type": "UPLOAD", "target": "t", "required": true}`, `{}`, `a file is required`},
	}
	for _, test := range tests {
		_, err := one(t, test.definition, test.value)
		if want := "application.parameters.-n: " + test.want; err == nil || err.Error() != want {
			t.Errorf("%s with %s: %v; want %s", test.definition, test.value, err, want)
		}
	}
}

func TestRenderRefusesAllAtOnce(t *testing.T) {
	t.Parallel()
	app := sample(t, "arguments")
	_, err := appdef.Render(app, "print", submitted(t, `{"int_1": 9, "range_1": 3, "bool_1": "x"}`), environment())
	refusal, ok := errors.AsType[*appdef.Error](err)
	if !ok || len(refusal.Problems) != 4 {
		t.Errorf("error %v, want four problems", err)
	}
	_, err = appdef.Render(app, "Print", nil, environment())
	if want := `application.command: "Print" is not one of "print", "slots", "cluster", "assemble", "batch", "server", "terminal"`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	_, err = appdef.Render(app, "batch", submitted(t, `{"command": "`+strings.Repeat("x", 128<<10)+`"}`), environment())
	if err == nil || !strings.Contains(err.Error(), "has 131072 bytes in the command line, at most 131071 are allowed") {
		t.Errorf("error %.200v", err)
	}
}

func TestRenderWarns(t *testing.T) {
	t.Parallel()
	got, err := appdef.Render(sample(t, "arguments"), "slots", submitted(t, `{"other": {"a": 1}, "global": "-x"}`), environment())
	want := []string{
		"application.parameters.global: the value is fixed by the application; what was sent is ignored",
		`application.parameters.other: the command "slots" has no such parameter; it is ignored`,
	}
	if diff := cmp.Diff(want, got.Warnings); err != nil || diff != "" {
		t.Errorf("%v, warnings (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff([]string{"-g", "/usr/local/bin/jobscript.sh"}, got.Argv[1:]); diff != "" {
		t.Errorf("words (-want +got):\n%s", diff)
	}
}
