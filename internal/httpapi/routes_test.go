package httpapi

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/berth-hpc/berth/internal/control"
)

func TestContractAndRoutesAgree(t *testing.T) {
	contract := loadContract(t)
	var routed, documented []string
	s := &server{cfg: Config{Sites: control.Sites{Public: "http://127.0.0.1/"}}}
	for _, r := range slices.Concat(s.routes(), s.shellRoutes()) {
		for _, method := range r.methods {
			routed = append(routed, method+" "+r.pattern)
		}
	}
	for pattern, item := range contract.Paths.Map() {
		for method := range item.Operations() {
			documented = append(documented, method+" "+pattern)
		}
	}
	for _, r := range routed {
		if !slices.Contains(documented, r) {
			t.Errorf("%s is served and not in the contract", r)
		}
	}
	for _, d := range documented {
		if !slices.Contains(routed, d) {
			t.Errorf("%s is in the contract and not served", d)
		}
	}
}

func TestPaths(t *testing.T) {
	a := newTestAPI(t)
	for _, path := range []string{
		"/jarvice/live", "/api/jarvice/live", "//jarvice/live", "/api//jarvice/live", "/api/jarvice//live", "//api///jarvice/live/",
		"/livez", "/api/livez", "/readyz", "/jarvice/ready",
	} {
		if got := a.get(path); got.status != http.StatusOK || !strings.HasPrefix(got.body, `{"status":"OK"`) {
			t.Errorf("GET %s: status %d: %s", path, got.status, got.body)
		}
	}
	for _, path := range []string{
		"/", "", "/api", "/jarvice", "/jarvice/nope", "/jarvice/../livez", "/api/api/livez", "/v1/jobs", "/v1/jobs/8/nope", "/LIVEZ",
		"/jarvice/%00", "/jarvice/%ff", "/v1/jobs//",
	} {
		got := a.get(path)
		if text := got.errorText(t); got.status != http.StatusNotFound || !strings.HasPrefix(text, "No such path") {
			t.Errorf("GET %s: status %d: %s", path, got.status, text)
		}
	}
}

func TestMethods(t *testing.T) {
	a := newTestAPI(t)
	for path, allow := range map[string]string{
		"/jarvice/submit":    "POST",
		"/api//jarvice/jobs": "GET, POST",
		"/v1/images":         "GET, POST, DELETE",
		"/metrics":           "GET",
	} {
		for _, method := range []string{http.MethodPut, http.MethodPatch, http.MethodOptions, "BREW"} {
			got := a.send(method, path, "", "")
			if text := got.errorText(t); got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != allow {
				t.Errorf("%s %s: status %d, Allow %q: %s", method, path, got.status, got.header.Get("Allow"), text)
			}
		}
	}
	if got := a.get("/jarvice/batch"); got.status != http.StatusMethodNotAllowed {
		t.Errorf("GET /jarvice/batch: status %d", got.status)
	}
	resp, err := http.Head(a.url + "/jarvice/live")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ContentLength != int64(len(`{"status":"OK"}`)) {
		t.Errorf("HEAD: status %d, length %d", resp.StatusCode, resp.ContentLength)
	}
}
