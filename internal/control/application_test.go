package control

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/engine"
)

// appDef makes an AppDef of version 2 with one command, Run, and these members of the application, of the command and parameters.
func appDef(app, command, parameters string) string {
	return `{"name":"A","description":"","author":"","licensed":false,"appdefversion":2,"classifications":[],"machines":["*"],
		"vault-types":["NONE","FILE"],"image":{"type":"","data":""}` + app + `,"commands":{"Run":{"name":"Run","description":"",
		"path":"/bin/run","interactive":false` + command + `,"parameters":{` + parameters + `}}}}`
}

// constant is a parameter of a fixed value.
func constant(key, value, flag string) string {
	return `"` + key + `":{"name":"x","description":"","type":"CONST","required":true,"value":"` + value + `","` + flag + `":true}`
}

var simpleAppDef = appDef("", "", `"-n":{"name":"n","description":"","type":"INT","min":1,"max":9,"value":2,"required":true}`)

func (b *bench) addApp(t *testing.T, owner berth.Caller, id, definition string, change ...func(*ApplicationRequest)) berth.Application {
	t.Helper()
	req := ApplicationRequest{ID: id, Image: "local/x", AppDef: []byte(definition)}
	for _, f := range change {
		f(&req)
	}
	app, err := b.AddApplication(t.Context(), owner, req)
	if err != nil {
		t.Fatal(err)
	}
	return app
}

func appRequest(app string) BatchRequest {
	return BatchRequest{Submission: berth.Submission{App: app, Command: "Run", Machine: berth.MachineRequest{Type: "n1"}}}
}

// submitApp submits an application and returns the job and what it runs.
func (b *bench) submitApp(t *testing.T, caller berth.Caller, req BatchRequest) (berth.Job, berth.Run) {
	t.Helper()
	job, err := b.SubmitApplication(t.Context(), caller, req)
	if err != nil {
		t.Fatal(err)
	}
	run, found, err := b.store.Run(t.Context(), job.Number)
	if !found || err != nil {
		t.Fatalf("the run of job %d: %v, %v", job.Number, found, err)
	}
	return job, run
}

func TestSubmitApplication(t *testing.T) {
	b := newBench(t, func(c *Config) { c.APIURL = "http://192.0.2.1/" })
	b.addApp(t, b.ada, "app.one", appDef(
		`,"identity":{"username":"eve","uid":1000},"walltime":"01:00:00"`, `,"interactive":true,"verboseinit":true,"url":"http://%PUBLICADDR%/"`,
		constant("A", "%NODES% of %CORES%, %RAM% GB, %MACHINETYPE%, %VTYPE% %VNAME%, %JOBLABEL%", "variable")+`,
		"-n":{"name":"n","description":"","type":"INT","min":1,"max":9,"value":2,"required":true},
		"-u":{"name":"u","description":"","type":"UPLOAD","target":"in/put","size":99,"required":false},`+constant("-v", "$A", "required")), func(r *ApplicationRequest) { r.Price = 1.5 })
	req := appRequest("app.one")
	req.PullSecret = "secret"
	req.Submission.Machine.Nodes, req.Submission.Label = 2, "the label"
	req.Submission.Vault.Name = "data"
	req.Submission.Identity = &berth.Identity{Username: "mallory", Group: "m", UID: 7, GID: 7}
	req.Submission.Parameters = map[string]json.RawMessage{
		"-n": json.RawMessage(`"3"`), "-u": json.RawMessage(`"aGVsbG8="`), "other": json.RawMessage(`true`),
	}
	job, run := b.submitApp(t, b.ada, req)

	if job.Application != "app.one" || job.Command != "Run" || !strings.HasSuffix(job.Name, "-app.one-ada_s1") || job.Image != localImage ||
		job.Owner != "ada" || job.Payer != "paul" || job.Team != "red" || job.Grace != time.Minute {
		t.Errorf("job %+v", job)
	}
	if diff := cmp.Diff(berth.Capacity{Cores: 4, RAM: 4 << 30, Slots: 2}, job.Need.Times(job.Nodes())); diff != "" {
		t.Error(diff)
	}
	want := req.Submission
	want.Walltime, want.Identity = time.Hour, &berth.Identity{Username: "eve", Group: "nimbix", UID: 1000, GID: 505}
	want.Vault.Kind = berth.VaultFile
	want.Parameters, want.AppPrice = map[string]json.RawMessage{"-n": json.RawMessage(`"3"`)}, 1.5
	if diff := cmp.Diff(want, job.Submission); diff != "" {
		t.Errorf("submission (-want +got):\n%s", diff)
	}
	wantRun := berth.Run{
		Shell: `/bin/run -n 3 -v "${A}"`, Variables: []berth.Setting{{Key: "A", Value: "2 of 2, 2 GB, n1, FILE data, the label"}},
		Files:       []berth.File{{Path: "/opt/in/put", Data: []byte("hello")}},
		VerboseInit: true, Interactive: true, URL: "http://%PUBLICADDR%/", Password: run.Password, Random: run.Random,
	}
	if diff := cmp.Diff(wantRun, run); diff != "" {
		t.Errorf("run (-want +got):\n%s", diff)
	}
	plain := func(text string) bool { return plainText(text, "") }
	if len(run.Password) != 12 || len(run.Random) != 128 || !plain(run.Password) || !plain(run.Random) {
		t.Errorf("password %q, random %q", run.Password, run.Random)
	}
	if secret, err := b.store.PullSecret(t.Context(), job.Number); err != nil || secret != "secret" {
		t.Errorf("pull secret %q, %v", secret, err)
	}
}

