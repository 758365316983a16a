package appdef_test

import (
	"encoding/json"
	"path"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/berth-hpc/berth/internal/appdef"
)

// FuzzParse: any text is refused with sentences, or is an application that can be shown, read again and rendered without a panic.
func FuzzParse(f *testing.F) {
	f.Add(sample(f, "arguments").JSON)
	f.Add(sample(f, "shell").JSON)
	for _, seed := range []string{"", "{}", `{"commands":{"c":{"path":"/p","parameters":{"a":{"type":"INT","min":1e999,"value":"\ud800"}}}}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		app, err := appdef.Parse(text)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		shown, err := app.Wire()
		if err != nil || !json.Valid(shown) {
			t.Fatalf("shown as %q: %v", shown, err)
		}
		if again, err := appdef.Parse(shown); err != nil || len(again.Commands) != len(app.Commands) {
			t.Fatalf("shown as %q, which is refused: %v", shown, err)
		}
		for _, command := range app.Commands {
			command.AllowsMachine("n0")
			if _, err := appdef.Render(app, command.Key, nil, environment()); err != nil {
				checkRefusal(t, err)
			}
		}
	})
}

func checkRefusal(t *testing.T, err error) {
	t.Helper()
	if text := err.Error(); text == "" || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		t.Fatalf("refused with %q", text)
	}
}

// FuzzRender: any JSON for parameters of all types is refused with sentences or becomes words, variables and files that are safe to
// start a program with.
func FuzzRender(f *testing.F) {
	app := sample(f, "arguments")
	for _, seed := range []string{
		`{"file_1": "a"}`, `{"file_1": "../../x", "int_1": 1e3, "float_1": "1.239", "range_1": "4", "upload_1": "YQ"}`,
		`{"file_1": "/../x", "int_1": "٣", "bool_1": 1, "selection_1": "Value 2", "str_2": "\u0001\n"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		values := map[string]json.RawMessage{}
		if json.Unmarshal([]byte(text), &values) != nil {
			values["file_1"], values["str_1"], values["float_1"] = json.RawMessage(text), json.RawMessage(text), json.RawMessage(text)
		}
		got, err := appdef.Render(app, "print", values, environment())
		if err != nil {
			checkRefusal(t, err)
			return
		}
		for _, word := range got.Argv {
			if strings.ContainsRune(word, 0) || word == "" {
				t.Fatalf("%s gives the word %q", text, word)
			}
		}
		if file := got.Argv[len(got.Argv)-1]; !strings.HasPrefix(file, "/") {
			t.Fatalf("%s gives the file %q", text, file)
		}
		for _, upload := range got.Uploads {
			if upload.Path != "/opt/etc/upload.txt" || path.Clean(upload.Path) != upload.Path || len(upload.Data) > 16 {
				t.Fatalf("%s gives the upload %+v", text, upload)
			}
		}
	})
}

// FuzzShell is TestSubmittedValuesAreData with values and a label that the fuzzer looks for. The constants are made of fragments only:
// a shell does carry out what their author wrote.
func FuzzShell(f *testing.F) {
	f.Add([]byte{5, 0, 6}, "'; : >PWNED; '", "$(: >PWNED)")
	f.Add([]byte{12, 1, 40}, "a\\", "`")
	found := shells(f)[:1]
	f.Fuzz(func(t *testing.T, picked []byte, value, label string) {
		if strings.ContainsRune(value+label, 0) || !utf8.ValidString(value) || !utf8.ValidString(label) {
			t.Skip("no text of JSON, or none that a process can be given")
		}
		constants := []string{"", "x"}
		for i, b := range picked[:min(len(picked), 12)] {
			constants[i%2] += fragments[int(b)%len(fragments)]
		}
		env := environment()
		env.JobLabel = label
		checkData(t, found, constants, []string{value, "behind"}, env, func(shell []string, text string, variables []appdef.Setting) []string {
			return run(t, shell, text, variables)
		})
	})
}
