package appdef_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/internal/appdef"
)

func TestWire(t *testing.T) {
	t.Parallel()
	app := parse(t, `{"name": "N\u00e9", "price": 1.50, "owner": 7, "id": null, "appdefversion": 1.0, "licensed": "true", "scale_max": "4",
		"classifications": ["a", 1], "machines": "n0", "image": {"type": "image/png", "data": "AA\n=="}, "checkedout": "true",
		"identity": {"uid": "600"}, "variables": {"V": {"userowned": "false"}},
		"commands": {"z": {"path": "/p", "interactive": "false", "scale_max": 2.0, "ports": [], "x": {"b": 1, "a": 2}, "parameters": {
			"-z": {"type": "RANGE", "step": 2, "min": 1, "max": "3", "value": 1, "positional": true},
			"-a": {"type": "UPLOAD", "target": "t", "size": 10240, "required": "true"},
			"-m": {"type": "selection", "values": ["a", 2], "mvalues": null, "if": []}}},
			"a": {"path": "/q"}},
		"image": null}`)
	want := `{"name":"N\u00e9","price":"1.50","owner":"7","appdefversion":1,"licensed":true,"scale_max":4,` +
		`"classifications":["a","1"],"machines":["n0"],"checkedout":"true",` +
		`"identity":{"uid":600},"variables":{"V":{"userowned":false}},` +
		`"commands":{"z":{"path":"/p","interactive":false,"scale_max":2,"ports":[],"x":{"b": 1, "a": 2},"parameters":{` +
		`"-z":{"type":"RANGE","step":"2","min":1,"max":"3","value":1,"positional":true},` +
		`"-a":{"type":"UPLOAD","target":"t","size":"10240","required":true},` +
		`"-m":{"type":"selection","values":["a","2"],"if":[]}}},` +
		`"a":{"path":"/q"}}}`
	got, err := app.Wire()
	if diff := cmp.Diff(want, string(got)); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := (&appdef.AppDef{}).Wire(); err == nil {
		t.Error("an AppDef that was not parsed has a wire form")
	}
}

// TestWireAgain: what is shown is the same application.
func TestWireAgain(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"arguments", "shell"} {
		app := sample(t, name)
		shown, err := app.Wire()
		if err != nil || !json.Valid(shown) {
			t.Fatalf("%s: %v", shown, err)
		}
		again := parse(t, string(shown))
		if diff := cmp.Diff(app.Commands, again.Commands, cmp.AllowUnexported(appdef.Command{}, appdef.Parameter{})); diff != "" {
			t.Errorf("%s (-file +shown):\n%s", name, diff)
		}
	}
}
