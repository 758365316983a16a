package httpapi

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/berth-hpc/berth"
)

const (
	otherName = "20200101000000-AAAAA-jarvice-batch-ada_s1"
	running   = "Running job is not found"
	finished  = "Finished job is not found"
)

// refusal is a request and the documented answer to it. A text that ends in a blank is the beginning of one.
type refusal struct {
	p      map[string]string
	status int
	text   string
}

// commonRefusals are those of every operation on a job, in the order of the checks: each request has also what later checks refuse.
// The required parameters are set, unless a check is about them.
func commonRefusals(notFound string, required ...string) map[string]refusal {
	set := func(pairs ...string) map[string]string { return with(append(slices.Clone(required), pairs...)...) }
	without := func(names ...string) map[string]string {
		p := set()
		for _, name := range names {
			delete(p, name)
		}
		return p
	}
	return map[string]refusal{
		"number is no number": {map[string]string{"number": "12x"}, 400, `Bad Request: number: "12x" was sent, a whole number from 0 on is allowed`},
		"number is 10^30":     {set("number", "1"+strings.Repeat("0", 30)), 400, "Bad Request: number: "},
		"number is negative":  {set("number", "-1"), 400, "Bad Request: number: "},
		"nothing":             {nil, 400, "User required"},
		"no username":         {without("username"), 400, "User required"},
		"empty username":      {set("username", "", "apikey", ""), 400, "User required"},
		"no apikey":           {without("apikey"), 400, "Required parameter(s) missing"},
		"empty apikey":        {set("apikey", "", "number", number(goneJob)), 400, "Required parameter(s) missing"},
		"wrong key":           {set("apikey", "nope"), 401, "Unauthorized"},
		"wrong key of a job":  {set("apikey", "nope", "number", number(runningJob)), 401, "Unauthorized"},
		"unknown user":        {set("username", "eve"), 401, "Unauthorized"},
		"key of another":      {set("username", "bob"), 401, "Unauthorized"},
		"impossible user":     {set("username", "ada'--"), 401, "Unauthorized"},
		"no job":              {set(), 400, "No job specified"},
		"empty name":          {set("name", "", "number", ""), 400, "No job specified"},
		"different jobs":      {set("name", otherName, "number", number(runningJob)), 400, "Bad Request"},
		"unknown number":      {set("number", number(goneJob)), 404, notFound},
		"number 0":            {set("number", "0"), 404, notFound},
		"unknown name":        {set("name", otherName), 404, notFound},
		"name with a path":    {set("name", "../../etc/passwd"), 404, notFound},
		"job of another":      {set("username", "bob", "apikey", otherKey, "number", number(runningJob)), 404, notFound},
	}
}

