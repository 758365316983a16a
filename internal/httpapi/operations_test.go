package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
)

func TestJobOperations(t *testing.T) {
	const json, text = "application/json", "text/plain"
	tests := map[string]struct {
		operation   string
		p           map[string]string
		contentType string
		body        string
	}{
		"shutdown of a running job": {"shutdown", with("number", number(runningJob)), json, `{"status":"shutdown requested"}`},
		"shutdown of a queued job":  {"shutdown", with("number", number(queuedJob)), json, `{"status":"shutdown requested"}`},
		"terminate":                 {"terminate", with("number", number(queuedJob), "name", ""), json, `{"status":"terminated"}`},
		"tail":                      {"tail", with("number", number(runningJob)), text, "a\nb\nc\n"},
		"tail of 2":                 {"tail", with("number", number(runningJob), "lines", "2"), text, "b\nc\n"},
		"tail of all":               {"tail", with("number", number(runningJob), "lines", "0"), text, "a\nb\nc\n"},
		"output":                    {"output", with("number", number(endedJob)), text, "x\ny\uFFFD\nz\n"},
		"output of all":             {"output", with("number", number(endedJob), "lines", "0"), text, "x\ny\uFFFD\nz\n"},
		"output of 1":               {"output", with("number", number(endedJob), "lines", "1"), text, "z\n"},
		"no such machine type":      {"machines", with("name", "n9"), json, `{}`},
		"no such label":             {"jobs", with("completed", "TRUE", "label", "zz"), json, ""},
		"live":                      {"live", nil, json, `{"status":"OK"}`},
		"ready":                     {"ready", nil, json, `{"status":"OK","version":"1.2.3"}`},
	}
	a := newTestAPI(t)
	for name, tt := range tests {
		for way, send := range ways() {
			got := send(a, "/jarvice/"+tt.operation, tt.p)
			if got.status != http.StatusOK || tt.body != "" && got.body != tt.body {
				t.Errorf("%s, %s: status %d: %s", name, way, got.status, got.body)
			}
			if types := got.header.Values("Content-Type"); !slices.Equal(types, []string{tt.contentType}) {
				t.Errorf("%s, %s: Content-Type %q", name, way, types)
			}
		}
	}
}

func TestLinesDefault(t *testing.T) {
	a := newTestAPI(t)
	a.get("/jarvice/tail?username=ada&apikey=adaskey1&number=8&lines=")
	if a.lines != 100 {
		t.Errorf("control was asked for %d lines", a.lines)
	}
}

func TestBearerKey(t *testing.T) {
	for header, status := range map[string]int{
		"Bearer adaskey1": 200, "bearer adaskey1 ": 200, "Bearer nope": 401, "Bearer ": 400, "Bearer": 400, "Basic adaskey1": 400, "": 400,
	} {
		a := newTestAPI(t)
		req := a.request(http.MethodGet, "/jarvice/jobs", nil)
		req.Header.Set("Authorization", header)
		if got := a.do(req); got.status != status {
			t.Errorf("%q: status %d: %s", header, got.status, got.body)
		}
	}
}

