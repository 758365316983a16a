package main

import (
	"encoding/base64"
	"net/http"
	"path/filepath"
	"testing"
)

// TestAppRun holds what is sent.
func TestAppRun(t *testing.T) {
	t.Parallel()
	content := "\x00\xffcase\n"
	file := write(t, "case", content)
	encoded := base64.StdEncoding.EncodeToString([]byte(content))
	const machine = `"machine":{"type":"n0","nodes":1}`
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"defaults": {nil, `{"app":"tool",` + machine + `,"application":{"command":"Solve"}}`},
		"texts": {
			[]string{"--set", "-n=4", "--set", "--long=a=b, c", "--set", "empty=", "--set", "True=True"},
			`{"app":"tool",` + machine + `,"application":{"command":"Solve","parameters":{"--long":"a=b, c","-n":"4","True":"True","empty":""}}}`,
		},
		"booleans": {
			[]string{"--set", "-v=true", "--set", "w=false"},
			`{"app":"tool",` + machine + `,"application":{"command":"Solve","parameters":{"-v":true,"w":false}}}`,
		},
		"JSON": {
			[]string{"--set", "-n:=4.50", "--set", `t:="@home"`, "--set", "b:=true", "--set", `k:="true"`},
			`{"app":"tool",` + machine + `,"application":{"command":"Solve","parameters":{"-n":4.50,"b":true,"k":"true","t":"@home"}}}`,
		},
		"files": {
			[]string{"--set", "case=@" + file, "--set", "other=@-"},
			`{"app":"tool",` + machine + `,"application":{"command":"Solve","parameters":{"case":"` + encoded + `","other":"c3RkaW4="}}}`,
		},
		"everything else": {
			[]string{
				"--machine", "n1", "--nodes", "2", "--vault", "v", "--vault-readonly", "--walltime", "01:00:00", "--label", "l", "--project", "p",
				"--geometry", "800x600", "--dry-run",
			},
			`{"app":"tool","machine":{"type":"n1","nodes":2},"vault":{"name":"v","readonly":true},"application":{"command":"Solve",` +
				`"geometry":"800x600","walltime":"01:00:00","nosubmit":true},"job_label":"l","job_project":"p"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, recorded())
			got := command{args: append([]string{"app", "run", "tool", "Solve"}, tc.args...), stdin: "stdin", env: f.env()}.run(t.Context(), t)
			check(t, result{Stdout: "job 12 n12\n"}, got)
			asked := f.asked()
			check(t, []string{"POST /jarvice/submit?username=ada " + tc.want}, asked[len(asked)-1:])
		})
	}
}

// TestAppRunKnowsParameters: a slip of the pen is no job that runs with defaults.
func TestAppRunKnowsParameters(t *testing.T) {
	t.Parallel()
	routes := recorded()
	routes["GET /v1/apps/tool"] = applications()["GET /v1/apps/tool"]
	f := newFake(t, routes)
	run := func(command string, settings ...string) result {
		args := []string{"app", "run", "tool", command}
		for _, setting := range settings {
			args = append(args, "--set", setting)
		}
		return f.berth(t, args...)
	}
	check(t, result{Stdout: "job 12 n12\n"}, run("Solve", "-n=4", "fixed=1", "title=x"))
	check(t, result{1, "", "berth: application tool: Solve has no parameter n (see them: berth app show tool)\n"}, run("Solve", "-n=4", "n=4"))
	check(t, result{1, "", "berth: application tool: Shell has no parameter -n (see them: berth app show tool)\n"}, run("Shell", "-n=4"))
	check(t, result{Stdout: "job 12 n12\n"}, run("Unknown", "-n=4")) // which is the server's to refuse
}

// TestAppRunWaits exits like batch with the job's own code.
func TestAppRunWaits(t *testing.T) {
	t.Parallel()
	routes := recorded()
	routes["GET /v1/jobs/12"] = text(200, failed)
	f := newFake(t, routes)
	check(t, result{Code: 3, Stdout: "job 12 n12\n", Stderr: "job 12: COMPLETED WITH ERROR: the command exited with code 3, after 00:00:17\n"},
		f.berth(t, "app", "run", "tool", "Solve", "--wait"))
	check(t, result{
		Code: 3, Stdout: "one\n\xff\x00two\n",
		Stderr: "job 12 n12\njob 12: COMPLETED WITH ERROR: the command exited with code 3, after 00:00:17\n",
	}, f.berth(t, "app", "run", "tool", "Solve", "-f"))
}

func TestAppRunErrors(t *testing.T) {
	t.Parallel()
	f := newFake(t, map[string]http.HandlerFunc{
		"POST /jarvice/submit": text(400, `{"error":"Missing or Malformed API Syntax: application.parameters.-n: 11 is more than 10"}`),
	})
	none := filepath.Join(t.TempDir(), "none")
	for name, tc := range map[string]struct {
		args []string
		want result
	}{
		"refused": {
			[]string{"tool", "Solve", "--set", "-n=11"},
			result{1, "", "berth: application tool: Missing or Malformed API Syntax: application.parameters.-n: 11 is more than 10\n"},
		},
		"no file": {
			[]string{"tool", "Solve", "--set", "c=@" + none},
			result{1, "", "berth: --set c: open " + none + ": no such file or directory (for a text that starts with @: --set 'c:=\"@…\"')\n"},
		},
		"no command": {
			[]string{"tool"}, result{2, "", "berth: give the ID of the application and the COMMAND to run (see: berth app run --help)\n"},
		},
		"no key":      {[]string{"t", "S", "--set", "=x"}, result{2, "", "berth: --set \"=x\" is not of the form KEY=VALUE (see: berth app run --help)\n"}},
		"no value":    {[]string{"t", "S", "--set", "x"}, result{2, "", "berth: --set \"x\" is not of the form KEY=VALUE (see: berth app run --help)\n"}},
		"given twice": {[]string{"t", "S", "--set", "x=1", "--set", "x:=2"}, result{2, "", "berth: --set x is given twice (see: berth app run --help)\n"}},
		"no JSON": {
			[]string{"t", "S", "--set", "x:=yes"},
			result{2, "", "berth: --set x:= needs a number, true, false or a text in quotes as JSON, and not yes (see: berth app run --help)\n"},
		},
		"no scalar": {
			[]string{"t", "S", "--set", "x:=[1]"},
			result{2, "", "berth: --set x:= needs a number, true, false or a text in quotes as JSON, and not [1] (see: berth app run --help)\n"},
		},
		"dry and wait": {[]string{"t", "S", "--wait", "--dry-run"}, result{2, "", "berth: --dry-run makes no job to wait for (see: berth app run --help)\n"}},
		"JSON and follow": {
			[]string{"t", "S", "-f", "--json"},
			result{2, "", "berth: --json and --follow would mix on stdout: use --json --wait, or leave one out (see: berth app run --help)\n"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, tc.want, f.berth(t, append([]string{"app", "run"}, tc.args...)...))
		})
	}
}
