package httpapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/internal/control"
)

const sessionHeader = "berth_job=jobsession"

// TestHostsAreApart: the hosts of jobs have nothing of the server, whose own have nothing of jobs, and no cookie means anything there.
func TestHostsAreApart(t *testing.T) {
	a, service := serving(t, httptest.NewServer)
	for address, want := range map[string]string{
		"8/jarvice/live": "0 /jarvice/live", "8-8888/": "8888 /", "8-8888//a/./b%2Fc/?x=%2f;y": "8888 //a/./b%2Fc/?x=%2f;y",
		"8-8888/jobs/8/8888/x": "8888 /jobs/8/8888/x", "8-8888/api/v1/images": "8888 /api/v1/images", "8-8888/shell": "8888 /shell",
	} {
		got := a.visit(http.MethodGet, address, nil, "Cookie", sessionHeader)
		if seen := fmt.Sprintf("%d %s", a.visitedPort, service.last.RequestURI); got.body != "hello" || seen != want {
			t.Errorf("%s: status %d, the job sees %s; want %s", address, got.status, seen, want)
		}
	}
	for address, status := range map[string]int{
		"x/jarvice/live": 404, "8-0/": 404, "8-x/jarvice/live": 404, "8-shell/jarvice/live": 404, "8-shell/livez": 404, "7-8888/": 401,
		"/jarvice/status?number=8": 400, "/v1/jobs/8": 400, "/v1/jobs/8/shell": 400, "/jarvice/live": 200,
	} {
		if got := a.visit(http.MethodGet, address, nil, "Cookie", sessionHeader); got.status != status {
			t.Errorf("%s: status %d: %s; want %d", address, got.status, got.body, status)
		}
	}
	for path, want := range map[string]string{
		"/jobs/8/8888/x/?y=1&berth_token=t": "8-8888/x/?y=1&berth_token=t", "/jobs/8": "8/", "/jobs/8/": "8/", "/jobs/8/shell": "8-shell/",
		"/jobs/8//evil.example.org/": "8//evil.example.org/", "/jobs/8/8888/shell": "8-8888/shell",
	} {
		label, rest, _ := strings.Cut(want, "/")
		got := a.visit(http.MethodGet, path, nil)
		if location := got.header.Get("Location"); got.status != http.StatusTemporaryRedirect || location != "http://"+a.host(label)+"/"+rest {
			t.Errorf("%s: status %d to %s", path, got.status, location)
		}
	}
}

// TestPagesOfOthers: what a page of another origin has a browser do is done without the cookie, which the browser sends among the hosts of
// one domain. Only links may lead from one to another.
func TestPagesOfOthers(t *testing.T) {
	a, _ := serving(t, httptest.NewServer)
	own := "http://" + a.host("8-8888")
	fetch := func(site, mode, dest string) []string {
		return []string{"Sec-Fetch-Site", site, "Sec-Fetch-Mode", mode, "Sec-Fetch-Dest", dest}
	}
	for name, tt := range map[string]struct {
		method string
		header []string
		status int
	}{
		"program":              {http.MethodGet, nil, 200},
		"own page":             {http.MethodPost, append(fetch("same-origin", "cors", "empty"), "Origin", own), 200},
		"address bar":          {http.MethodGet, fetch("none", "navigate", "document"), 200},
		"link":                 {http.MethodGet, fetch("cross-site", "navigate", "document"), 200},
		"link of another job":  {http.MethodGet, fetch("same-site", "navigate", "document"), 200},
		"script":               {http.MethodGet, fetch("same-site", "no-cors", "script"), 401},
		"frame":                {http.MethodGet, fetch("same-site", "navigate", "iframe"), 401},
		"form":                 {http.MethodPost, fetch("same-site", "navigate", "document"), 401},
		"form with its origin": {http.MethodPost, []string{"Origin", "http://" + a.host("9-8888")}, 401},
		"another port":         {http.MethodPost, []string{"Origin", "http://" + a.host("8-8080")}, 401},
		"sandbox":              {http.MethodPost, []string{"Origin", "null"}, 401},
		"websocket":            {http.MethodGet, []string{"Upgrade", "websocket", "Connection", "Upgrade", "Origin", "http://" + a.host("9-8888")}, 401},
	} {
		got := a.visit(tt.method, "8-8888/", nil, append(tt.header, "Cookie", sessionHeader)...)
		if got.status != tt.status {
			t.Errorf("%s: status %d: %s; want %d", name, got.status, got.body, tt.status)
		}
	}
	// The token is enough: who has it may put the page into another.
	if got := a.visit(http.MethodGet, "8-8888/?berth_token=jobtoken", nil, fetch("cross-site", "navigate", "iframe")...); got.status != http.StatusOK {
		t.Errorf("by token in a frame: status %d", got.status)
	}
	// A cookie that another job has slipped in keeps nobody out.
	if got := a.visit(http.MethodGet, "8-8888/", nil, "Cookie", "berth_job=tossed; "+sessionHeader); got.status != http.StatusOK {
		t.Errorf("beside a tossed cookie: status %d", got.status)
	}
}

