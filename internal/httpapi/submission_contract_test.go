package httpapi

import (
	"errors"
	"net/http"
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
		"job of a queue":       {batchWith(t, "hpc", map[string]any{}), "", nil, 404, "Application Not Found: "},
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

// TestSubmissionContract checks every documented refusal of both submissions, under every label and path.
func TestSubmissionContract(t *testing.T) {
	for name, tt := range submissionRefusals(t) {
		a := newTestAPI(t)
		if tt.fails != "" {
			a.fail[tt.fails] = tt.err
		}
		for _, prefix := range prefixes() {
			for _, operation := range []string{"submit", "batch"} {
				for _, label := range []string{contentJSON, form, ""} {
					got := a.send(http.MethodPost, prefix+operation, label, tt.body)
					if text := got.errorText(t); got.status != tt.status || !matches(text, tt.text) {
						t.Errorf("%s%s as %q, %s: status %d: %s", prefix, operation, label, name, got.status, text)
					}
				}
			}
		}
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
