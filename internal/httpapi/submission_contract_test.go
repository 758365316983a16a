package httpapi

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/berth-hpc/berth"
)

// submissionRefusal is a documented answer to a submission: by its body, or by what control says.
type submissionRefusal struct {
	body   string
	fails  string
	err    error
	status int
	text   string
}

// submissionRefusals are the documented answers to submissions, in the order of their table. "Error reading bytes" is in
// TestBrokenBodies.
func submissionRefusals(t *testing.T) map[string]submissionRefusal {
	t.Helper()
	const malformed = "Missing or Malformed API Syntax"
	says := func(operation string, kind berth.Kind, text string) submissionRefusal {
		return submissionRefusal{validBatch, operation, &berth.Error{Kind: kind, Msg: text, Err: errors.New("secret")}, 0, text}
	}
	table := map[string]submissionRefusal{
		"not JSON":             {"x", "", nil, 400, malformed + ": "},
		"not an object":        {"[]", "", nil, 400, malformed + ": "},
		"wrong kind":           {batchWith(t, "job_label", 1), "", nil, 400, malformed + ": "},
		"no machine":           {batchWith(t, "machine", nil), "", nil, 400, malformed + ": "},
		"nodes out of range":   {batchWith(t, "machine.nodes", 0), "", nil, 400, malformed + ": "},
		"bad identity":         {batchWith(t, "identity.uid", 0), "", nil, 400, malformed + ": "},
		"no user":              {batchWith(t, "user", nil), "", nil, 400, malformed + ": "},
		"no image":             {batchWith(t, "container.image", ""), "", nil, 400, "Invalid container in request: "},
		"wrong key":            {batchWith(t, "user.apikey", "x"), "", nil, 401, "Not Authorized"},
		"key of another":       {batchWith(t, "user.username", "bob"), "", nil, 401, "Not Authorized"},
		"read-only key":        {batchWith(t, "user.apikey", readKey), "", nil, 403, "This key may only read"},
		"unknown machine type": says("Batch", berth.Invalid, malformed),
		"bad image reference":  says("Batch", berth.Invalid, "Invalid container in request"),
		"no such image":        says("Batch", berth.Invalid, "Container cannot create Application"),
		"no billing":           says("Batch", berth.Unauthenticated, "Account billing not active"),
		"idempotency":          says("Batch", berth.Conflict, "Idempotency-Key was used for another request"),
		"personal machine":     says("Batch", berth.LimitReached, "Only one active job allowed per VM"),
		"many failed logins":   says("Authenticate", berth.LimitReached, "Too many failed logins"),
		"account lookup fails": says("Authenticate", berth.Internal, "Unable to get user"),
		"job cannot be built":  says("Batch", berth.Internal, "Unable to create Job Object"),
		"job cannot be stored": says("Batch", berth.Internal, "Unable to create Job Submission"),
		"settings unreadable":  says("Batch", berth.Unsupported, "Failed to access user meta table"),
		"store is away":        says("Batch", berth.Unavailable, "The database does not answer"),
		"bug":                  {validBatch, "Batch", errors.New("secret"), 500, "Unable to create Job Object"},
	}
	for name, row := range table {
		if row.status == 0 {
			row.status = statusOf(berth.KindOf(row.err))
			table[name] = row
		}
	}
	return table
}

