package httpapi

import (
	"net/http"
	"slices"
	"strings"
)

// route is one row of the table of routes.
type route struct {
	// pattern is the path without the prefix /api; {number} stands for one segment, which the handler finds by PathValue.
	pattern string
	// methods are the allowed ones. HEAD goes where GET goes.
	methods []string
	// texts are the public texts of errors that differ between operations.
	texts  texts
	handle func(*call) error
}

// routes is the table of everything that the server answers.
func (s *server) routes() []route {
	getOrPost := []string{http.MethodGet, http.MethodPost}
	get, post, del := getOrPost[:1], getOrPost[1:], []string{http.MethodDelete}
	return []route{
		{"/jarvice/submit", post, submissionTexts, s.submit},
		{"/jarvice/batch", post, submissionTexts, s.batch},
		{"/jarvice/status", getOrPost, commonTexts, s.status},
		{"/jarvice/jobs", getOrPost, commonTexts, s.jobs},
		{"/jarvice/tail", getOrPost, commonTexts, s.tail},
		{"/jarvice/output", getOrPost, commonTexts, s.output},
		{"/jarvice/terminate", getOrPost, commonTexts, s.terminate},
		{"/jarvice/shutdown", getOrPost, commonTexts, s.shutdown},
		{"/jarvice/machines", getOrPost, commonTexts, s.machines},
		{"/jarvice/live", getOrPost, commonTexts, s.live},
		{"/jarvice/ready", getOrPost, commonTexts, s.ready},

		{"/v1/jobs/{number}", get, commonTexts, s.job},
		{"/v1/jobs/{number}/output", get, commonTexts, s.jobOutput},
		{"/v1/images", get, commonTexts, s.images},
		{"/v1/images", post, commonTexts, s.importImage},
		{"/v1/images", del, commonTexts, s.removeImage},
		{"/v1/images/pull", post, commonTexts, s.pullImage},

		{"/livez", get, commonTexts, s.live},
		{"/readyz", get, commonTexts, s.ready},
		{"/metrics", get, commonTexts, s.showMetrics},
		{"/openapi.json", get, commonTexts, s.openapi},
	}
}

// router finds the route of a request. http.ServeMux would answer doubled slashes with a redirect, on which real clients repeat a
// submission without its body.
type router struct {
	static   map[string][]*route
	wildcard [][]*route // grouped by pattern
}

func newRouter(table []route) *router {
	byPattern := make(map[string][]*route)
	var patterns []string
	for i := range table {
		r := &table[i]
		if byPattern[r.pattern] == nil {
			patterns = append(patterns, r.pattern)
		}
		byPattern[r.pattern] = append(byPattern[r.pattern], r)
	}
	rt := &router{static: make(map[string][]*route)}
	for _, pattern := range patterns {
		if strings.Contains(pattern, "{") {
			rt.wildcard = append(rt.wildcard, byPattern[pattern])
		} else {
			rt.static[pattern] = byPattern[pattern]
		}
	}
	return rt
}

// find returns the rows of a path; the caller picks by method. It sets the path values of r.
func (rt *router) find(r *http.Request) []*route {
	path := cleanPath(r.URL.Path)
	if rows := rt.static[path]; rows != nil {
		return rows
	}
	for _, rows := range rt.wildcard {
		if matchPath(r, rows[0].pattern, path) {
			return rows
		}
	}
	return nil
}

// cleanPath collapses slashes and takes the prefix /api and a trailing slash away.
func cleanPath(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	if rest, found := strings.CutPrefix(path, "/api/"); found {
		path = "/" + rest
	}
	if len(path) > 1 {
		path = strings.TrimSuffix(path, "/")
	}
	return path
}

// matchPath says whether a path has the form of a pattern, and sets the path values of r when it has.
func matchPath(r *http.Request, pattern, path string) bool {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return false
	}
	for i, segment := range want {
		if !strings.HasPrefix(segment, "{") && segment != got[i] {
			return false
		}
	}
	for i, segment := range want {
		if strings.HasPrefix(segment, "{") {
			r.SetPathValue(strings.Trim(segment, "{}"), got[i])
		}
	}
	return true
}

// byMethod returns the row for a method, nil when there is none.
func byMethod(rows []*route, method string) *route {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for _, r := range rows {
		if slices.Contains(r.methods, method) {
			return r
		}
	}
	return nil
}

// allowed lists the methods of the rows as the header Allow wants them.
func allowed(rows []*route) string {
	var methods []string
	for _, r := range rows {
		methods = append(methods, r.methods...)
	}
	return strings.Join(methods, ", ")
}
