package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sync/semaphore"

	"github.com/berth-hpc/berth"
)

// FuzzDecodeSubmission checks that any body is refused with a readable text, or becomes a submission that is safe to keep and that
// the same decoder takes again.
func FuzzDecodeSubmission(f *testing.F) {
	for _, seed := range []string{
		validBatch, "", "{}", "null", "[]", `{"container":null,"machine":{"type":null,"nodes":"1"}}`,
		`{"machine":{"type":"n0","nodes":1e30},"application":{"walltime":"1:02:03","geometry":"1,920x1,080"}}`,
		`{"identity":{"uid":0,"gid":"505","username":"a"},"machine":{"type":"\u0000"},"vault":{"objects":[1]}}`,
		`{"machine":{"type":"\ud800"},"job_priority":-1,"user":{"username":"\\","apikey":"x"}}`, "{\"a\":\"\xff\"}",
		validApplication, validScript, `{"app":"a","application":{"parameters":{"":1,"a":1e999,"\ud800":null}},"machine":{"type":"n"}}`,
		`{"hpc":{"hpc_envs":{"A=B":1,"C":null,"D":true},"hpc_resources":[],"hpc_umask":"18"},"container":{}}`,
		`{"hpc":{},"app":"\u2028","application":{"command":null,"parameters":{"x":"\u2028\ud800<","y":-0}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		sub, err := decodeSubmission(body)
		if err != nil {
			if berth.KindOf(err) != berth.Invalid || !strings.HasPrefix(err.Error(), submissionTexts.unreadable+": ") {
				t.Fatalf("error %v", err)
			}
			return
		}
		checkAccepted(t, sub)
		if sub.runsApplication() {
			sub.asApplication()
		} else {
			sub.asBatch()
		}
		sub.genSSHKey = false // what becomes of it is shown, and only to who asked
		checkShownAgain(t, sub)
	})
}

// checkAccepted holds a submission to what the rest of the server counts on.
func checkAccepted(t *testing.T, sub submission) {
	t.Helper()
	if sub.Machine.Type == "" && sub.HPC == nil || sub.Machine.Nodes != 1 || sub.Walltime < 0 {
		t.Fatalf("accepted %+v", sub)
	}
	for _, text := range []string{sub.Label, sub.Project, sub.Container.Image, sub.Machine.Type, sub.Vault.Name, sub.Geometry} {
		if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			t.Fatalf("accepted the text %q", text)
		}
	}
	for key, value := range sub.Parameters {
		if key == "" || len(key) > maxWord || !json.Valid(value) || !slices.Contains([]jsonKind{kindText, kindNumber, kindBool}, kindOf(value)) {
			t.Fatalf("accepted the parameter %q: %s", key, value)
		}
	}
	if hpc := sub.HPC; hpc != nil && (hpc.Umask < 0 || hpc.Umask > 0o777 || sub.Command == "" || hpc.Queue != "" && sub.Queue != hpc.Queue) {
		t.Fatalf("accepted %+v with %+v", sub, hpc)
	}
	if id := sub.Identity; id != nil && (id.UID <= 0 || id.GID <= 0 || id.Username == "root" || id.Username == "") {
		t.Fatalf("accepted the identity %+v", id)
	}
}

// checkShownAgain checks that what a listing shows is the same submission.
func checkShownAgain(t *testing.T, sub submission) {
	t.Helper()
	shown, err := json.Marshal(newWireSubmission(berth.Job{Submission: sub.Submission}))
	if err != nil {
		t.Fatal(err)
	}
	again, err := decodeSubmission(shown)
	if err != nil {
		t.Fatalf("%s is shown and refused: %v", shown, err)
	}
	// Not shown, on purpose: the secret, and what no stored job has.
	again.NoSubmit, again.pullSecret = sub.NoSubmit, sub.pullSecret
	first, err1 := sub.hash()
	second, err2 := again.hash()
	if first != second || err1 != nil || err2 != nil {
		t.Fatalf("%+v is shown as %s", sub, shown)
	}
}

// FuzzParameters checks that any query and body give readable text or an error, and never a panic.
func FuzzParameters(f *testing.F) {
	for _, seed := range [][2]string{
		{"username=a&apikey=b", ""},
		{"", "number=1;2&lines=%zz"},
		{"a=%00", `{"number":1e30,"name":{"a":1}}`},
		{"=&&=", "[]"},
		{"name=%ff", `{"name":"\u0000","name":null}`},
		{"number=+1", " {"},
		{"", "\xff"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, query, body string) {
		r := httptest.NewRequest(http.MethodPost, "/jarvice/status", strings.NewReader(body))
		r.URL.RawQuery = query
		s := &server{
			cfg: Config{Patience: time.Second}, ordinary: newGate("requests", 1), bodies: semaphore.NewWeighted(maxParameters),
		}
		c := &call{server: s, w: &responseWriter{ResponseWriter: httptest.NewRecorder()}, r: r, route: &route{texts: commonTexts}}
		defer c.leave()
		p, err := c.parameters()
		if err != nil {
			if kind := berth.KindOf(err); kind != berth.Invalid && kind != berth.TooLarge {
				t.Fatalf("error %v", err)
			}
			return
		}
		for _, name := range parameterNames() {
			if text := p.text(name); !utf8.ValidString(text) || strings.Contains(text, "\x00") {
				t.Fatalf("%s is %q", name, text)
			}
		}
		if n, err := p.integer("number", 0); err == nil && n < 0 {
			t.Fatalf("number is %d", n)
		}
		_ = p.flag("completed")
		_, _ = p.patience()
		_, _ = p.signed("signal", 20)
		checkPositions(t, &p, query)
	})
}

// checkPositions holds what a stream and a page of the audit log are asked for to what control counts on.
func checkPositions(t *testing.T, p *params, lastEventID string) {
	t.Helper()
	if filter, err := eventsFilter(p, lastEventID); err == nil && (filter.Number < 0 || filter.After < fromNow) {
		t.Fatalf("stream %+v", filter)
	}
	if filter, err := auditFilter(p); err == nil && (filter.Number < 0 || filter.Before < 0 || filter.Limit < 1 || filter.Limit > maxAudit) {
		t.Fatalf("page %+v", filter)
	}
}

// FuzzOwnBodies checks that any body of our own API is refused with a readable text, or holds what control counts on.
func FuzzOwnBodies(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "[]", `{"name":"eve","email":null,"key":{"expires_in":"720h"}}`, `{"cores":"64","ram_mb":1,"price":1e3,"scale_max":0}`,
		`{"image":"x","appdef":{"a":[1]},"value":"\u0000","size":"3"}`, `{"appdef":[],"price":null,"image":5}`,
		`{"label":"\u0000","expires":"2030-01-01T00:00:00Z"}`, `{"key":{"expires":"9999-12-31T23:59:59-01:00","x":{}}}`, `{"a":"\ud800"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if err := decodeEverything(t, body); err != nil {
			public, ok := errors.AsType[*berth.Error](err)
			if !ok || public.Kind != berth.Invalid || !utf8.ValidString(public.Public()) {
				t.Fatalf("error %v", err)
			}
		}
	})
}