// applicationRefusals are those of applications and of scripts, which only /jarvice/submit takes.
func applicationRefusals(t *testing.T) map[string]submissionRefusal {
	t.Helper()
	const malformed = "Missing or Malformed API Syntax"
	app := func(pairs ...string) string { return change(t, validApplication, pairs...) }
	script := func(pairs ...string) string { return change(t, validScript, pairs...) }
	says := func(body string, kind berth.Kind, text string) submissionRefusal {
		return submissionRefusal{body, "SubmitApplication", &berth.Error{Kind: kind, Msg: text, Err: errors.New("secret")}, statusOf(kind), text}
	}
	return map[string]submissionRefusal{
		"nothing to run":          {batchWith(t, "container", nil), "", nil, 400, malformed + ": app: nothing was sent, an application or a container is required"},
		"no command":              {app(`"Run"`, "null"), "", nil, 400, malformed + ": application.command: "},
		"wrong kind of parameter": {app(`"-n":4`, `"-n":[]`), "", nil, 400, malformed + ": application.parameters.-n: "},
		"no machine":              {app(`"type":"n0"`, `"type":""`), "", nil, 400, malformed + ": machine.type: "},
		"no user":                 {app(`"username":"ada",`, ""), "", nil, 400, malformed + ": user.username: "},
		"no key":                  {script(`"apikey":"adaskey1"`, `"apikey":null`), "", nil, 400, malformed + ": user.apikey: "},
		"wrong key":               {app("adaskey1", "x"), "", nil, 401, "Not Authorized"},
		"read-only key":           {script("adaskey1", readKey), "", nil, 403, "This key may only read"},
		"unknown application":     {app("openfoam", "nope"), "", nil, 404, "Application Not Found"},
		"application of a team":   {app("openfoam", "my-app_1", "ada", "root", "adaskey1", "nope"), "", nil, 401, "Not Authorized"},
		"unknown command":         says(validApplication, berth.NotFound, "Application Not Found"),
		"bad parameter":           says(validApplication, berth.Invalid, malformed+": application.parameters.-n: nothing was sent, a value is required"),
		"unknown queue":           says(validScript, berth.NotFound, "Queue not found"),
		"bad script":              says(validScript, berth.Invalid, malformed+": hpc.hpc_job_script: is no base64"),
		"no such image":           says(validApplication, berth.Invalid, "Container cannot create Application"),
		"no billing":              says(validApplication, berth.Unauthenticated, "Account billing not active"),
		"idempotency":             says(validScript, berth.Conflict, "Idempotency-Key was used for another request"),
		"personal machine":        says(validApplication, berth.LimitReached, "Only one active job allowed per VM"),
		"job cannot be built":     says(validApplication, berth.Internal, "Unable to create Job Object"),
		"job cannot be stored":    says(validScript, berth.Internal, "Unable to create Job Submission"),
		"variables unreadable":    says(validApplication, berth.Unsupported, "Failed to access user meta table"),
		"store is away":           says(validApplication, berth.Unavailable, "The database does not answer"),
		"bug":                     {validScript, "SubmitApplication", errors.New("secret"), 500, "Unable to create Job Object"},
	}
}

// TestSubmissionContract checks every documented refusal of all submissions, under every label and path.
func TestSubmissionContract(t *testing.T) {
	for name, tt := range submissionRefusals(t) {
		testRefusal(t, name, tt, "submit", "batch")
	}
	for name, tt := range applicationRefusals(t) {
		testRefusal(t, name, tt, "submit")
	}
}

func testRefusal(t *testing.T, name string, want submissionRefusal, operations ...string) {
	t.Helper()
	a := newTestAPI(t)
	if want.fails != "" {
		a.fail[want.fails] = want.err
	}
	for _, prefix := range prefixes() {
		for _, operation := range operations {
			for _, label := range []string{contentJSON, form, ""} {
				got := a.send(http.MethodPost, prefix+operation, label, want.body)
				if text := got.errorText(t); got.status != want.status || !matches(text, want.text) {
					t.Errorf("%s%s as %q, %s: status %d: %s", prefix, operation, label, name, got.status, text)
				}
			}
		}
	}
	if strings.Contains(a.log.String(), "secret") != (want.status >= 500 && want.fails != "") {
		t.Errorf("%s: status %d, the log says: %s", name, want.status, a.log)
	}
}

// TestStatuses would fail for a kind of error whose status is another than the document's.
func TestStatuses(t *testing.T) {
	for kind, status := range map[berth.Kind]int{
		berth.Invalid: 400, berth.Unauthenticated: 401, berth.Forbidden: 403, berth.NotFound: 404, berth.Conflict: 409,
		berth.TooLarge: 413, berth.LimitReached: 429, berth.Internal: 500, berth.Unsupported: 501, berth.Unavailable: 503, "new": 500,
	} {
		if got := statusOf(kind); got != status {
			t.Errorf("%s is answered with %d", kind, got)
		}
	}
}
