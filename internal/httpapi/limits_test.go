package httpapi

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-hpc/berth"
)

// newServer serves with a context of all requests that a test can end.
func newServer(ctx context.Context, t *testing.T, handler http.Handler) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(handler)
	srv.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	srv.Start()
	t.Cleanup(srv.Close)
	return srv
}

// TestOverload fills every place and checks that the next request is refused in words, that the vital ones are answered, and that
// places come back.
func TestOverload(t *testing.T) {
	a := newTestAPI(t, func(c *Config) { c.MaxRequests, c.MaxStreams, c.Patience = 2, 1, time.Millisecond })
	entered, release := make(chan struct{}), make(chan struct{})
	a.outputs[runningJob] = nil
	a.block = func() { entered <- struct{}{}; <-release }
	var busy sync.WaitGroup
	for _, who := range []string{asAda, asRoot} {
		busy.Go(func() { a.get("/jarvice/teamusers?" + who) })
		<-entered
	}
	for _, path := range []string{"/jarvice/jobs?" + asAda, "/openapi.json", "/docs", "/v1/jobs/8?" + asAda} {
		got := a.get(path)
		if text := got.errorText(t); got.status != 503 || !matches(text, "Server busy: ") || got.header.Get("Retry-After") != "1" {
			t.Errorf("%s: status %d, Retry-After %q: %s", path, got.status, got.header.Get("Retry-After"), text)
		}
	}
	body := batchWith(t, "container.jobscript", strings.Repeat("x", 5<<20))
	if got := a.send(http.MethodPost, "/jarvice/batch", "", body); got.status != 503 {
		t.Errorf("a large submission: status %d: %s", got.status, got.body)
	}
	for _, path := range []string{"/livez", "/readyz", "/jarvice/live", "/jarvice/ready"} {
		if got := a.get(path); got.status != 200 {
			t.Errorf("%s: status %d: %s", path, got.status, got.body)
		}
	}
	for _, line := range []string{
		`berth_http_in_flight{kind="requests"} 2`, `berth_http_in_flight{kind="streams"} 0`, `berth_http_refused_total{kind="requests"} 5`,
	} {
		if got := a.get("/metrics").body; !strings.Contains(got, line+"\n") {
			t.Errorf("/metrics has no line %s", line)
		}
	}
	close(release)
	busy.Wait()
	a.block = nil
	if got := a.get("/jarvice/jobs?" + asAda); got.status != 200 {
		t.Errorf("afterwards: status %d: %s", got.status, got.body)
	}
}

// TestRequestsWaitForTheirTurn checks that a short overload is not seen.
func TestRequestsWaitForTheirTurn(t *testing.T) {
	a := newTestAPI(t, func(c *Config) { c.MaxRequests, c.Patience = 1, time.Hour })
	entered := make(chan struct{}, 20)
	a.block = func() { entered <- struct{}{} }
	var clients sync.WaitGroup
	for range cap(entered) {
		clients.Go(func() {
			if got := a.get("/jarvice/teamusers?" + asAda); got.status != 200 {
				t.Errorf("status %d: %s", got.status, got.body)
			}
		})
	}
	clients.Wait()
}

// TestStreamsHaveTheirOwnPlaces checks that what takes long keeps nobody else from being answered, and is bounded itself.
func TestStreamsHaveTheirOwnPlaces(t *testing.T) {
	a := newTestAPI(t, func(c *Config) { c.MaxRequests, c.MaxStreams, c.Patience = 1, 2, time.Millisecond })
	a.outputs[runningJob] = []byte(strings.Repeat("x", smallOutput) + "\n")
	var closers []io.Closer
	for _, who := range []string{asAda, "username=bob&apikey=" + otherKey} {
		lines, body := a.openEventsAs(t.Context(), who)
		readEvent(t, lines)
		closers = append(closers, body)
	}
	for _, path := range []string{
		"/v1/events?", "/v1/jobs/8/output?follow=1&", "/jarvice/tail?lines=0&number=8&", "/jarvice/tail?number=8&", "/v1/jobs/8?wait=1s&",
	} {
		got := a.get(path + asRoot)
		if text := got.errorText(t); got.status != 503 || !matches(text, "Server busy: ") {
			t.Errorf("%s: status %d: %s", path, got.status, text)
		}
		got = a.get(path + asAda)
		if text := got.errorText(t); got.status != 429 || text != "Too many requests of this user: one user may have 1 streams at a time" {
			t.Errorf("%s once more: status %d: %s", path, got.status, text)
		}
	}
	if got := a.send(http.MethodPost, "/v1/images?"+asRoot, "", strings.Repeat("x", 2<<20)); got.status != 503 {
		t.Errorf("import: status %d: %s", got.status, got.body)
	}
	for method, path := range map[string]string{http.MethodPost: "/v1/apps?", http.MethodPatch: "/v1/apps/my-app_1?"} {
		body := map[string]string{http.MethodPost: `{"id":"a","image":"x"}`, http.MethodPatch: `{"image":"x"}`}[method]
		if got := a.send(method, path+asRoot, "", body); got.status != 503 {
			t.Errorf("%s of an application: status %d: %s", method, got.status, got.body)
		}
	}
	if got := a.get("/jarvice/jobs?" + asAda); got.status != 200 {
		t.Errorf("an ordinary request: status %d: %s", got.status, got.body)
	}
	for _, c := range closers {
		_ = c.Close()
	}
	for !strings.Contains(a.get("/metrics").body, `berth_http_in_flight{kind="streams"} 0`) { // the server sees it soon
		continue
	}
	if got := a.get("/v1/jobs/8?wait=1s&" + asAda); got.status != 200 {
		t.Errorf("afterwards: status %d: %s", got.status, got.body)
	}
}

