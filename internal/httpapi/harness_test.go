package httpapi

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-hpc/berth/api"
	"github.com/berth-hpc/berth/internal/control"
)

// testAPI is a server with a scripted control. Every answer that it gives in a test is checked against the contract.
type testAPI struct {
	*scripted
	t        *testing.T
	url      string
	contract *openapi3.T
	handler  http.Handler
	log      *safeBuffer
}

// safeBuffer is a log that can be read while it is written.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newTestAPI(t *testing.T, change ...func(*Config)) *testAPI {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	t.Cleanup(srv.Close)
	a := &testAPI{scripted: newScripted(), t: t, contract: loadContract(t), log: &safeBuffer{}, url: "http://" + srv.Listener.Addr().String()}
	cfg := Config{
		Control: a.scripted, Metrics: prometheus.NewRegistry(), Version: "1.2.3",
		Sites: control.Sites{Public: a.url + "/", Domain: "localhost"},
		Log:   slog.New(slog.NewTextHandler(a.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now:   func() time.Time { return submittedAt().Add(time.Minute) },
	}
	for _, c := range change {
		c(&cfg)
	}
	handler, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler, a.handler = handler, handler
	srv.Start()
	return a
}

// readContract reads the contract once for all tests: it takes longer than most of them.
var readContract = sync.OnceValues(func() (*openapi3.T, error) {
	text, err := api.JSON()
	if err != nil {
		return nil, err
	}
	return openapi3.NewLoader().LoadFromData(text)
})

func loadContract(t testing.TB) *openapi3.T {
	t.Helper()
	contract, err := readContract()
	if err != nil {
		t.Fatal(err)
	}
	return contract
}

// answer is a whole answer.
type answer struct {
	status int
	header http.Header
	body   string
}

// errorText returns the text of an error answer.
func (a answer) errorText(t *testing.T) string {
	t.Helper()
	var flat map[string]string
	if err := json.Unmarshal([]byte(a.body), &flat); err != nil || len(flat) != 1 || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("error is no flat object of one string: status %d, %s: %s", a.status, a.header.Get("Content-Type"), a.body)
	}
	return flat["error"]
}

func (a *testAPI) get(path string) answer { return a.send(http.MethodGet, path, "", "") }

// send sends a body with a label.
func (a *testAPI) send(method, path, contentType, body string) answer {
	a.t.Helper()
	req := a.request(method, path, strings.NewReader(body))
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return a.do(req)
}

func (a *testAPI) request(method, path string, body io.Reader) *http.Request {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, body)
	if err != nil {
		a.t.Fatal(err)
	}
	return req
}

// do sends a request, follows no redirect, and checks the answer.
func (a *testAPI) do(req *http.Request) answer {
	a.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	got := answer{resp.StatusCode, resp.Header, string(body)}
	a.check(req, got)
	return got
}

// check holds an answer to the rules for all answers, and to the contract.
func (a *testAPI) check(req *http.Request, got answer) {
	a.t.Helper()
	contentType := got.header.Get("Content-Type")
	switch {
	case got.status == http.StatusPartialContent && req.Header.Get("Range") != "":
	case got.status >= 200 && got.status < 400 && got.status != http.StatusOK:
		a.t.Errorf("%s %s: status %d, success is exactly 200", req.Method, req.URL, got.status)
	case got.status >= 400:
		got.errorText(a.t)
	}
	if !slices.Contains([]string{contentBytes, "image/png"}, contentType) && !utf8.ValidString(got.body) {
		a.t.Errorf("%s %s: the body is not UTF-8", req.Method, req.URL)
	}
	operation := findOperation(a.contract, req.Method, cleanPath(req.URL.Path))
	if operation == nil {
		if got.status != http.StatusNotFound && got.status != http.StatusMethodNotAllowed {
			a.t.Errorf("%s %s: status %d of an operation that the contract does not have", req.Method, req.URL, got.status)
		}
		return
	}
	response := operation.Responses.Status(got.status)
	if response == nil {
		a.t.Errorf("%s %s: the contract has no status %d: %s", req.Method, req.URL, got.status, got.body)
		return
	}
	content := response.Value.Content[strings.TrimSuffix(contentType, "; version=0.0.4; charset=utf-8; escaping=underscores")]
	if content == nil {
		a.t.Errorf("%s %s: the contract has no content type %q with status %d", req.Method, req.URL, contentType, got.status)
		return
	}
	if contentType == contentJSON {
		a.checkSchema(content.Schema.Value, got.body)
	}
}

func (a *testAPI) checkSchema(schema *openapi3.Schema, body string) {
	a.t.Helper()
	var value any
	if err := json.Unmarshal([]byte(body), &value); err != nil {
		a.t.Errorf("answer is not JSON: %v: %s", err, body)
		return
	}
	if err := schema.VisitJSON(value, openapi3.MultiErrors()); err != nil {
		a.t.Errorf("answer is not as the contract says: %v\n%s", err, body)
	}
}

// findOperation returns the operation of the contract for a path, nil when there is none. Of two patterns the one counts that says more.
func findOperation(contract *openapi3.T, method, path string) *openapi3.Operation {
	got := strings.Split(path, "/")
	var found *openapi3.Operation
	fewest := len(got)
	for pattern, item := range contract.Paths.Map() {
		variable := strings.Count(pattern, "{")
		want, got := strings.Split(pattern, "/"), got
		if last := len(want) - 1; want[last] == anyPath && len(got) >= last {
			want, got = want[:last], got[:last]
		}
		if variable < fewest && slices.EqualFunc(want, got, func(want, got string) bool {
			return want == got || strings.HasPrefix(want, "{")
		}) {
			found, fewest = item.GetOperation(method), variable
		}
	}
	return found
}
