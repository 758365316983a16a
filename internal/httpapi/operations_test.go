package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
)

// ways are the ways in which real clients send parameters.
func ways() map[string]func(a *testAPI, path string, p map[string]string) answer {
	query := func(p map[string]string) string {
		values := url.Values{}
		for name, value := range p {
			values.Set(name, value)
		}
		return values.Encode()
	}
	object := func(p map[string]string) string {
		text, err := json.Marshal(p)
		if err != nil {
			panic(err)
		}
		return string(text)
	}
	return map[string]func(a *testAPI, path string, p map[string]string) answer{
		"GET query": func(a *testAPI, path string, p map[string]string) answer {
			return a.get(path + "?" + query(p))
		},
		"POST query, empty body labelled JSON": func(a *testAPI, path string, p map[string]string) answer {
			return a.send(http.MethodPost, path+"?"+query(p), "application/json", "")
		},
		"POST form": func(a *testAPI, path string, p map[string]string) answer {
			return a.send(http.MethodPost, path, "application/x-www-form-urlencoded", query(p))
		},
		"POST form without label": func(a *testAPI, path string, p map[string]string) answer {
			return a.send(http.MethodPost, path, "", query(p))
		},
		"POST JSON": func(a *testAPI, path string, p map[string]string) answer {
			return a.send(http.MethodPost, path, "application/json", object(p))
		},
		"POST JSON labelled as a form": func(a *testAPI, path string, p map[string]string) answer {
			return a.send(http.MethodPost, path, "application/x-www-form-urlencoded", " \n"+object(p))
		},
		"GET JSON": func(a *testAPI, path string, p map[string]string) answer {
			return a.send(http.MethodGet, path, "application/json", object(p))
		},
	}
}

// with returns the credentials of the test user with further parameters, as name, value, name, value.
func with(pairs ...string) map[string]string {
	p := map[string]string{"username": testUser, "apikey": testKey}
	for i := 0; i < len(pairs); i += 2 {
		p[pairs[i]] = pairs[i+1]
	}
	return p
}

func number(n int) string { return strconv.Itoa(n) }

// TestJobOperationErrors checks every documented refusal, in the order of the checks, in every way to send parameters.
func TestJobOperationErrors(t *testing.T) {
	const otherName = "20200101000000-AAAAA-jarvice-batch-ada_s1"
	type want struct {
		p      map[string]string
		status int
		text   string
	}
	common := map[string]want{
		"number is no number": {map[string]string{"number": "12x"}, 400, `Bad Request: number: "12x" was sent, a whole number from 0 on is allowed`},
		"number is 10^30":     {with("number", "1"+strings.Repeat("0", 30)), 400, "Bad Request: number: "},
		"number is negative":  {with("number", "-1"), 400, "Bad Request: number: "},
		"nothing":             {nil, 400, "User required"},
		"no username":         {map[string]string{"apikey": testKey}, 400, "User required"},
		"empty username":      {map[string]string{"apikey": testKey, "username": ""}, 400, "User required"},
		"no apikey":           {map[string]string{"username": testUser}, 400, "Required parameter(s) missing"},
		"wrong key":           {with("apikey", "nope", "number", number(runningJob)), 401, "Unauthorized"},
		"wrong user":          {with("username", "bob"), 401, "Unauthorized"},
		"impossible user":     {with("username", "ada'--"), 401, "Unauthorized"},
		"no job":              {with(), 400, "No job specified"},
		"empty name":          {with("name", ""), 400, "No job specified"},
		"different jobs":      {with("name", otherName, "number", number(runningJob)), 400, "Bad Request"},
		"unknown number":      {with("number", number(goneJob)), 404, "Not found"},
		"number 0":            {with("number", "0"), 404, "Not found"},
		"unknown name":        {with("name", otherName), 404, "Not found"},
		"name with a path":    {with("name", "../../etc/passwd"), 404, "Not found"},
	}
	operations := map[string]map[string]want{
		"status":    {},
		"shutdown":  {"ended": {with("number", number(endedJob)), 404, "Running job is not found"}},
		"terminate": {"ended": {with("number", number(endedJob)), 404, "Running job is not found"}},
		"tail": {
			"queued":       {with("number", number(queuedJob)), 404, "Running job is not found"},
			"ended":        {with("number", number(endedJob)), 404, "Running job is not found"},
			"all of ended": {with("number", number(endedJob), "lines", "0"), 404, "Running job is not found"},
			"bad lines":    {with("number", number(runningJob), "lines", "many"), 400, "Bad Request: lines: "},
		},
		"output": {
			"running": {with("number", number(runningJob)), 404, "Finished job is not found"},
			"lines<0": {with("number", number(endedJob), "lines", "-1"), 400, "Bad Request: lines: "},
		},
	}
	a := newTestAPI(t)
	for operation, own := range operations {
		for name, want := range merged(common, own) {
			for way, send := range ways() {
				got := send(a, "/jarvice/"+operation, want.p)
				if text := got.errorText(t); got.status != want.status || !matches(text, want.text) {
					t.Errorf("%s, %s, %s: status %d: %s; want %d: %s", operation, name, way, got.status, text, want.status, want.text)
				}
			}
		}
	}
}