// TestNobodyTakesEveryPlace: while a user has all of the own part, others are answered.
func TestNobodyTakesEveryPlace(t *testing.T) {
	a := newTestAPI(t, func(c *Config) { c.MaxRequests, c.MaxStreams, c.Patience = 16, 16, time.Millisecond })
	entered, release := make(chan struct{}), make(chan struct{})
	a.block = func() { entered <- struct{}{}; <-release }
	var busy sync.WaitGroup
	for range 2 {
		busy.Go(func() { a.get("/jarvice/teamusers?" + asAda) })
		<-entered
	}
	for range 20 {
		got := a.get("/jarvice/jobs?" + asAda)
		if text := got.errorText(t); got.status != 429 || text != "Too many requests of this user: one user may have 2 requests at a time" {
			t.Fatalf("one more: status %d: %s", got.status, text)
		}
		if got := a.send(http.MethodPost, "/jarvice/batch", "", validBatch); got.status != 429 {
			t.Fatalf("a submission: status %d: %s", got.status, got.body)
		}
	}
	if got := a.get("/jarvice/jobs?" + asRoot); got.status != 200 {
		t.Errorf("another user: status %d: %s", got.status, got.body)
	}
	close(release)
	busy.Wait()
	if got := a.get("/jarvice/jobs?" + asAda); got.status != 200 {
		t.Errorf("afterwards: status %d: %s", got.status, got.body)
	}
	s := a.handler.(*server)
	if len(s.ordinary.users) != 0 {
		t.Errorf("%d users are remembered", len(s.ordinary.users))
	}
}

// promise opens a connection, says in a header how long the body will be, and sends the beginning of it.
func (a *testAPI) promise(path string, length int, body string) (conn net.Conn) {
	a.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.url, "http://"))
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = conn.Close() })
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", path, length, body); err != nil {
		a.t.Fatal(err)
	}
	return conn
}

// TestSilentClientsHoldNothing: neither a place, nor the memory that their headers speak of. The body of one that is refused is read
// to its end without a place, too.
func TestSilentClientsHoldNothing(t *testing.T) {
	// Who is being looked up has the place for a moment: the patience is for that.
	a := newTestAPI(t, func(c *Config) { c.MaxRequests, c.Patience, c.BodyTimeout = 1, 30*time.Second, time.Hour })
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for path, length := range map[string]int{
		"/jarvice/batch": DefaultMaxBody, "/jarvice/submit": DefaultMaxBody, "/jarvice/status": maxParameters, "/v1/users?" + asRoot: maxParameters,
		"/v1/images?" + asAda: 1 << 40, "/jarvice/jobs": 1 << 40, "/nowhere": 1 << 40,
	} {
		for range 10 {
			a.promise(path, length, "x")
		}
	}
	for range 100 {
		if got := a.get("/jarvice/jobs?" + asAda); got.status != 200 {
			t.Fatalf("status %d: %s", got.status, got.body)
		}
	}
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 64<<20 {
		t.Errorf("%d bytes were allocated", after.TotalAlloc-before.TotalAlloc)
	}
}