// decodeEverything decodes a body as all that our own API takes, and checks what was accepted.
func decodeEverything(t *testing.T, body []byte) error {
	t.Helper()
	d, m, err := decodeMembers(body, []string{
		"name", "email", "admin", "key", "cores", "ram_mb", "price", "scale_max", "label", "expires", "expires_in", "image", "appdef", "value", "size",
	})
	if err != nil {
		return err
	}
	key := d.key("", m, submittedAt())
	inner := d.key("key.", d.inner("key", m["key"], keyMembers()...), submittedAt())
	machine := d.machineType(m)
	_, _ = d.optionalWord("email", m["email"]), d.optionalFlag("admin", m["admin"])
	price, def := d.optionalAmount("price", m["price"]), d.json("appdef", m["appdef"])
	_, value := d.image("image", m["image"]), d.anyText("value", m["value"])
	if err := d.err(); err != nil {
		return err
	}
	for _, at := range []time.Time{key.Expires, inner.Expires} {
		if _, err := at.MarshalJSON(); err != nil || !at.IsZero() && !at.After(submittedAt()) {
			t.Fatalf("expires %v: %v", at, err)
		}
	}
	if strings.Contains(value, "\x00") || def != nil && (def[0] != '{' || !json.Valid(def)) || price != nil && !(*price >= 0) {
		t.Fatalf("application %q, %s", value, def)
	}
	if machine.Cores < 1 || machine.RAM < 1 || machine.ScaleMax < 1 || !(machine.Price >= 0) {
		t.Fatalf("machine %+v", machine)
	}
	return nil
}
