package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fake is a server with recorded answers. It notes what was asked of it.
type fake struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string // method, URI and body
	keys     []string // idempotency keys
}

// newFake serves the routes, from "METHOD /path" to the handler.
func newFake(t *testing.T, routes map[string]http.HandlerFunc) *fake {
	t.Helper()
	f := &fake{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		f.mu.Lock()
		f.requests = append(f.requests, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
		if key := r.Header.Get("Idempotency-Key"); key != "" {
			f.keys = append(f.keys, key)
		}
		f.mu.Unlock()
		handler := routes[r.Method+" "+r.URL.Path]
		if handler == nil {
			handler = text(http.StatusNotFound, `{"error":"Not found"}`)
		}
		handler(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fake) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests
}

func (f *fake) idempotencyKeys() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.keys
}

// text answers with a recorded text.
func text(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// raw answers with the bytes of an output from the offset on that is asked for.
func raw(content string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		var offset int
		for _, digit := range r.URL.Query().Get("offset") {
			offset = offset*10 + int(digit-'0')
		}
		_, _ = io.WriteString(w, content[offset:])
	}
}

// events sends a part of an event stream.
func events(w http.ResponseWriter, part string) {
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, part)
	_ = http.NewResponseController(w).Flush()
}

// result is what one run of the program left.
type result struct {
	Code           int
	Stdout, Stderr string
}

// command is one run of the program.
type command struct {
	args     []string
	stdin    string
	env      map[string]string
	terminal bool
	stdout   io.Writer // besides the result
}

var testNow = time.Date(2026, 10, 6, 11, 0, 0, 0, time.UTC)

// run runs the program in this process.
func (c command) run(ctx context.Context, t *testing.T) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	a := &app{
		stdin:    strings.NewReader(c.stdin),
		stdout:   &stdout,
		stderr:   &stderr,
		getenv:   func(name string) string { return c.env[name] },
		terminal: c.terminal,
		now:      func() time.Time { return testNow },
		location: time.FixedZone("CEST", 2*60*60),
		version:  "v1.2.3",
		backoff:  time.Millisecond,
	}
	if c.stdout != nil {
		a.stdout = io.MultiWriter(&stdout, c.stdout)
	}
	code := a.run(ctx, c.args)
	return result{Code: code, Stdout: stdout.String(), Stderr: stderr.String()}
}

// berth runs the program against the server.
func (f *fake) berth(t *testing.T, args ...string) result {
	t.Helper()
	return command{args: args, env: f.env()}.run(t.Context(), t)
}

func (f *fake) env() map[string]string {
	return map[string]string{"BERTH_URL": f.URL, "BERTH_USER": "ada", "BERTH_APIKEY": "key1"}
}

func check(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Recorded answers about jobs.
const (
	queued = `{"number":12,"name":"20261006104200-995TB-jarvice-batch-ada_s1","status":"SUBMITTED","substatus":1,
"substatus_text":"Waiting for resources","state":"queued","owner":"ada","image":"docker.io/local/tools:latest","application":"jarvice-batch",
"command":"Batch","machine":"n1","nodes":2,"label":"night run","submitted":"2026-10-06T10:42:00Z"}`
	pulling = `{"number":12,"name":"n12","status":"PROCESSING STARTING","substatus":5,"substatus_text":"Pulling the image: 3 of 9 MB",
"state":"starting","machine":"n0","nodes":1,"submitted":"2026-10-06T10:42:00Z"}`
	running = `{"number":12,"name":"n12","status":"PROCESSING STARTING","substatus":0,"substatus_text":"","state":"running",
"machine":"n0","nodes":1,"submitted":"2026-10-06T10:42:00Z","started":"2026-10-06T10:42:30Z"}`
	asked = `{"number":12,"name":"n12","status":"PROCESSING STARTING","substatus":9,"substatus_text":"Shutting down","state":"running",
"machine":"n0","nodes":1,"submitted":"2026-10-06T10:42:00Z","started":"2026-10-06T10:42:30Z"}`
	stopping = `{"number":12,"name":"n12","status":"PROCESSING STARTING","substatus":9,"substatus_text":"Shutting down","state":"stopping",
"machine":"n0","nodes":1,"submitted":"2026-10-06T10:42:00Z","started":"2026-10-06T10:42:30Z"}`
	failed = `{"number":12,"name":"n12","status":"COMPLETED WITH ERROR","substatus":0,"substatus_text":"","state":"failed","owner":"ada",
"machine":"n0","nodes":1,"submitted":"2026-10-06T10:42:00Z","started":"2026-10-06T10:42:30Z","ended":"2026-10-06T10:42:47Z",
"walltime_seconds":17,"end":{"reason":"exited","exit_code":3,"signal":0,"by":"","detail":""}}`
	completed = `{"number":13,"name":"n13","status":"COMPLETED","state":"completed","machine":"n0","nodes":1,
"submitted":"2026-10-06T10:42:00Z","started":"2026-10-06T10:42:30Z","ended":"2026-10-06T10:42:47Z","walltime_seconds":17,
"end":{"reason":"exited","exit_code":0,"signal":0,"by":"","detail":""}}`
)
