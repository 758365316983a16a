package httpapi

import (
	"compress/gzip"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDocsComeFromThisServer fetches the page as a browser does, with all that it loads, and checks that nothing names another host.
func TestDocsComeFromThisServer(t *testing.T) {
	a := newTestAPI(t)
	page := a.get("/docs")
	if types := page.header.Values("Content-Type"); page.status != 200 || !slices.Equal(types, []string{"text/html"}) {
		t.Fatalf("status %d, Content-Type %q", page.status, types)
	}
	policy := page.header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'self'; ") || strings.Contains(policy, "http") || strings.Contains(policy, "*") {
		t.Errorf("policy %s", policy)
	}
	var assets []string
	for _, match := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(page.body, -1) {
		asset, own := strings.CutPrefix(match[1], "/docs/")
		if !own {
			t.Errorf("the page loads %s", match[1])
		}
		assets = append(assets, asset)
		if got := a.get(match[1]); got.status != 200 || len(got.body) < 100 || got.header.Get("Content-Security-Policy") != policy {
			t.Errorf("%s: status %d, %d bytes", match[1], got.status, len(got.body))
		}
	}
	if diff := slices.Sorted(slices.Values(assets)); !slices.Equal(diff, slices.Sorted(slices.Values(docsAssets()))) {
		t.Errorf("the page loads %q", diff)
	}
	if strings.Contains(page.body, "//cdn") || !strings.Contains(page.body, `"swaggerJsonUrl":"/openapi.json"`) || !regexp.MustCompile(`validatorUrl: null`).MatchString(page.body) {
		t.Errorf("page: %s", page.body)
	}
	if got := a.get("/openapi.json"); got.status != 200 || !strings.HasPrefix(got.body, `{"components":`) {
		t.Errorf("contract: status %d: %.100s", got.status, got.body)
	}
}

func TestDocsPaths(t *testing.T) {
	a := newTestAPI(t)
	for path, status := range map[string]int{
		"/docs/": 200, "/api/docs": 200, "//docs": 200, "/api//docs//swagger-ui.css": 200, "/docs?proxy=http://example.org/": 200,
		"/docs/index.html": 404, "/docs/swagger-ui.css.gz": 404, "/docs/..": 404, "/docs/x/y": 404,
	} {
		if got := a.get(path); got.status != status {
			t.Errorf("%s: status %d: %.100s", path, got.status, got.body)
		}
	}
	// A whole answer also to those who have a part of it.
	req := a.request(http.MethodGet, "/docs/swagger-ui.css", nil)
	req.Header.Set("If-None-Match", a.get("/docs/swagger-ui.css").header.Get("Etag"))
	req.Header.Set("Range", "bytes=0-9")
	if got := a.do(req); got.status != 200 || len(got.body) < 1000 {
		t.Errorf("status %d, %d bytes", got.status, len(got.body))
	}
}

func TestDocsAreCompressed(t *testing.T) {
	a := newTestAPI(t)
	req := a.request(http.MethodGet, "/docs/swagger-ui-bundle.js", nil)
	req.Header.Set("Accept-Encoding", "gzip")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("header %v", resp.Header)
	}
	reader, err := gzip.NewReader(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if script, err := io.ReadAll(reader); err != nil || len(script) < 1<<20 {
		t.Errorf("%d bytes: %v", len(script), err)
	}
}
