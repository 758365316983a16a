package control

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
)

// callingAppDef has its command call the server.
var callingAppDef = appDef("", "", constant("-url", "%APIURL%", "required")+","+constant("-user", "%APIUSER%", "required")+","+
	constant("KEY", "%APIKEY%", "variable"))

// TestTokenOfAJob: it acts for its user as any other user, and is refused from the job's end on.
func TestTokenOfAJob(t *testing.T) {
	b := newBench(t, func(c *Config) { c.APIURL = "http://192.0.2.1/" })
	b.addApp(t, b.admin, "app", callingAppDef)
	job, run := b.submitApp(t, b.admin, appRequest("app"))
	if want := `/bin/run -url http://192.0.2.1/ -user root`; strings.ReplaceAll(run.Shell, `"`, "") != want || run.Token == "" {
		t.Errorf("command %s, want %s; token %q", run.Shell, want, run.Token)
	}
	if diff := cmp.Diff([]berth.Setting{{Key: "KEY", Value: run.Token}}, run.Variables); diff != "" {
		t.Error(diff)
	}
	caller, err := b.Authenticate(t.Context(), "root", run.Token, "192.0.2.9")
	want := berth.Caller{
		User: berth.User{Name: "root", Billing: true}, KeyID: caller.KeyID, Job: job.Number, From: "192.0.2.9",
	}
	if diff := cmp.Diff(want, caller); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if _, err := b.Job(t.Context(), caller, JobRef{Number: job.Number}); err != nil {
		t.Error("the token does not see its job:", err)
	}
	others := b.submit(t)
	_, err = b.Job(t.Context(), caller, JobRef{Number: others.Number})
	wantError(t, err, berth.NotFound, "Not found")
	next, _ := b.submitApp(t, caller, appRequest("app"))
	if err := b.Terminate(t.Context(), caller, JobRef{Number: next.Number}); err != nil {
		t.Error("the token does not end a job of its user:", err)
	}
	stream := b.stream(t, caller, EventsFilter{After: -1})
	b.apply(t, job.Number, berth.EventTerminateRequested)
	_, err = stream.Next(t.Context())
	wantError(t, err, berth.Unavailable, "The account was changed or the key has ended")
	_, err = b.Authenticate(t.Context(), "root", run.Token, "192.0.2.9")
	wantError(t, err, berth.Unauthenticated, "Unauthorized")
}

// TestTokenOfAPayer: who leads a team does not by a token.
func TestTokenOfAPayer(t *testing.T) {
	b := newBench(t)
	for name, caller := range map[string]berth.Caller{"payer": b.paul, "team's administrator": b.tess} {
		b.addApp(t, caller, "of-"+caller.User.Name, callingAppDef)
		job, run := b.submitApp(t, caller, appRequest("of-"+caller.User.Name))
		token, err := b.Authenticate(t.Context(), "", run.Token, "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.Job(t.Context(), token, JobRef{Number: b.submit(t).Number})
		wantError(t, err, berth.NotFound, "Not found")
		next, _ := b.submitApp(t, token, appRequest("of-"+caller.User.Name))
		if next.Payer != job.Payer || next.Team != job.Team {
			t.Errorf("%s: the next job is paid by %s of %s, want %s of %s", name, next.Payer, next.Team, job.Payer, job.Team)
		}
	}
}

// TestWhoGetsAToken: jobs of certified applications and of the submitter's own, when they ask for one.
func TestWhoGetsAToken(t *testing.T) {
	b := newBench(t)
	public := func(r *ApplicationRequest) { r.Public = true }
	certified := func(r *ApplicationRequest) { r.Public, r.Certified = true, true }
	b.addApp(t, b.admin, "plain", callingAppDef, public)
	b.addApp(t, b.admin, "certified", callingAppDef, certified)
	b.addApp(t, b.admin, "modest", simpleAppDef, certified)
	b.addApp(t, b.ada, "own", callingAppDef)
	for app, want := range map[string]bool{"plain": false, "certified": true, "modest": false, "own": true} {
		job, run := b.submitApp(t, b.ada, appRequest(app))
		if got := run.Token != ""; got != want {
			t.Errorf("%s: token %q", app, run.Token)
		}
		if want && strings.Contains(asJSON(t, job), run.Token) {
			t.Errorf("%s: the job shows its token", app)
		}
	}
}
