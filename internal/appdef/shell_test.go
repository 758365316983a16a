package appdef_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/berth-hpc/berth/internal/appdef"
)

// printWords is a program for any shell that prints its arguments, each with a NUL behind it. The "." keeps it from printing one
// empty argument when there are none.
const printWords = `/usr/bin/printf '%s\0' .`

// shells are those of this machine that a job's image may have as its /bin/sh.
func shells(t testing.TB) (found [][]string) {
	t.Helper()
	seen := map[string]bool{}
	for _, shell := range [][]string{{"/bin/dash"}, {"/bin/bash"}, {"/bin/bash", "--posix"}, {"/bin/busybox", "sh"}, {"/bin/sh"}} {
		program, err := filepath.EvalSymlinks(shell[0])
		if name := strings.Join(append([]string{program}, shell[1:]...), " "); err == nil && !seen[name] {
			seen[name] = true
			found = append(found, shell)
		}
	}
	return found
}

// run lets a shell run a text and returns the words that printWords printed; nil when the shell refused the text. Programs have no
// names there: what gets out of its word can do little harm.
func run(t testing.TB, shell []string, text string, variables []appdef.Setting) []string {
	t.Helper()
	cmd := exec.Command(shell[0], append(slices.Clone(shell[1:]), "-c", text)...)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"PATH=/nonexistent", "LC_ALL=C.UTF-8", "HOME=/home/ada", "HOSTNAME=host"}
	for _, variable := range variables {
		cmd.Env = append(cmd.Env, variable.Key+"="+variable.Value)
	}
	out, err := cmd.Output()
	if _, refused := err.(*exec.ExitError); err != nil && !refused { //nolint:errorlint // exec returns it bare
		t.Fatal(err)
	}
	words := strings.Split(string(out), "\x00")
	if len(out) == 0 || words[0] != "." {
		return nil
	}
	return words[1 : len(words)-1]
}

// TestWordsOfAnyBytes: whatever a value is, any shell reads it as the same one word.
func TestWordsOfAnyBytes(t *testing.T) {
	t.Parallel()
	found := shells(t)
	rapid.Check(t, func(rt *rapid.T) {
		want := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) string {
			return string(rapid.SliceOf(rapid.ByteRange(1, 255)).Draw(rt, "bytes"))
		}), 1, 10).Draw(rt, "words")
		quoted := []string{printWords}
		for _, word := range want {
			quoted = append(quoted, appdef.ShellWord(word))
		}
		text := strings.Join(quoted, " ")
		for _, shell := range found {
			if diff := cmp.Diff(want, run(t, shell, text, nil)); diff != "" {
				rt.Errorf("%v reads %q (-want +got):\n%s", shell, text, diff)
			}
		}
	})
}

// fragments are what shell texts are made of, for authors and for attackers.
var fragments = []string{
	"a", "b c", " ", "$HOME", "${HOME}", "${HOME", "$(echo hi)", "$(echo ", ")", "`", "`echo hi`", "$", "$$", "\\", `\$`, `"`, "'", "#", "\n",
	"case x in x)", "esac", "<<", "<<E", "E", "((", "))", "$((1+", "$((1+2))", "x[", "]", "{", "}", "${x:-", "${x:-y}", "${x%", ";", "|", "&", "(",
	"%JOBLABEL%", "%CORES%", "%OTHER%", "%", "$(color)", "$'", "é", "*", "~", "!", ">PWNED", "; : >PWNED; ", "$(: >PWNED)", "`: >PWNED`", "\t",
	"$(printf '<%s>' $(color))", "$(echo $(echo $(color)))",
}

func hostile() *rapid.Generator[string] {
	return rapid.Custom(func(rt *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom(fragments), 0, 6).Draw(rt, "fragments"), "")
	})
}