// matches says whether a text is the wanted one; a wanted one that ends in a blank is a beginning.
func matches(text, want string) bool {
	return text == want || strings.HasSuffix(want, " ") && strings.HasPrefix(text, want)
}

func merged[V any](a, b map[string]V) map[string]V {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

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
		"":                                   `[7 8] {Ended:false All:false Label: LabelExact:false Team:false After:0 Limit:0}`,
		"&completed=True":                    `[9] {Ended:true All:false Label: LabelExact:false Team:false After:0 Limit:0}`,
		"&completed=1&all=yes":               `[7 8 9] {Ended:true All:true Label: LabelExact:false Team:false After:0 Limit:0}`,
		"&completed=on&all=no":               `[7 8] {Ended:false All:false Label: LabelExact:false Team:false After:0 Limit:0}`,
		"&label=a+b%20c&exactmatch=true":     `[7 8] {Ended:false All:false Label:a b c LabelExact:true Team:false After:0 Limit:0}`,
		"&completed=&all=False&exactmatch=0": `[7 8] {Ended:false All:false Label: LabelExact:false Team:false After:0 Limit:0}`,
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
	a.jobs[0].Number, a.jobs[1].Number = 1000, 99
	body := a.get("/jarvice/jobs?username=ada&apikey=adaskey1").body
	if i, j := strings.Index(body, `"99":`), strings.Index(body, `"1000":`); i != 1 || j < i {
		t.Errorf("99 is at %d, 1000 at %d", i, j)
	}
}

func TestFailuresInside(t *testing.T) {
	secret := errors.New("secret cause")
	tests := map[string]struct {
		operation, path string
		err             error
		status          int
		text            string
	}{
		"store fails":       {"Job", "status?number=8&", secret, 500, "Internal error"},
		"user lookup fails": {"Authenticate", "status?number=8&", &berth.Error{Kind: berth.Internal, Msg: "Unable to get user", Err: secret}, 500, "Unable to get user"},
		"listing fails":     {"Jobs", "jobs?", fmt.Errorf("wrapped: %w", secret), 500, "Internal error"},
		"store is away":     {"Shutdown", "shutdown?number=8&", &berth.Error{Kind: berth.Unavailable, Msg: "Try again", Err: secret}, 503, "Try again"},
		"changed":           {"Terminate", "terminate?number=8&", &berth.Error{Kind: berth.Conflict, Msg: "Changed", Err: secret}, 409, "Changed"},
		"not ready":         {"Ready", "ready?", &berth.Error{Kind: berth.Unavailable, Msg: "The engine does not answer", Err: secret}, 503, "The engine does not answer"},
		"machines fail":     {"Machines", "machines?", secret, 500, "Internal error"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := newTestAPI(t)
			a.fail[tt.operation] = tt.err
			got := a.get("/jarvice/" + tt.path + "username=ada&apikey=adaskey1")
			if text := got.errorText(t); got.status != tt.status || text != tt.text {
				t.Errorf("status %d: %s", got.status, text)
			}
			if retry := got.header.Get("Retry-After"); (retry != "") != (tt.status == 503) {
				t.Errorf("status %d with Retry-After %q", tt.status, retry)
			}
			if logged := strings.Contains(a.log.String(), secret.Error()); logged != (tt.status >= 500) {
				t.Errorf("status %d, cause logged: %t", tt.status, logged)
			}
		})
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
