package appdef_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/internal/appdef"
)

// catalogued is what becomes of a file of testdata/catalogue, which have the shapes that public applications have.
type catalogued struct {
	// refusal is the error; without one the warnings are said, and the command with the values becomes the words and the variables.
	refusal         string
	warnings        []string
	command, values string
	words           []string
	variables       []appdef.Setting
}

var catalogue = map[string]catalogued{
	"machine": {
		warnings: []string{
			`commands.shell.webshell: the key has no effect without "appdefversion": 2`,
			`variable: the key is unknown and ignored; is "variables" meant?`,
		},
		command: "batch", values: `{"text": "sleep 10 && ls"}`, words: []string{"/bin/bash", "-l", "-c", "sleep 10 && ls"},
	},
	"notebook": {
		command: "notebook", values: `{"-r": "req.txt"}`,
		words: []string{"/usr/local/bin/notebook", "-r", "/data/req.txt", "-u", "/jobs/7", "--token=0123456789abcdef --url=/jobs/7"},
	},
	"desktop": {command: "server", values: `{"script": "/opt/x.py"}`, words: []string{"/opt/viewer/bin/server", "/opt/x.py"}},
	"solver": {
		command: "solve", values: `{"-m": "turbulent", "scheme": "Second order", "-case": "a b/c.cas", "-steps": "20", "-restart": true, "DOUBLE": true, "LABEL": "mine"}`,
		words: []string{
			"/usr/local/bin/solve", "-m", "turbulent", "-case", "/data/a b/c.cas", "-steps", "20", "-tol", "0.5", "-level", "4", "-restart", "2", "verbose",
		},
		variables: []appdef.Setting{{Key: "DOUBLE", Value: "true"}, {Key: "NOTE", Value: "none"}, {Key: "CORES", Value: "8"}, {Key: "LABEL", Value: "a label"}},
	},
	"twice": {
		warnings: []string{
			`commands.run.desktop: the key has no effect without "appdefversion": 2`,
			`commands.run.path: "xterm" is not an absolute path`,
			`vault-types: "TAPE" is not one of FILE, BLOCK, BLOCK_ARRAY, OBJECT, NONE`,
		},
		command: "run", words: []string{"xterm", "-e", "top", "-g", "second"},
	},
	"comma":    {refusal: `the AppDef is not JSON: line 5, column 5: invalid character '}' looking for beginning of object key string, at the end of`},
	"template": {refusal: `the AppDef is not JSON: line 4, column 9: invalid character '<' looking for beginning of value, at the end of`},
	"open":     {refusal: `the AppDef is not JSON: line 2, column 0: unexpected end of JSON input, at the end of`},
	"pasted":   {refusal: `commands.image.path: a command needs the path of its program`},
	"types": {refusal: `commands.run.parameters.-n.type: "NUMBER" is not one of CONST, STR, INT, FLOAT, RANGE, BOOL, FILE, UPLOAD, selection; ` +
		`commands.run.parameters.-c.value: a CONST needs a value`},
}

func TestCatalogue(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/catalogue/*.json")
	if err != nil || len(files) != len(catalogue) {
		t.Fatalf("%d files for %d expectations: %v", len(files), len(catalogue), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			app, err := appdef.Parse(text)
			if want := catalogue[name]; want.refusal == "" && err == nil {
				checkCatalogued(t, app, want)
			} else if want.refusal == "" || err == nil || !strings.HasPrefix(err.Error(), want.refusal) {
				t.Errorf("error %v, want %s", err, want.refusal)
			}
		})
	}
}

func checkCatalogued(t *testing.T, app *appdef.AppDef, want catalogued) {
	t.Helper()
	if diff := cmp.Diff(want.warnings, slices.Sorted(slices.Values(app.Warnings))); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	var values map[string]json.RawMessage
	if want.values != "" {
		values = submitted(t, want.values)
	}
	env := environment()
	env.Cores, env.Nodes, env.BasePath, env.Random, env.JobLabel = 4, 2, "jobs/7", "0123456789abcdef", "a label"
	got, err := appdef.Render(app, want.command, values, env)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.words, got.Argv); diff != "" {
		t.Errorf("words (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want.variables, got.Variables); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
}