// TestParameterForms checks what only one way of sending parameters can hold.
func TestParameterForms(t *testing.T) {
	const user = "username=ada&apikey=adaskey1&"
	tests := map[string]struct {
		query, body string
		status      int
		text        string // of an error
	}{
		"number of JSON":             {"", `{"username":"ada","apikey":"adaskey1","number":8,"name":null,"x":{"y":[]}}`, 200, ""},
		"JSON behind blanks":         {user, "\r\n\t {\"number\":8}", 200, ""},
		"last of two":                {"", `{"username":"ada","apikey":"adaskey1","number":1,"number":8}`, 200, ""},
		"body before query":          {user + "number=1", "number=8", 200, ""},
		"empty body member":          {user + "number=8", "number=&name=", 200, ""},
		"blanks only":                {user + "number=8", " \n", 200, ""},
		"semicolon":                  {user + "number=8", "x=a;b&y;z", 200, ""},
		"semicolon in the query":     {user + "x=a;b&number=8", "", 200, ""},
		"unknown parameter with NUL": {user + "x=%00&number=8", "", 200, ""},
		"unknown, not UTF-8":         {user + "x=%ff&number=8", "", 200, ""},
		"boolean":                    {user, `{"number":true}`, 400, "Bad Request: number: "},
		"fraction":                   {user, `{"number":8.5}`, 400, "Bad Request: number: "},
		"exponent":                   {user, `{"number":1e30}`, 400, "Bad Request: number: "},
		"object":                     {user, `{"number":{}}`, 400, "Bad Request: number: "},
		"list":                       {user, `{"name":["a"]}`, 400, "Bad Request: name: "},
		"broken JSON":                {user, `{"number":8`, 400, "Bad Request: body: is not JSON: "},
		"two objects":                {user, `{"number":8}{}`, 400, "Bad Request: body: is not JSON: "},
		"list as body":               {user, `[]`, 400, "Bad Request: body: "},
		"text as body":               {user, `"x"`, 400, "Bad Request: body: "},
		"not UTF-8":                  {user, "{\"number\":\"\xff\"}", 400, "Bad Request: body: is not valid UTF-8"},
		"not UTF-8 in a form":        {user, "name=%ff", 400, "Bad Request: name: "},
		"NUL":                        {user, "name=%00", 400, "Bad Request: name: "},
		"NUL in JSON":                {user, `{"name":"\u0000"}`, 400, "Bad Request: name: "},
		"bad escape":                 {user, "name=%zz", 400, "Bad Request: body: "},
		"bad escape in the query":    {user + "name=%z", "", 400, "Bad Request: query: "},
		"deep nesting":               {user, `{"x":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + "}", 400, "Bad Request: body: "},
		"too large":                  {user, "x=" + strings.Repeat("y", maxParameters), 413, "Request too large: "},
	}
	a := newTestAPI(t)
	for name, tt := range tests {
		got := a.send(http.MethodPost, "/jarvice/status?"+tt.query, "text/html", tt.body)
		if got.status != tt.status {
			t.Errorf("%s: status %d: %.200s", name, got.status, got.body)
		} else if tt.text != "" && !matches(got.errorText(t), tt.text) {
			t.Errorf("%s: %s", name, got.errorText(t))
		}
	}
}

func TestJobsFilter(t *testing.T) {
	a := newTestAPI(t)
	for query, want := range map[string]string{
		"":                                   `[7 8] {Ended:false All:false Label: LabelExact:false Team:false}`,
		"&completed=True":                    `[9] {Ended:true All:false Label: LabelExact:false Team:false}`,
		"&completed=1&all=yes":               `[7 8 9] {Ended:true All:true Label: LabelExact:false Team:false}`,
		"&completed=on&all=no":               `[7 8] {Ended:false All:false Label: LabelExact:false Team:false}`,
		"&label=a+b%20c&exactmatch=true":     `[7 8] {Ended:false All:false Label:a b c LabelExact:true Team:false}`,
		"&completed=&all=False&exactmatch=0": `[7 8] {Ended:false All:false Label: LabelExact:false Team:false}`,
	} {
		got := a.get("/jarvice/jobs?username=ada&apikey=adaskey1" + query)
		var entries map[int]any // as a Go client decodes it
		if err := json.Unmarshal([]byte(got.body), &entries); err != nil {
			t.Fatal(err)
		}
		keys := slices.Sorted(maps.Keys(entries))
		if diff := cmp.Diff(want, fmt.Sprintf("%v %+v", keys, a.filter)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", query, diff)
		}
	}
	a.jobs = nil
	if got := a.get("/jarvice/jobs?username=ada&apikey=adaskey1"); got.body != "{}" {
		t.Errorf("no jobs: %s", got.body)
	}
}

// TestJobsOrder checks that the keys come in the order of the numbers and not of their texts.
func TestJobsOrder(t *testing.T) {
	a := newTestAPI(t)
	a.jobs[0].Number, a.jobs[1].Number = 99, 1000
	body := a.get("/jarvice/jobs?username=ada&apikey=adaskey1").body
	if i, j := strings.Index(body, `"99":`), strings.Index(body, `"1000":`); i != 1 || j < i {
		t.Errorf("99 is at %d, 1000 at %d", i, j)
	}
}

// TestAListingThatBreaksOff is refused when nothing of it is sent yet, and else no whole answer.
func TestAListingThatBreaksOff(t *testing.T) {
	a := newTestAPI(t)
	a.fail["Jobs"] = errors.New("the disk is broken")
	if got := a.get("/jarvice/jobs?username=ada&apikey=adaskey1"); got.status != http.StatusInternalServerError {
		t.Errorf("status %d: %s", got.status, got.body)
	}
	a.jobs = slices.Repeat(a.jobs, 1000)
	resp, err := http.DefaultClient.Do(a.request(http.MethodGet, "/jarvice/jobs?username=ada&apikey=adaskey1", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestPanicIsAnswered(t *testing.T) {
	a := newTestAPI(t)
	a.waiting = func(context.Context) { panic("boom") }
	got := a.get("/v1/jobs/8?wait=1s&username=ada&apikey=adaskey1")
	if text := got.errorText(t); got.status != http.StatusInternalServerError || text != "Internal error" {
		t.Errorf("status %d: %s", got.status, text)
	}
	if log := a.log.String(); !strings.Contains(log, "boom") || !strings.Contains(log, "v1jobs.go") {
		t.Errorf("the log says: %s", log)
	}
}

func TestSecretsStayOutOfTheLog(t *testing.T) {
	a := newTestAPI(t)
	a.get("/jarvice/jobs?apikey=adaskey1&username=ada&label=seen")
	a.get("/jarvice/jobs?x=1&APIKEY=adaskey1&username=ada&%61pikey=adaskey1&%zz=adaskey1")
	a.fail["Jobs"] = errors.New("broken")
	a.get("/jarvice/jobs?apikey=adaskey1&username=ada")
	a.send(http.MethodPost, "/jarvice/batch", "", strings.Replace(validBatch, "echo", "topsecret", 1))
	log := a.log.String()
	if strings.Contains(log, testKey) || strings.Contains(log, "topsecret") {
		t.Errorf("a secret is in the log: %s", log)
	}
	if !strings.Contains(log, "label=seen") {
		t.Errorf("the request is not in the log: %s", log)
	}
}

func TestMetricsByRoute(t *testing.T) {
	a := newTestAPI(t)
	a.get("/api//jarvice/live")
	a.get("/nowhere")
	a.send("BREW", "/jarvice/live", "", "")
	got := a.get("/metrics").body
	for _, line := range []string{
		`berth_http_requests_total{code="200",method="GET",route="/jarvice/live"} 1`,
		`berth_http_requests_total{code="404",method="GET",route="none"} 1`,
		`berth_http_requests_total{code="405",method="other",route="none"} 1`,
		`berth_http_request_seconds_count{route="/jarvice/live"} 1`,
	} {
		if !strings.Contains(got, line) {
			t.Errorf("/metrics has no line %s", line)
		}
	}
}

func TestCanceledRequestIsNoFailure(t *testing.T) {
	a := newTestAPI(t)
	ctx, cancel := context.WithCancel(t.Context())
	r := httptest.NewRequest(http.MethodGet, "/v1/jobs/8?wait=1s&"+asAda, nil).WithContext(ctx)
	a.waiting = func(context.Context) { cancel() }
	a.fail["Job"] = fmt.Errorf("query: %w", context.Canceled)
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable || strings.Contains(a.log.String(), "level=ERROR") {
		t.Errorf("status %d: %s; log: %s", w.Code, w.Body, a.log)
	}
}

// TestWhatIsLoggedAsAnError: bugs and broken parts are, and not what anybody can cause, also after the answer has begun.
func TestWhatIsLoggedAsAnError(t *testing.T) {
	for err, want := range map[error]string{
		errors.New("broken"): "level=ERROR",
		berth.Errorf(berth.Internal, "Unable to get user"): "level=ERROR",
		berth.Errorf(berth.Unavailable, "Not now"):         "level=WARN",
		berth.Errorf(berth.Unsupported, "Not here"):        "level=WARN",
		berth.Errorf(berth.NoSpace, "The vault is full"):   "level=WARN",
		berth.Errorf(berth.Invalid, "Not so"):              "",
	} {
		for _, progress := range [][]string{nil, {"3 of 9 MB"}} {
			a := newTestAPI(t)
			a.progress, a.fail["ImportImage"] = progress, err
			r := httptest.NewRequest(http.MethodPost, "/v1/images?name=local/x&"+asRoot, strings.NewReader("archive"))
			a.handler.ServeHTTP(httptest.NewRecorder(), r) // which the contract does not check: it has not all of them here
			var level string
			for line := range strings.Lines(a.log.String()) {
				if strings.Contains(line, `msg="request failed"`) {
					level = strings.Fields(line)[1]
				}
			}
			if level != want {
				t.Errorf("%v after %d sentences is logged as %q, want %q", err, len(progress), level, want)
			}
		}
	}
}