// TestBodiesHaveLittleMemoryTogether: what they have is counted as it comes, and comes back. Small ones are always read.
func TestBodiesHaveLittleMemoryTogether(t *testing.T) {
	a := newTestAPI(t, func(c *Config) { c.MaxBody, c.MaxBodies, c.Patience = 1<<20, 1<<20, 100*time.Millisecond })
	s, large := a.handler.(*server), batchWith(t, "container.jobscript", strings.Repeat("x", 256<<10))
	conn := a.promise("/jarvice/batch", 1<<20, strings.Repeat("x", 900<<10))
	for s.bodies.TryAcquire(256 << 10) { // until the server has read that
		s.bodies.Release(256 << 10)
	}
	got := a.send(http.MethodPost, "/jarvice/batch", "", large)
	if text := got.errorText(t); got.status != 503 || text != "Server busy: too many large requests at a time, try again" {
		t.Errorf("another large one: status %d: %s", got.status, text)
	}
	if got := a.send(http.MethodPost, "/jarvice/batch", "", validBatch); got.status != 200 {
		t.Errorf("a small one: status %d: %s", got.status, got.body)
	}
	_ = conn.Close()
	for !s.bodies.TryAcquire(1 << 20) { // all of it comes back soon
		continue
	}
	s.bodies.Release(1 << 20)
	if got := a.send(http.MethodPost, "/jarvice/batch", "", large); got.status != 200 {
		t.Errorf("afterwards: status %d: %s", got.status, got.body)
	}
}

// raw sends bytes as they are, ends the sending when cut says so, and returns the answer.
func (a *testAPI) raw(request string, cut bool) answer {
	a.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.url, "http://"))
	if err != nil {
		a.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		a.t.Fatal(err)
	}
	if cut {
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			a.t.Fatal(err)
		}
	}
	path := strings.Fields(request)[1]
	req := a.request(strings.Fields(request)[0], path, nil)
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
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

// TestBrokenBodies checks bodies that break off, and those that stand still: both get an answer.
func TestBrokenBodies(t *testing.T) {
	tests := map[string]struct {
		path   string
		status int
		text   string
	}{
		"submit":     {"/jarvice/submit", 500, "Error reading bytes"},
		"batch":      {"/jarvice/batch", 500, "Error reading bytes"},
		"status":     {"/jarvice/status", 400, "Bad Request"},
		"signal":     {"/jarvice/signal", 400, "Bad Request"},
		"add a user": {"/v1/users?" + asRoot, 400, "Bad Request"},
	}
	for name, tt := range tests {
		for _, cut := range []bool{true, false} {
			a := newTestAPI(t, func(c *Config) { c.BodyTimeout = 50 * time.Millisecond })
			got := a.raw(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"a\":", tt.path), cut)
			if text := got.errorText(t); got.status != tt.status || text != tt.text {
				t.Errorf("%s, cut %t: status %d: %s", name, cut, got.status, text)
			}
		}
	}
}

// TestUnreadBodyDoesNotHold checks that a client whose body nobody reads, and that does not send it, is let go.
func TestUnreadBodyDoesNotHold(t *testing.T) {
	a := newTestAPI(t, func(c *Config) { c.BodyTimeout = 50 * time.Millisecond })
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /jarvice/live HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx"); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(conn) // until the server closes
	if err != nil || !strings.Contains(string(all), `{"status":"OK"}`) {
		t.Errorf("answer %q: %v", all, err)
	}
}

// TestRefusedUploadIsAnswered sends a large body that is refused: the client reads the answer and no broken connection.
func TestRefusedUploadIsAnswered(t *testing.T) {
	a := newTestAPI(t)
	archive := strings.Repeat("a", 30<<20)
	for query, want := range map[string]struct {
		status int
		text   string
	}{
		asAda: {403, "Only an administrator may change images"}, "username=root&apikey=x": {401, "Unauthorized"}, "": {400, "User required"},
	} {
		got := a.send(http.MethodPost, "/v1/images?"+query, "application/octet-stream", archive)
		if text := got.errorText(t); got.status != want.status || text != want.text {
			t.Errorf("%s: status %d: %s", query, got.status, text)
		}
	}
	for _, path := range []string{"/nowhere", "/jarvice/status", "/v1/users?" + asRoot} {
		if got := a.send(http.MethodPost, path, "", archive); got.status != 404 && got.status != 413 {
			t.Errorf("%s: status %d: %s", path, got.status, got.body)
		}
	}
	got := a.send(http.MethodPut, "/jarvice/status", "", archive)
	if got.status != 405 {
		t.Errorf("PUT: status %d: %s", got.status, got.body)
	}
}

// TestPersonalMachine checks that a refusal that another second cannot help does not ask to be repeated.
func TestPersonalMachine(t *testing.T) {
	a := newTestAPI(t)
	a.fail["Batch"] = berth.Errorf(berth.LimitReached, "Only one active job allowed per VM")
	if got := a.send(http.MethodPost, "/jarvice/batch", "", validBatch); got.status != 429 || got.header.Get("Retry-After") != "" {
		t.Errorf("status %d, Retry-After %q: %s", got.status, got.header.Get("Retry-After"), got.body)
	}
}