// jobRefusals are those of every operation on a job.
func jobRefusals() map[string]map[string]refusal {
	job := func(n int, pairs ...string) map[string]string { return with(append(pairs, "number", number(n))...) }
	missing := with("number", number(goneJob), "apikey", "nope")
	return map[string]map[string]refusal{
		"status": commonRefusals("Not found"),
		"events": commonRefusals("Job not found"),
		"info": merged(commonRefusals("Job not found"), map[string]refusal{
			"queued": {job(queuedJob), 404, running}, "ended": {job(endedJob), 404, running},
		}),
		"connect": merged(commonRefusals("Job not found"), map[string]refusal{
			"queued": {job(queuedJob), 404, running}, "ended": {job(endedJob), 404, running},
			"read-only key": {job(runningJob, "apikey", readKey), 403, "This key may only read"},
		}),
		"metrics": merged(commonRefusals("Job not found"), map[string]refusal{
			"queued": {job(queuedJob), 404, running}, "ended": {job(endedJob), 404, running},
		}),
		"screenshot": merged(commonRefusals("Job not found"), map[string]refusal{
			"queued": {job(queuedJob), 404, running}, "ended": {job(endedJob), 404, running},
			"bad width":  {job(runningJob, "width", "wide", "apikey", "nope"), 400, `Bad Request: width: "wide" was sent, a whole number is allowed`},
			"bad height": {job(runningJob, "height", "1.5"), 400, "Bad Request: height: "},
		}),
		"action": merged(commonRefusals("Job not found", "action", "refresh"), map[string]refusal{
			"no action":      {missing, 400, "Required parameter(s) missing: action"},
			"empty action":   {job(runningJob, "action", ""), 400, "Required parameter(s) missing: action"},
			"queued":         {job(queuedJob, "action", "refresh"), 404, running},
			"ended":          {job(endedJob, "action", "refresh"), 404, running},
			"unknown action": {job(runningJob, "action", "rm -rf"), 400, "Invalid parameter(s): action: "},
			"read-only key":  {job(runningJob, "action", "refresh", "apikey", readKey), 403, "This key may only read"},
		}),
		"signal": merged(commonRefusals("Not found"), map[string]refusal{
			"no number":     {job(runningJob, "signal", "SIGTERM"), 400, `Bad Request: signal: "SIGTERM" was sent, a whole number is allowed`},
			"fraction":      {map[string]string{"signal": "1.5"}, 400, "Bad Request: signal: "},
			"0":             {job(runningJob, "signal", "0"), 400, "Invalid parameter(s): signal: "},
			"65":            {job(goneJob, "signal", "65"), 400, "Invalid parameter(s): signal: "},
			"negative":      {job(runningJob, "signal", "-9"), 400, "Invalid parameter(s): signal: "},
			"10^30":         {job(runningJob, "signal", "1"+strings.Repeat("0", 30)), 400, "Invalid parameter(s): signal: "},
			"queued":        {job(queuedJob), 404, running},
			"ended":         {job(endedJob, "signal", "9"), 404, running},
			"read-only key": {job(runningJob, "apikey", readKey), 403, "This key may only read"},
		}),
		"shutdown": merged(commonRefusals("Not found"), map[string]refusal{
			"ended": {job(endedJob), 404, running}, "read-only key": {job(runningJob, "apikey", readKey), 403, "This key may only read"},
		}),
		"terminate": merged(commonRefusals("Not found"), map[string]refusal{
			"ended": {job(endedJob), 404, running}, "read-only key": {job(queuedJob, "apikey", readKey), 403, "This key may only read"},
		}),
		"tail": merged(commonRefusals("Not found"), map[string]refusal{
			"queued": {job(queuedJob), 404, running}, "ended": {job(endedJob), 404, running},
			"all of ended": {job(endedJob, "lines", "0"), 404, running},
			"bad lines":    {job(runningJob, "lines", "many"), 400, "Bad Request: lines: "},
		}),
		"output": merged(commonRefusals("Not found"), map[string]refusal{
			"queued": {job(queuedJob), 404, finished}, "running": {job(runningJob), 404, finished},
			"all of running": {job(runningJob, "lines", "0"), 404, finished},
			"lines<0":        {job(endedJob, "lines", "-1"), 400, "Bad Request: lines: "},
		}),
	}
}

// TestJobRefusals checks every documented refusal of every operation on a job, in every way to send parameters.
func TestJobRefusals(t *testing.T) {
	for operation, refusals := range jobRefusals() {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			a := newTestAPI(t)
			for name, want := range refusals {
				sent := 0
				for way, send := range ways() {
					path := prefixes()[sent%len(prefixes())] + operation
					sent++
					got := send(a, path, want.p)
					if text := got.errorText(t); got.status != want.status || !matches(text, want.text) {
						t.Errorf("%s, %s, %s: status %d: %s; want %d: %s", path, name, way, got.status, text, want.status, want.text)
					}
				}
			}
		})
	}
}

// TestListingRefusals checks those of the operations that concern no single job.
func TestListingRefusals(t *testing.T) {
	a := newTestAPI(t)
	common := commonRefusals("")
	maps.DeleteFunc(common, func(name string, r refusal) bool {
		return r.status == 404 || slices.Contains([]string{"no job", "empty name", "different jobs"}, name) || strings.HasPrefix(name, "number")
	})
	for _, operation := range []string{"jobs", "teamjobs", "teamusers", "machines", "queues", "audit"} {
		for name, want := range common {
			for way, send := range ways() {
				got := send(a, "/jarvice/"+operation, want.p)
				if text := got.errorText(t); got.status != want.status || !matches(text, want.text) {
					t.Errorf("%s, %s, %s: status %d: %s", operation, name, way, got.status, text)
				}
			}
		}
	}
}