// plainText is plainName for texts of any length.
func plainText(text, others string) bool {
	for len(text) > maxName {
		if !plainName(text[:maxName], others) {
			return false
		}
		text = text[maxName:]
	}
	return plainName(text, others)
}

// TestWhatRuns: each way of an AppDef to say what runs has its own in the run.
func TestWhatRuns(t *testing.T) {
	b := newBench(t)
	first := func(definition string) string {
		return strings.Replace(definition, `"appdefversion":2`, `"appdefversion":1`, 1)
	}
	for name, test := range map[string]struct {
		definition string
		want       berth.Run
	}{
		"version 1": {first(appDef("", "", constant("a", "b c", "positional"))), berth.Run{Argv: []string{"/bin/run", "b c"}}},
		"init": {
			strings.Replace(appDef("", "", ""), "/bin/run", "/sbin/init more", 1), berth.Run{Argv: []string{"/sbin/init", "more"}, Init: true},
		},
		"script": {appDef("", `,"cmdscript":"#!/bin/sh\necho"`, ""), berth.Run{
			Shell: "/bin/run", Files: []berth.File{{Path: "/bin/run", Data: []byte("#!/bin/sh\necho"), Executable: true}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			id := strings.ReplaceAll(name, " ", "-")
			b.addApp(t, b.ada, id, test.definition)
			_, run := b.submitApp(t, b.ada, appRequest(id))
			run.Password, run.Random = "", ""
			if diff := cmp.Diff(test.want, run); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSubmitApplicationRefuses(t *testing.T) {
	const malformed = "Missing or Malformed API Syntax: "
	param := func(key, value string) func(*BatchRequest) {
		return func(r *BatchRequest) {
			r.Submission.Parameters = map[string]json.RawMessage{key: json.RawMessage(value)}
		}
	}
	b := newBench(t, func(c *Config) { c.Checker = answers{engine.ErrRefused} })
	b.addApp(t, b.ada, "app", strings.Replace(appDef(`,"scale_max":1`, "", `"-n":{"name":"n","description":"","type":"INT","min":1,"max":9,
		"required":true}`), `"machines":["*"]`, `"machines":["n*"]`, 1))
	for name, test := range map[string]struct {
		change func(*BatchRequest)
		kind   berth.Kind
		text   string
	}{
		"no such application": {func(r *BatchRequest) { r.Submission.App = "absent" }, berth.NotFound, "Application Not Found"},
		"no application":      {func(r *BatchRequest) { r.Submission.App = "" }, berth.NotFound, "Application Not Found"},
		"no such command":     {func(r *BatchRequest) { r.Submission.Command = "Walk" }, berth.NotFound, `Application Not Found: app has no command "Walk"`},
		"no such machine":     {func(r *BatchRequest) { r.Submission.Machine.Type = "zz" }, berth.Invalid, malformed + `machine.type: "zz" is not one of n0, n1`},
		"another machine":     {func(r *BatchRequest) { r.Submission.Machine.Type = "p0" }, berth.Invalid, malformed + `machine.type: "p0" is not one of n*, which`},
		"too many nodes":      {func(r *BatchRequest) { r.Submission.Machine.Nodes = 2 }, berth.Invalid, malformed + `machine.nodes: 2 is above 1, the limit of the application`},
		"no such vault":       {func(r *BatchRequest) { r.Submission.Vault.Name = "zz" }, berth.Invalid, malformed + `vault.name: you have no vault "zz"`},
		"parameter missing":   {func(*BatchRequest) {}, berth.Invalid, malformed + "application.parameters.-n: a value is required"},
		"parameter wrong":     {param("-n", `10`), berth.Invalid, malformed + "application.parameters.-n: "},
		"parameter no JSON":   {param("-n", `{`), berth.Invalid, malformed + "application.parameters.-n: "},
	} {
		t.Run(name, func(t *testing.T) {
			req := appRequest("app")
			test.change(&req)
			_, err := b.SubmitApplication(t.Context(), b.ada, req)
			wantError(t, err, test.kind, test.text)
		})
	}
	_, err := b.SubmitApplication(t.Context(), b.bob, appRequest("app"))
	wantError(t, err, berth.NotFound, "Application Not Found")
	b.ada.User.Billing = false
	_, err = b.SubmitApplication(t.Context(), b.ada, appRequest("app"))
	wantError(t, err, berth.Unauthenticated, "Account billing not active")
	if jobs, err := listed(b.Jobs(t.Context(), b.admin, JobsFilter{All: true, Team: true})); err != nil || len(jobs) != 0 {
		t.Errorf("%d jobs are stored, %v", len(jobs), err)
	}
}

// TestAnImageThatIsGone: when the registry definitely has it not, the submission says so.
func TestAnImageThatIsGone(t *testing.T) {
	images, now := localImages{have: localImage}, time.Now()
	b := newBench(t, func(c *Config) {
		c.Images, c.Checker, c.Now = &images, answers{engine.ErrRefused}, func() time.Time { return now }
	})
	b.addApp(t, b.ada, "app", simpleAppDef)
	images.have, now = "another", now.Add(cacheFor)
	_, err := b.SubmitApplication(t.Context(), b.ada, appRequest("app"))
	wantError(t, err, berth.Invalid, "Container cannot create Application")
}

// TestApplicationsShareTheRulesOfBatch: personal machine types, repetitions and checks without a job.
func TestApplicationsShareTheRulesOfBatch(t *testing.T) {
	b := newBench(t)
	b.addApp(t, b.ada, "app", simpleAppDef)
	req := appRequest("app")
	req.Submission.NoSubmit = true
	if job, err := b.SubmitApplication(t.Context(), b.ada, req); err != nil || job.Number != 0 || job.Application != "app" {
		t.Errorf("job that would be: %+v, %v", job, err)
	}
	req.Submission.NoSubmit = false
	req.Submission.Machine.Type, req.IdempotencyKey, req.RequestHash = "p0", "key", "hash"
	first, _ := b.submitApp(t, b.ada, req)
	if again, err := b.SubmitApplication(t.Context(), b.ada, req); err != nil || again.Number != first.Number || first.Number != 1 {
		t.Errorf("the repetition of job %d is job %d, %v", first.Number, again.Number, err)
	}
	req.IdempotencyKey = ""
	_, err := b.SubmitApplication(t.Context(), b.ada, req)
	wantError(t, err, berth.LimitReached, "Only one active job allowed per VM")
}

func TestAccountVariables(t *testing.T) {
	b := newBench(t)
	b.addApp(t, b.admin, "app", appDef(`,"variables":{"LICENSE":{"name":"l","description":"","userowned":true,"inherit":true,"required":true},
		"SHARED":{"name":"s","description":"","userowned":false,"inherit":true},"OWN":{"name":"o","description":"","userowned":true,"inherit":false},
		"SET":{"name":"x","description":"","userowned":true,"inherit":false}}`, "", constant("SET", "by the application", "variable")),
		func(r *ApplicationRequest) { r.Public = true })
	_, err := b.SubmitApplication(t.Context(), b.ada, appRequest("app"))
	wantError(t, err, berth.Invalid, "Missing or Malformed API Syntax: user: the application needs variables that your account does not have: LICENSE")
	for _, v := range [][3]string{
		{"paul", "LICENSE", "the payer's"},
		{"paul", "OWN", "not for others"},
		{"paul", "SHARED", "of all"},
		{"ada", "SHARED", "ada's"},
		{"ada", "SET", "by ada"},
		{"ada", "OTHER", "not asked for"},
	} {
		if err := b.SetVariable(t.Context(), b.admin, v[0], v[1], v[2]); err != nil {
			t.Fatal(err)
		}
	}
	job, run := b.submitApp(t, b.ada, appRequest("app"))
	want := []berth.Setting{{Key: "LICENSE", Value: "the payer's"}, {Key: "SHARED", Value: "ada's"}, {Key: "SET", Value: "by the application"}}
	if diff := cmp.Diff(want, run.Variables); diff != "" {
		t.Error(diff)
	}
	if row := asJSON(t, job); strings.Contains(row, "the payer's") || strings.Contains(row, "ada's") {
		t.Errorf("the job shows the variables: %s", row)
	}
	_, err = b.SubmitApplication(t.Context(), b.bob, appRequest("app"))
	wantError(t, err, berth.Invalid, "Missing or Malformed API Syntax: user: ")
}

// TestPayersVariables: an application sees those of somebody else only when an administrator or the payer answers for it.
func TestPayersVariables(t *testing.T) {
	b := newBench(t)
	definition := appDef(`,"variables":{"LICENSE":{"name":"l","description":"","userowned":true,"inherit":true}}`, "", "")
	if err := b.SetVariable(t.Context(), b.paul, "paul", "LICENSE", "the payer's"); err != nil {
		t.Fatal(err)
	}
	shared := func(r *ApplicationRequest) { r.Team = "red" }
	b.addApp(t, b.ada, "of-the-user", definition)
	b.addApp(t, b.tess, "of-the-team", definition, shared)
	b.addApp(t, b.paul, "of-the-payer", definition, shared)
	b.addApp(t, b.admin, "of-root", definition, shared)
	b.addApp(t, b.tess, "certified", definition, shared)
	if _, err := b.ChangeApplication(t.Context(), b.admin, "certified", ApplicationChange{Certified: new(true)}); err != nil {
		t.Fatal(err)
	}
	for id, sees := range map[string]bool{
		"of-the-user": false, "of-the-team": false, "of-the-payer": true, "of-root": true, "certified": true,
	} {
		if _, run := b.submitApp(t, b.ada, appRequest(id)); (len(run.Variables) == 1) != sees {
			t.Errorf("%s: variables %v, want some: %t", id, run.Variables, sees)
		}
	}
}

// TestFilesThatNoJobMayHave are refused when the application is added, and when one that is there already is submitted.
func TestFilesThatNoJobMayHave(t *testing.T) {
	b := newBench(t)
	bad := strings.Replace(appDef("", `,"cmdscript":"#!/bin/sh"`, ""), "/bin/run", "/etc/passwd", 1)
	_, err := b.AddApplication(t.Context(), b.ada, ApplicationRequest{ID: "bad", Image: "local/x", AppDef: []byte(bad)})
	wantError(t, err, berth.Invalid, `Invalid AppDef: commands.Run.path: "/etc/passwd" for the cmdscript: no job may have it at /etc/passwd`)

	app := b.addApp(t, b.ada, "old", simpleAppDef)
	app.ID, app.AppDef = "older", bad
	if err := b.store.CreateApplication(t.Context(), app, 0, berth.Act{Kind: berth.ActAppAdded, By: "ada"}); err != nil {
		t.Fatal(err)
	}
	_, err = b.SubmitApplication(t.Context(), b.ada, appRequest("older"))
	wantError(t, err, berth.Invalid, `Missing or Malformed API Syntax: application.command: its file "/etc/passwd": no job may have it at /etc/passwd`)
}

// noVariables is a store whose variables cannot be read.
type noVariables struct{ Store }

func (noVariables) Variables(context.Context, string) (map[string]string, error) {
	return nil, errors.New("broken")
}

func TestVariablesUnreadable(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Store = noVariables{c.Store} })
	b.addApp(t, b.ada, "app", appDef(`,"variables":{"A":{"name":"a","description":"","userowned":true,"inherit":true}}`, "", ""))
	_, err := b.SubmitApplication(t.Context(), b.ada, appRequest("app"))
	wantError(t, err, berth.Unsupported, "Failed to access user meta table")
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
