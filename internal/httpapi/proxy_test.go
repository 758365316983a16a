package httpapi

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

const runningPage = "/jobs/8/"

// jobService is what a job serves. It remembers the last request.
type jobService struct {
	mu   sync.Mutex
	last *http.Request
	body string
}

func (j *jobService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	j.mu.Lock()
	j.last, j.body = r, string(body)
	j.mu.Unlock()
	switch r.URL.Path {
	case "/redirect":
		w.Header().Set("Location", r.URL.Query().Get("to"))
		w.WriteHeader(http.StatusFound)
	case "/cookies":
		w.Header()["Set-Cookie"] = []string{
			"a=1; Path=/; Domain=example.org", "b=2", "c=3; Path=/jobs/8/x; HttpOnly", "d=4; Path=/jobs/9/", "berth_job=stolen; Path=/jobs/8/",
		}
		w.Header().Set("Service-Worker-Allowed", "/")
		w.Header().Set("Strict-Transport-Security", "max-age=1")
	case "/echo":
		echo(w, r)
	default:
		fmt.Fprint(w, "hello")
	}
}

// echo answers as a websocket does, and sends back what it gets.
func echo(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "websocket" {
		w.WriteHeader(http.StatusUpgradeRequired)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
	_, _ = io.Copy(conn, buffered)
}

// shared has jobs share the host of the server.
func shared(c *Config) { c.Sites.Domain = "" }

// serving starts what a job serves, and an API that knows where.
func serving(t *testing.T, start func(http.Handler) *httptest.Server, change ...func(*Config)) (*testAPI, *jobService) {
	t.Helper()
	service := &jobService{}
	srv := start(service)
	t.Cleanup(srv.Close)
	a := newTestAPI(t, change...)
	a.page = control.WebPage{Address: netip.MustParseAddrPort(srv.Listener.Addr().String()), Session: "jobsession"}
	return a, service
}

// host is the name of a host of a job.
func (a *testAPI) host(label string) string {
	return label + ".localhost" + a.url[strings.LastIndex(a.url, ":"):]
}

// visit asks for a page as a browser does, but follows no redirect. What comes before the path is the host of a job.
func (a *testAPI) visit(method, address string, body io.Reader, header ...string) answer {
	a.t.Helper()
	label, path, _ := strings.Cut(address, "/")
	req := a.request(method, "/"+path, body)
	if label != "" {
		req.Host = a.host(label)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return a.roundTrip(req)
}

func (a *testAPI) roundTrip(req *http.Request) answer {
	a.t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

func TestWhoSeesAJobsPage(t *testing.T) {
	a, _ := serving(t, httptest.NewServer, shared)
	for name, tt := range map[string]struct {
		path   string
		header []string
		status int
		text   string
	}{
		"nobody":             {runningPage, nil, 401, "Unauthorized"},
		"token":              {runningPage + "?x=1&berth_token=jobtoken", nil, 200, ""},
		"wrong token":        {runningPage + "?berth_token=guess", nil, 401, "Unauthorized"},
		"cookie":             {runningPage, []string{"Cookie", "x=y; berth_job=jobsession"}, 200, ""},
		"wrong cookie":       {runningPage, []string{"Cookie", "berth_job=guess"}, 401, "Unauthorized"},
		"cookie elsewhere":   {"/jobs/7/", []string{"Cookie", "berth_job=jobsession"}, 401, "Unauthorized"},
		"key":                {runningPage, []string{"Authorization", "Bearer " + testKey}, 200, ""},
		"wrong key":          {runningPage, []string{"Authorization", "Bearer guess"}, 401, "Unauthorized"},
		"key for reading":    {runningPage, []string{"Authorization", "Bearer " + readKey}, 403, "This key may only read"},
		"key in the query":   {runningPage + "?username=ada&apikey=" + testKey, nil, 401, "Unauthorized"},
		"job of another":     {runningPage, []string{"Authorization", "Bearer " + otherKey}, 404, "Not found"},
		"job that waits":     {"/jobs/7/", []string{"Authorization", "Bearer " + testKey}, 404, "Running job is not found"},
		"no such job":        {"/jobs/0/", []string{"Authorization", "Bearer " + testKey}, 404, "No such path"},
		"too large a number": {"/jobs/9999999999999999999/", []string{"Authorization", "Bearer " + testKey}, 404, "No such path"},
		"below api":          {"/api/jobs/8/", []string{"Authorization", "Bearer " + testKey}, 404, "No such path"},
	} {
		got := a.visit(http.MethodGet, tt.path, nil, tt.header...)
		if got.status != tt.status || tt.status == 200 && got.body != "hello" || tt.status != 200 && !strings.HasPrefix(got.errorText(t), tt.text) {
			t.Errorf("%s: status %d: %s", name, got.status, got.body)
		}
	}
}

// TestTheJobNeverSeesWhoAsks: neither the key nor the token nor the cookie. What is the job's own passes.
func TestTheJobNeverSeesWhoAsks(t *testing.T) {
	a, service := serving(t, httptest.NewServer, shared)
	a.visit(http.MethodGet, "/jobs/8/p?a=1&berth_token=jobtoken&b=%20;", nil,
		"Cookie", "x=y; berth_job=jobsession", "Cookie", "z=1", "Authorization", "Basic YTpi")
	if got := service.last.URL.RawQuery; got != "a=1&b=%20;" {
		t.Errorf("the query is %q", got)
	}
	if got := service.last.Header.Values("Cookie"); len(got) != 1 || got[0] != "x=y; z=1" {
		t.Errorf("the cookies are %q", got)
	}
	if got := service.last.Header.Get("Authorization"); got != "Basic YTpi" {
		t.Errorf("Authorization is %q", got)
	}
	a.visit(http.MethodGet, "/jobs/8/", nil, "Authorization", "bearer "+testKey)
	a.visit(http.MethodGet, "/jobs/8/?berth_token=jobtoken", nil, "Authorization", "Bearer "+testKey)
	if got := service.last.Header.Get("Authorization"); got != "" {
		t.Errorf("Authorization is %q", got)
	}
	if log := a.log.String(); strings.Contains(log, "jobtoken") || strings.Contains(log, testKey) {
		t.Errorf("a secret is in the log: %s", log)
	}
}

func TestPathsOfAJobsPage(t *testing.T) {
	a, service := serving(t, httptest.NewServer, shared)
	for path, want := range map[string]string{
		"/jobs/8/":                   "0 /",
		"/jobs/8/tree?x=%2f":         "0 /tree?x=%2f",
		"/jobs/8/a%2Fb//c/":          "0 /a%2Fb//c/",
		"/jobs/8/8888/":              "8888 /",
		"/jobs/8/8888/8889/x":        "8888 /8889/x",
		"/jobs/8/888888/x":           "0 /888888/x",
		"/jobs/8/0/x":                "0 /0/x",
		"/jobs/8/80a/x":              "0 /80a/x",
		"/jobs/8/http://evil/":       "0 /http://evil/",
		"/jobs/8//evil.example.org/": "0 //evil.example.org/",
	} {
		got := a.visit(http.MethodGet, path, nil, "Cookie", "berth_job=jobsession")
		if seen := fmt.Sprintf("%d %s", a.visitedPort, service.last.RequestURI); got.status != http.StatusOK || seen != want {
			t.Errorf("%s: status %d, the job sees %s; want %s", path, got.status, seen, want)
		}
	}
	a.page.BasePath = "jobs/8/8888"
	a.visit(http.MethodGet, "/jobs/8/tree", nil, "Cookie", "berth_job=jobsession")
	if got := service.last.RequestURI; got != "/jobs/8/8888/tree" {
		t.Errorf("a job that knows its path sees %s", got)
	}
	for path, want := range map[string]string{"/jobs/8": "/jobs/8/", "/jobs/8/8888?berth_token=x": "/jobs/8/8888/?berth_token=x"} {
		got := a.visit(http.MethodGet, path, nil)
		if got.status != http.StatusTemporaryRedirect || got.header.Get("Location") != want {
			t.Errorf("%s: status %d to %s", path, got.status, got.header.Get("Location"))
		}
	}
}

func TestMethodsAndBodiesOfAJobsPage(t *testing.T) {
	a, service := serving(t, httptest.NewServer, shared)
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		body := method + strings.Repeat("x", 1<<20)
		got := a.visit(method, "/jobs/8/", strings.NewReader(body), "Cookie", "berth_job=jobsession", "Origin", a.url)
		if got.status != http.StatusOK || service.last.Method != method || service.body != body {
			t.Errorf("%s: status %d, the job got %s with %d bytes", method, got.status, service.last.Method, len(service.body))
		}
		if service.last.Host != strings.TrimPrefix(a.url, "http://") || service.last.Header.Get("Origin") != a.url {
			t.Errorf("%s: Host %s, Origin %s", method, service.last.Host, service.last.Header.Get("Origin"))
		}
	}
}

func TestAnswersOfAJobsPage(t *testing.T) {
	a, _ := serving(t, httptest.NewServer, shared)
	host := strings.TrimPrefix(a.url, "http://")
	for to, want := range map[string]string{
		"/lab?x=1":                          "/jobs/8/8888/lab?x=1",
		"lab":                               "lab",
		"http://" + host + "/lab":           "/jobs/8/8888/lab",
		"http://" + host:                    "/jobs/8/8888/",
		a.page.Address.String():             a.page.Address.String(),
		"http://" + a.page.Address.String(): "/jobs/8/8888/",
		"https://example.org/x":             "https://example.org/x",
		"//example.org/x":                   "//example.org/x",
		"/jobs/8/8888/x":                    "/jobs/8/8888/x",
		"/jobs/9/x":                         "/jobs/8/8888/jobs/9/x",
	} {
		got := a.visit(http.MethodGet, "/jobs/8/8888/redirect?to="+to, nil, "Cookie", "berth_job=jobsession")
		if location := got.header.Get("Location"); got.status != http.StatusFound || location != want {
			t.Errorf("%s: status %d to %s; want %s", to, got.status, location, want)
		}
	}
	got := a.visit(http.MethodGet, "/jobs/8/8888/cookies?berth_token=jobtoken", nil, "X-Forwarded-Proto", "https")
	want := []string{
		"a=1; Path=/jobs/8/8888/", "b=2", "c=3; Path=/jobs/8/x; HttpOnly", "d=4; Path=/jobs/8/8888/jobs/9/",
		"berth_job=jobsession; Path=/jobs/8/; HttpOnly; Secure; SameSite=Lax",
	}
	if diff := cmp.Diff(want, got.header.Values("Set-Cookie")); diff != "" {
		t.Errorf("cookies (-want +got):\n%s", diff)
	}
	for _, name := range []string{"Service-Worker-Allowed", "Strict-Transport-Security"} {
		if got.header.Get(name) != "" {
			t.Errorf("%s comes through", name)
		}
	}
}

// TestWebsocketOfAJobsPage types into a websocket, which stays when the answer would long have been late.
func TestWebsocketOfAJobsPage(t *testing.T) {
	a, _ := serving(t, httptest.NewServer, shared)
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /jobs/8/echo?berth_token=jobtoken HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Upgrade") != "websocket" {
		t.Fatalf("%v, %v", resp, err)
	}
	defer resp.Body.Close()
	for _, word := range []string{"one\n", "two\n"} {
		fmt.Fprint(conn, word)
		if got, err := in.ReadString('\n'); got != word || err != nil {
			t.Errorf("%q comes back as %q, %v", word, got, err)
		}
	}
	conn.Close()
}

// TestEncryptedPageOfAJob: also one that is said to be and is not.
func TestEncryptedPageOfAJob(t *testing.T) {
	for name, start := range map[string]func(http.Handler) *httptest.Server{"tls": httptest.NewTLSServer, "plain": httptest.NewServer} {
		a, service := serving(t, start, shared)
		a.page.Encrypted = true
		got := a.visit(http.MethodPost, "/jobs/8/", strings.NewReader("body"), "Cookie", "berth_job=jobsession")
		if got.status != http.StatusOK || got.body != "hello" || service.body != "body" {
			t.Errorf("%s: status %d: %s", name, got.status, got.body)
		}
	}
}

func TestAPageThatDoesNotAnswer(t *testing.T) {
	a := newTestAPI(t, shared)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a.page.Address = netip.MustParseAddrPort(listener.Addr().String())
	listener.Close()
	got := a.visit(http.MethodGet, "/jobs/8/", nil, "Cookie", "berth_job=jobsession")
	if got.status != http.StatusServiceUnavailable || !strings.HasPrefix(got.errorText(t), "The job does not answer") {
		t.Errorf("status %d: %s", got.status, got.body)
	}
	a.fail["WebPage"] = &berth.Error{Kind: berth.NotFound, Msg: "The job serves no such port", Detail: "22"}
	got = a.visit(http.MethodGet, "/jobs/8/22/", nil, "Cookie", "berth_job=jobsession")
	if got.status != http.StatusNotFound || got.errorText(t) != "The job serves no such port: 22" {
		t.Errorf("status %d: %s", got.status, got.body)
	}
}

// TestPagesTakePlacesOfStreams: they last as long as they like.
func TestPagesTakePlacesOfStreams(t *testing.T) {
	a := newTestAPI(t, shared, func(c *Config) { c.MaxStreams = 1 })
	begun, end := make(chan struct{}), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		close(begun)
		<-end
	}))
	defer srv.Close()
	a.page.Address = netip.MustParseAddrPort(srv.Listener.Addr().String())
	done := make(chan answer)
	go func() { done <- a.visit(http.MethodGet, "/jobs/8/", nil, "Cookie", "berth_job=jobsession") }()
	<-begun
	if got := a.visit(http.MethodGet, "/jobs/8/", nil, "Cookie", "berth_job=jobsession"); got.status != http.StatusTooManyRequests {
		t.Errorf("status %d beside as many as may be: %s", got.status, got.body)
	}
	close(end)
	if got := <-done; got.status != http.StatusOK {
		t.Errorf("status %d: %s", got.status, got.body)
	}
}

// TestServersWithoutSites serve no pages, and those on which jobs share a host no shells.
func TestServersWithoutSites(t *testing.T) {
	a := newTestAPI(t, func(c *Config) { c.Sites = control.Sites{} })
	for _, path := range []string{"/jobs/8/", "/jobs/8/shell", "/jobs/8/8888/x", "8/", "8-shell/"} {
		got := a.visit(http.MethodGet, path, nil, "Cookie", "berth_job=jobsession")
		if got.status != http.StatusNotFound || !strings.HasPrefix(got.errorText(t), msgNoRoute) {
			t.Errorf("%s: status %d: %s", path, got.status, got.body)
		}
	}
	a, service := serving(t, httptest.NewServer, shared)
	got := a.visit(http.MethodGet, "/jobs/8/shell", nil, "Cookie", "berth_job=jobsession")
	if got.status != http.StatusOK || service.last.RequestURI != "/shell" {
		t.Errorf("the path of a shell is the job's: status %d, %s", got.status, service.last.RequestURI)
	}
}