// TestUnreadableBodies checks bodies that are neither JSON nor a form, for every operation that takes parameters.
func TestUnreadableBodies(t *testing.T) {
	a := newTestAPI(t)
	for operation := range jobRefusals() {
		for body, want := range map[string]string{
			`{"number":8`: "Bad Request: body: is not JSON: ", `[]`: "Bad Request: body: ", "number=%zz": "Bad Request: body: ",
			"{\"number\":\"\xff\"}": "Bad Request: body: is not valid UTF-8", `{"number":{}}`: "Bad Request: number: ",
		} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				got := a.send(method, "/jarvice/"+operation, "application/json", body)
				if text := got.errorText(t); got.status != 400 || !matches(text, want) {
					t.Errorf("%s %s of %q: status %d: %s", method, operation, body, got.status, text)
				}
			}
		}
	}
}

// TestJobFailures injects what can go wrong inside, and counts that nothing but the public text is told.
func TestJobFailures(t *testing.T) {
	secret := errors.New("secret cause")
	unavailable := func(text string) error { return &berth.Error{Kind: berth.Unavailable, Msg: text, Err: secret} }
	tests := map[string]struct {
		operation, fails string
		err              error
		status           int
		text             string
	}{
		"status":            {"status", "Job", secret, 500, "Internal error"},
		"jobs":              {"jobs", "Jobs", secret, 500, "Internal error"},
		"teamjobs":          {"teamjobs", "Jobs", secret, 500, "Internal error"},
		"teamusers":         {"teamusers", "TeamUsers", secret, 500, "Internal error"},
		"machines":          {"machines", "Machines", fmt.Errorf("wrapped: %w", secret), 500, "Internal error"},
		"not ready":         {"ready", "Ready", unavailable("The engine does not answer"), 503, "The engine does not answer"},
		"events":            {"events", "Explain", secret, 500, "Internal error"},
		"audit":             {"audit", "Audit", secret, 500, "Internal error"},
		"shutdown":          {"shutdown", "Shutdown", secret, 500, "Internal error"},
		"shutdown, store":   {"shutdown", "Shutdown", unavailable("Try again"), 503, "Try again"},
		"terminate":         {"terminate", "Terminate", &berth.Error{Kind: berth.Conflict, Msg: "Changed", Err: secret}, 409, "Changed"},
		"signal":            {"signal", "Signal", unavailable("Signal not delivered"), 503, "Signal not delivered"},
		"action":            {"action", "Action", unavailable("Action not started"), 503, "Action not started"},
		"info":              {"info", "Info", unavailable("The job does not answer"), 503, "The job does not answer"},
		"connect":           {"connect", "Connect", unavailable("The job does not answer"), 503, "The job does not answer"},
		"apps":              {"apps", "Applications", unavailable("The database does not answer"), 503, "The database does not answer"},
		"queues":            {"queues", "Queues", secret, 500, "Internal error"},
		"metrics":           {"metrics", "Metrics", berth.Errorf(berth.NotFound, "Metrics are not available yet"), 404, "Metrics are not available yet"},
		"user lookup fails": {"signal", "Authenticate", &berth.Error{Kind: berth.Internal, Msg: "Unable to get user", Err: secret}, 500, "Unable to get user"},
		"many logins":       {"info", "Authenticate", berth.Errorf(berth.LimitReached, "Too many failed logins"), 429, "Too many failed logins"},
	}
	for name, tt := range tests {
		a := newTestAPI(t)
		a.fail[tt.fails] = tt.err
		for way, send := range ways() {
			got := send(a, "/jarvice/"+tt.operation, with("number", number(runningJob), "action", "refresh"))
			if text := got.errorText(t); got.status != tt.status || text != tt.text {
				t.Errorf("%s, %s: status %d: %s", name, way, got.status, text)
			}
			if retry := got.header.Get("Retry-After"); (retry == "1") != (tt.status == 503) {
				t.Errorf("%s: status %d with Retry-After %q", name, tt.status, retry)
			}
		}
		if logged := strings.Contains(a.log.String(), secret.Error()); logged != (tt.status >= 500) {
			t.Errorf("%s: status %d, cause logged: %t", name, tt.status, logged)
		}
	}
}