// TestBrowsersLoseTheToken: the first visit ends at the same address without it.
func TestBrowsersLoseTheToken(t *testing.T) {
	a, service := serving(t, httptest.NewServer)
	browser := []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
	for address, want := range map[string]string{
		"8-8888/tree?a=1&berth_token=jobtoken&b=2":       "8-8888/tree?a=1&b=2",
		"8-8888//evil.example.org/?berth_token=jobtoken": "8-8888//evil.example.org/",
		"8-shell/?berth_token=jobtoken":                  "8-shell/",
	} {
		label, rest, _ := strings.Cut(want, "/")
		got := a.visit(http.MethodGet, address, nil, browser...)
		if location := got.header.Get("Location"); got.status != http.StatusSeeOther || location != "http://"+a.host(label)+"/"+rest {
			t.Errorf("%s: status %d to %s", address, got.status, location)
		}
		if cookie := got.header.Get("Set-Cookie"); cookie != "berth_job=jobsession; Path=/; HttpOnly; SameSite=Lax" {
			t.Errorf("%s: the cookie is %q", address, cookie)
		}
	}
	if got := a.visit(http.MethodGet, "8-8888/?berth_token=guess", nil, browser...); got.status != http.StatusUnauthorized {
		t.Errorf("with a wrong token: status %d", got.status)
	}
	if service.last != nil {
		t.Errorf("the job was asked for %s", service.last.RequestURI)
	}
	a.page.Session = "" // of a job without a secret there is no cookie to come back with
	if got := a.visit(http.MethodGet, "8-8888/?berth_token=jobtoken", nil, browser...); got.status != http.StatusOK {
		t.Errorf("without a session: status %d", got.status)
	}
}

// TestHostsOfJobsBehindTLS: the job sees the address that browsers know, whatever a proxy made of it, and the cookie is one that no other
// host can set.
func TestHostsOfJobsBehindTLS(t *testing.T) {
	a, service := serving(t, httptest.NewServer, func(c *Config) {
		c.Sites = control.Sites{Public: "https://berth.example.org:8443/", Domain: "jobs.example.org"}
	})
	visit := func(path string, header ...string) answer {
		t.Helper()
		req := a.request(http.MethodGet, path, nil)
		req.Host = "8-8888.jobs.example.org"
		for i := 0; i < len(header); i += 2 {
			req.Header.Add(header[i], header[i+1])
		}
		return a.roundTrip(req)
	}
	visit("/x?berth_token=jobtoken", "X-Forwarded-Proto", "http", "X-Forwarded-Host", "evil", "X-Forwarded-For", "192.0.2.1",
		"Referer", "https://8-8888.jobs.example.org:8443/?berth_token=jobtoken&a=%20", "Cookie", "berth_job=1; a=b; __Host-berth_job=2")
	got := service.last
	want := map[string]string{
		"X-Forwarded-Host": "8-8888.jobs.example.org:8443", "X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1",
		"Referer": "https://8-8888.jobs.example.org:8443/?a=%20", "Cookie": "a=b",
	}
	for name, value := range want {
		if got.Header.Get(name) != value {
			t.Errorf("%s is %q, want %q", name, got.Header.Get(name), value)
		}
	}
	if got.Host != "8-8888.jobs.example.org:8443" {
		t.Errorf("the host is %q", got.Host)
	}
	answer := visit("/cookies?berth_token=jobtoken")
	cookies := []string{
		"a=1; Path=/", "b=2", "c=3; Path=/jobs/8/x; HttpOnly", "d=4; Path=/jobs/9/",
		"__Host-berth_job=jobsession; Path=/; HttpOnly; Secure; SameSite=Lax",
	}
	if diff := cmp.Diff(cookies, answer.header.Values("Set-Cookie")); diff != "" {
		t.Errorf("cookies (-want +got):\n%s", diff)
	}
	if answer.header.Get("Service-Worker-Allowed") == "" || answer.header.Get("Strict-Transport-Security") != "" {
		t.Errorf("the header is %v", answer.header)
	}
	for to, want := range map[string]string{
		"/lab?x=1": "/lab?x=1", "https://8-8888.jobs.example.org:8443/lab": "/lab", "http://" + a.page.Address.String(): "/",
		"https://9-8888.jobs.example.org:8443/": "https://9-8888.jobs.example.org:8443/",
	} {
		if location := visit("/redirect?berth_token=jobtoken&to=" + to).header.Get("Location"); location != want {
			t.Errorf("%s leads to %s, want %s", to, location, want)
		}
	}
	if log := a.log.String(); strings.Contains(log, "jobtoken") {
		t.Errorf("a secret is in the log: %s", log)
	}
}

// TestEarlyHintsOfAJob are no answer yet: one that fails after them is answered all the same.
func TestEarlyHintsOfAJob(t *testing.T) {
	a := newTestAPI(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</x>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		panic(http.ErrAbortHandler)
	}))
	defer srv.Close()
	a.page.Address = netip.MustParseAddrPort(srv.Listener.Addr().String())
	got := a.visit(http.MethodGet, "8/", nil, "Cookie", sessionHeader)
	if got.status != http.StatusServiceUnavailable || !strings.HasPrefix(got.errorText(t), "The job does not answer") {
		t.Errorf("status %d: %s", got.status, got.body)
	}
}