// TestSubmittedValuesAreData: with whatever constants the author of an application wrote, balanced or not, what users submit is
// exactly one word each, and nothing of it is carried out.
func TestSubmittedValuesAreData(t *testing.T) {
	t.Parallel()
	found := shells(t)
	rapid.Check(t, func(rt *rapid.T) {
		constants := rapid.SliceOfN(hostile(), 3, 3).Draw(rt, "constants")
		values := rapid.SliceOfN(rapid.OneOf(hostile(), rapid.StringN(0, 8, -1)), 3, 3).Draw(rt, "values")
		env := environment()
		env.JobLabel = hostile().Draw(rt, "label")
		checkData(rt, found, constants, values, env, func(shell []string, text string, variables []appdef.Setting) []string {
			return run(t, shell, text, variables)
		})
	})
}

// interleave makes an AppDef of constants and values, by turns and with a variable in front.
func interleave(constants []string) string {
	type parameter struct {
		Type       string `json:"type"`
		Value      string `json:"value"`
		Positional bool   `json:"positional"`
		Variable   bool   `json:"variable"`
	}
	var out bytes.Buffer
	out.WriteString(`{"appdefversion": 2, "commands": {"c": {"path": "/usr/bin/printf '%s\\0' .", "parameters": {`)
	for i, constant := range constants {
		first, _ := json.Marshal(parameter{Type: "CONST", Value: constant, Positional: true})
		second, _ := json.Marshal(parameter{Type: "STR", Positional: true})
		key := string(rune('a' + i))
		out.WriteString(`"c` + key + `": ` + string(first) + `, "v` + key + `": ` + string(second) + `, `)
	}
	out.WriteString(`"color": {"type": "STR", "variable": true}}}}}`)
	return out.String()
}

type failer interface {
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

func checkData(t failer, shells [][]string, constants, values []string, env appdef.Environment,
	run func([]string, string, []appdef.Setting) []string,
) {
	app, err := appdef.Parse([]byte(interleave(constants)))
	if err != nil {
		t.Fatalf("constants %q: %v", constants, err)
	}
	sent := map[string]json.RawMessage{}
	for i, value := range values {
		sent["v"+string(rune('a'+i))], _ = json.Marshal(value)
	}
	sent["color"] = json.RawMessage(`"$(: >PWNED)"`)
	rendered, err := appdef.Render(app, "c", sent, env)
	if err != nil {
		return // a label that must not be put into a command
	}
	for _, shell := range shells {
		words := run(shell, rendered.Shell, rendered.Variables)
		if words == nil {
			continue // the shell refused an expansion of the author, and ran nothing
		}
		checkWords(t, shell, rendered.Shell, words, constants, values, env)
	}
}

// checkWords compares what a shell made of constants and values: a value that is not empty is a word, and a constant always is.
func checkWords(t failer, shell []string, text string, words, constants, values []string, env appdef.Environment) {
	at := 0
	for i := range constants {
		if at < len(words) && !strings.ContainsAny(constants[i], "$`\\") {
			lookup := func(name string) (string, bool) {
				known := map[string]string{"JOBLABEL": env.JobLabel, "CORES": "4"}
				replacement, ok := known[name]
				return replacement, ok
			}
			if want := appdef.Substitute(constants[i], lookup); words[at] != want {
				t.Errorf("%v reads the constant %q of %s", shell, words[at], text)
			}
		}
		at++
		if values[i] == "" {
			continue
		}
		if at >= len(words) || words[at] != values[i] {
			t.Errorf("%v does not read the value %q at %d of %q from %s", shell, values[i], at, words, text)
			return
		}
		at++
	}
	if at != len(words) {
		t.Errorf("%v reads %q, which are not %d words, from %s", shell, words, at, text)
	}
}

// TestExpansion shows what is expanded in constants of version 2, and in submitted values when the server allows it.
func TestExpansion(t *testing.T) {
	t.Parallel()
	color := []appdef.Setting{{Key: "color", Value: "yel*low $(: >PWNED)"}}
	label := `$(echo pwned)"`
	lookup := func(name string) (string, bool) {
		return map[string]string{"L": label, "N": "4"}[name], name == "L" || name == "N"
	}
	tests := map[string]struct{ text, want string }{
		"nothing to expand":            {`a "b" 'c'`, `a "b" 'c'`},
		"a variable":                   {`x $HOME y`, `x /home/ada y`},
		"one in braces":                {`${HOME}s ${NONE:-none}`, `/home/adas none`},
		"a command":                    {`<$(echo hi there)>`, `<hi there>`},
		"one with quotes":              {`$(echo 'a)b' "c")`, `a)b "c"`},
		"one in another":               {`$(echo $(echo a) b)`, `a b`},
		"one in backticks":             {"`echo hi`", `hi`},
		"arithmetic":                   {`$((%N%*2))`, `8`},
		"a variable of the job":        {`I like $(color).`, `I like yel*low $(: >PWNED).`},
		"one of it in a command":       {`$(printf '<%s>' a$(color) "$(color)")`, `<ayel*low $(: >PWNED)><"yel*low $(: >PWNED)">`},
		"and in single quotes":         {`$(printf '<$(color)>' x)`, `<$(color)>`},
		"a placeholder is data":        {`$HOME %L%`, `/home/ada $(echo pwned)"`},
		"also behind a dollar sign":    {`$%L%`, `$$(echo pwned)"`},
		"and behind a name":            {`$HOME%N%`, `/home/ada4`},
		"and behind a backslash":       {`\%L%`, `\$(echo pwned)"`},
		"a plain one is put in":        {`$(echo %N%)`, `4`},
		"escaped":                      {`\$HOME \a \\`, `$HOME \a \`},
		"a backslash at the end":       {`$HOME\`, `/home/ada\`},
		"other dollar signs":           {`$ $1 $$ $@ 5$`, `$ $1 $$ $@ 5$`},
		"an open bracket":              {`$(echo hi`, `$(echo hi`},
		"an open brace":                {`${HOME`, `${HOME`},
		"an open backtick":             {"`echo", "`echo"},
		"a bracket that closes none":   {`$(case x in x) echo)`, `$(case x in x) echo)`},
		"a comment":                    {`$(echo # )`, `$(echo # )`},
		"a bracket of an array":        {`$(a[)`, `$(a[)`},
		"quotes are part of the value": {`"$HOME"`, `"/home/ada"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			word, err := appdef.Expandable(test.text, color, lookup)
			if err != nil {
				t.Fatal(err)
			}
			for _, shell := range shells(t) {
				if diff := cmp.Diff([]string{test.want, "behind"}, run(t, shell, printWords+" "+word+" behind", color)); diff != "" {
					t.Errorf("%v reads %s (-want +got):\n%s", shell, word, diff)
				}
			}
		})
	}
	if word, err := appdef.Expandable(`$(echo %L%)`, nil, lookup); err == nil {
		t.Errorf("a placeholder with any value became part of a command: %s", word)
	}
}

// TestExpansionInApplication is the application that shows expansion: its constants live, submitted values do so only by the switch.
func TestExpansionInApplication(t *testing.T) {
	t.Parallel()
	app := sample(t, "shell")
	host := "me"
	env := environment()
	for _, expand := range []bool{false, true} {
		env.ExpandSubmitted = expand
		rendered, err := appdef.Render(app, "expand", submitted(t, `{"third": "$HOSTNAME \"%APIKEY%\" $(color"}`), env)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"Hello ! I am " + host + ".", "And I like yellow color.", `$HOSTNAME "%APIKEY%" $(color`}
		if expand {
			want[2] = `host "%APIKEY%" $(color`
		}
		for _, shell := range shells(t) {
			text := "hostname() { echo " + host + "; }; " + strings.Replace(rendered.Shell, "'%s\\0'", "'%s\\0' .", 1)
			if diff := cmp.Diff(want, run(t, shell, text, rendered.Variables)); diff != "" {
				t.Errorf("%v, expand %t (-want +got):\n%s", shell, expand, diff)
			}
		}
	}
}

// TestNestedReferences: what a user submitted is one word of the author's commands, too.
func TestNestedReferences(t *testing.T) {
	t.Parallel()
	app := parse(t, interleave([]string{"$(printf '<%s>' -$(color) $(color))"}))
	found := shells(t)
	rapid.Check(t, func(rt *rapid.T) {
		color := rapid.OneOf(hostile(), rapid.StringN(1, 8, -1)).Filter(func(s string) bool {
			return strings.Trim(s, " \t\n\r") != "" && !strings.ContainsRune(s, 0)
		}).Draw(rt, "color")
		sent, _ := json.Marshal(color)
		rendered, err := appdef.Render(app, "c", map[string]json.RawMessage{"color": sent}, environment())
		if err != nil {
			rt.Skip(err)
		}
		color = rendered.Variables[0].Value
		for _, shell := range found {
			words := run(t, shell, rendered.Shell, rendered.Variables)
			if diff := cmp.Diff([]string{"<-" + color + "><" + color + ">"}, words); diff != "" {
				rt.Errorf("%v reads %s (-want +got):\n%s", shell, rendered.Shell, diff)
			}
		}
	})
}

// TestNumbersInReckonings: some shells carry out commands in what they take for a number, so nothing else gets there.
func TestNumbersInReckonings(t *testing.T) {
	t.Parallel()
	none := func(string) (string, bool) { return "", false }
	for _, text := range []string{
		"$((color))", "$((1+$color))", "$(echo $((color)))", "$(echo $(echo $((color * 2))))", "${HOME:color}", "$(echo ${HOME:1 +color})",
	} {
		variables := []appdef.Setting{{Key: "color", Value: "x[$(echo pwned >&2)]"}}
		if word, err := appdef.Expandable(text, variables, none); err == nil {
			t.Errorf("%s is %s", text, word)
		}
		variables[0].Value = "-3"
		if _, err := appdef.Expandable(text, variables, none); err != nil {
			t.Errorf("%s with a number: %v", text, err)
		}
	}
	variables := []appdef.Setting{{Key: "color", Value: "red"}}
	label := func(name string) (string, bool) { return "color", name == "L" }
	if word, err := appdef.Expandable("$((%L%))", variables, label); err == nil {
		t.Errorf("a placeholder that names a variable: %s", word)
	}
	for _, text := range []string{"$((colors))", "${color:-color}", "$(echo color)"} {
		if _, err := appdef.Expandable(text, variables, none); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"/bin/bash -l", `/bin/sh -c 'a; b'`, `"$HOME/my app" -x`, "cd /x && ./run", `a\ b`, "$(pwd)/x", "prog <in >out 2>&1", "é"} {
		if !appdef.Closed(text) {
			t.Errorf("%s is open", text)
		}
	}
	for _, text := range []string{"a 'b", `a "b`, `a\`, "a #", "a; ", "a;", "a |", "a >", "(a", "a $(b", "a `b", "a ${b", "$'a\\'b", "cat <<E", "a\nb", `"$(echo "a)")"`} {
		if appdef.Closed(strings.TrimSpace(text)) {
			t.Errorf("%q is closed", text)
		}
	}
}

// TestLabelInCommand: what a user chose is not put into a command of the author when it could mean something there.
func TestLabelInCommand(t *testing.T) {
	t.Parallel()
	app := parse(t, interleave([]string{"$(echo %JOBLABEL%)"}))
	_, err := appdef.Render(app, "c", nil, environment())
	want := `application.parameters.ca: %JOBLABEL% stands for "my label", but inside of "$(echo %JOBLABEL%)" only letters, digits and _./:@%+,=- may be put`
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	env := environment()
	env.JobLabel = "plain-label"
	rendered, err := appdef.Render(app, "c", nil, env)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"plain-label"}, run(t, []string{"/bin/sh"}, rendered.Shell, nil)); diff != "" {
		t.Errorf("words (-want +got):\n%s", diff)
	}
}
