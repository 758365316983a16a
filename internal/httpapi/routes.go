package httpapi

import (
	"net/http"
	"slices"
	"strings"
)

// route is one row of the table of routes.
type route struct {
	// pattern is the path without the prefix /api; {number} stands for one segment, which the handler finds by PathValue, and {path} for
	// all that follow.
	pattern string
	// methods are the allowed ones. HEAD goes where GET goes.
	methods []string
	// texts are the public texts of errors that differ between operations.
	texts  texts
	handle func(*call) error
	// vital is set for what must be answered under any load.
	vital bool
}

// routes is the table of everything that the server answers.
func (s *server) routes() []route {
	table := slices.Concat(s.jarviceRoutes(), s.ownRoutes(), s.serverRoutes())
	switch {
	case s.cfg.Sites.Own():
		get := []string{http.MethodGet}
		table = append(table, route{pattern: pagePattern, methods: get, texts: commonTexts, handle: s.toSite})
	case s.cfg.Sites.Shared():
		table = append(table, s.pageRoute())
	}
	return table
}

// jarviceRoutes are those of the JARVICE job API.
func (s *server) jarviceRoutes() []route {
	getOrPost, post := []string{http.MethodGet, http.MethodPost}, []string{http.MethodPost}
	return []route{
		{pattern: "/jarvice/submit", methods: post, texts: submissionTexts, handle: s.submit},
		{pattern: "/jarvice/batch", methods: post, texts: submissionTexts, handle: s.batch},
		{pattern: "/jarvice/status", methods: getOrPost, texts: commonTexts, handle: s.byJob(s.status)},
		{pattern: "/jarvice/jobs", methods: getOrPost, texts: commonTexts, handle: s.byParameters(s.jobs)},
		{pattern: "/jarvice/teamjobs", methods: getOrPost, texts: commonTexts, handle: s.byParameters(s.teamJobs)},
		{pattern: "/jarvice/teamusers", methods: getOrPost, texts: commonTexts, handle: s.byParameters(s.teamUsers)},
		{pattern: "/jarvice/tail", methods: getOrPost, texts: commonTexts, handle: s.tail},
		{pattern: "/jarvice/output", methods: getOrPost, texts: commonTexts, handle: s.output},
		{pattern: "/jarvice/terminate", methods: getOrPost, texts: commonTexts, handle: s.byJob(s.terminate)},
		{pattern: "/jarvice/shutdown", methods: getOrPost, texts: commonTexts, handle: s.byJob(s.shutdown)},
		{pattern: "/jarvice/signal", methods: getOrPost, texts: commonTexts, handle: s.signal},
		{pattern: "/jarvice/action", methods: getOrPost, texts: jobTexts, handle: s.action},
		{pattern: "/jarvice/info", methods: getOrPost, texts: jobTexts, handle: s.byJob(s.info)},
		{pattern: "/jarvice/connect", methods: getOrPost, texts: jobTexts, handle: s.byJob(s.connect)},
		{pattern: "/jarvice/screenshot", methods: getOrPost, texts: jobTexts, handle: s.screenshot},
		{pattern: "/jarvice/metrics", methods: getOrPost, texts: jobTexts, handle: s.byJob(s.jobMetrics)},
		{pattern: "/jarvice/events", methods: getOrPost, texts: jobTexts, handle: s.byJob(s.eventsText)},
		{pattern: "/jarvice/audit", methods: getOrPost, texts: commonTexts, handle: s.byParameters(s.audit)},
		{pattern: "/jarvice/vault", methods: getOrPost, texts: commonTexts, handle: s.byParameters(s.vaultListing, "vault", "path")},
		{pattern: "/jarvice/machines", methods: getOrPost, texts: commonTexts, handle: s.byParameters(s.machines)},
		{pattern: "/jarvice/queues", methods: getOrPost, texts: commonTexts, handle: s.byParameters(s.queues)},
		{pattern: "/jarvice/apps", methods: getOrPost, texts: commonTexts, handle: s.apps},
		{pattern: "/jarvice/appdef", methods: getOrPost, texts: commonTexts, handle: s.byParameters(s.appdef, "name")},
		{pattern: "/jarvice/validate", methods: getOrPost, texts: commonTexts, handle: s.validate},
		{pattern: "/jarvice/pull", methods: getOrPost, texts: commonTexts, handle: s.byParameters(s.pull, "repo", "target")},
		{pattern: "/jarvice/build", methods: getOrPost, texts: commonTexts, handle: s.byParameters(s.build, "target")},
		{pattern: "/jarvice/history", methods: getOrPost, texts: commonTexts, handle: s.byParameters(s.history, "target")},
		{pattern: "/jarvice/billing", methods: getOrPost, texts: commonTexts, handle: s.byParameters(s.billing)},
		{pattern: "/jarvice/projects", methods: getOrPost, texts: commonTexts, handle: s.byParameters(s.projects)},
		{pattern: "/jarvice/license", methods: getOrPost, texts: commonTexts, handle: s.byParameters(s.license)},
		{pattern: "/jarvice/live", methods: getOrPost, texts: commonTexts, handle: s.live, vital: true},
		{pattern: "/jarvice/ready", methods: getOrPost, texts: commonTexts, handle: s.ready, vital: true},
	}
}

// ownRoutes are those of our own API.
func (s *server) ownRoutes() []route {
	table := []ownRoute{
		{"/v1/events", http.MethodGet, s.eventStream},
		{"/v1/jobs/{number}", http.MethodGet, s.job},
		{"/v1/jobs/{number}/output", http.MethodGet, s.jobOutput},
		{"/v1/jobs/{number}/events", http.MethodGet, s.explanation},
		{"/v1/jobs/{number}/metrics", http.MethodGet, s.nodeMetrics},
		{"/v1/jobs/{number}/shell", http.MethodGet, s.jobShell},

		{"/v1/images", http.MethodGet, s.images},
		{"/v1/images", http.MethodPost, s.importImage},
		{"/v1/images", http.MethodDelete, s.removeImage},

		{"/v1/apps", http.MethodGet, s.applications},
		{"/v1/apps", http.MethodPost, s.addApplication},
		{"/v1/apps/{id}", http.MethodGet, s.application},
		{"/v1/apps/{id}", http.MethodPatch, s.changeApplication},
		{"/v1/apps/{id}", http.MethodDelete, s.removeApplication},
		{"/v1/queues", http.MethodGet, s.listQueues},
		{"/v1/queues/{name}", http.MethodPut, s.setQueue},
		{"/v1/queues/{name}", http.MethodDelete, s.removeQueue},

		{"/v1/users", http.MethodGet, s.users},
		{"/v1/users", http.MethodPost, s.addUser},
		{"/v1/users/{name}", http.MethodGet, s.user},
		{"/v1/users/{name}", http.MethodPatch, s.changeUser},
		{"/v1/users/{name}/keys", http.MethodPost, s.addKey},
		{"/v1/users/{name}/keys/{id}", http.MethodDelete, s.revokeKey},
		{"/v1/users/{name}/variables", http.MethodGet, s.variables},
		{"/v1/users/{name}/variables/{key}", http.MethodPut, s.setVariable},
		{"/v1/sshkeys", http.MethodGet, s.sshKeys},
		{"/v1/sshkeys", http.MethodPost, s.addSSHKey},
		{"/v1/sshkeys", http.MethodDelete, s.removeSSHKey},
		{"/v1/teams", http.MethodGet, s.teams},
		{"/v1/teams", http.MethodPost, s.addTeam},
		{"/v1/teams/{name}", http.MethodPatch, s.changeTeam},
		{"/v1/teams/{name}", http.MethodDelete, s.removeTeam},

		{"/v1/machines", http.MethodGet, s.machineTypes},
		{"/v1/machines/{name}", http.MethodPut, s.setMachine},
		{"/v1/machines/{name}", http.MethodDelete, s.removeMachine},
		{"/v1/audit", http.MethodGet, s.audit},
		{"/v1/backup", http.MethodGet, s.backup},
	}
	routes := make([]route, 0, len(table)+1)
	for _, row := range slices.Concat(table, s.vaultRoutes()) {
		routes = append(routes, route{
			pattern: row.pattern, methods: []string{row.method}, texts: commonTexts, handle: s.byQuery(row.handle),
		})
	}
	return append(routes, route{
		pattern: "/v1/images/pull", methods: []string{http.MethodPost}, texts: commonTexts, handle: s.byParameters(s.pullImage, "name"),
	})
}

// vaultRoutes are those of vaults and of what is in them.
func (s *server) vaultRoutes() []ownRoute {
	return []ownRoute{
		{"/v1/vaults", http.MethodGet, s.vaults},
		{"/v1/vaults", http.MethodPost, s.addVault},
		{"/v1/vaults/{name}", http.MethodGet, s.vault},
		{"/v1/vaults/{name}", http.MethodPatch, s.changeVault},
		{"/v1/vaults/{name}", http.MethodDelete, s.removeVault},
		{"/v1/vaults/{name}/password", http.MethodPost, s.changeVaultPassword},
		{"/v1/vaults/{name}/repair", http.MethodPost, s.repairVault},
		{"/v1/kept", http.MethodGet, s.keptData},
		{"/v1/kept/{number}", http.MethodPost, s.saveKept},
		{"/v1/kept/{number}", http.MethodDelete, s.dropKept},
		{"/v1/vaults/{vault}/files/{path}", http.MethodGet, s.vaultFile},
		{"/v1/vaults/{vault}/files/{path}", http.MethodPut, s.putVaultFile},
		{"/v1/vaults/{vault}/files/{path}", http.MethodDelete, s.removeVaultFile},
		{"/v1/vaults/{vault}/uploads/{upload}", http.MethodGet, s.vaultUpload},
	}
}

// ownRoute is a row of our own API, where all operations have the same texts and say in the query who asks.
type ownRoute struct {
	pattern, method string
	handle          handler
}

// serverRoutes are those of the server itself, which need no credentials.
func (s *server) serverRoutes() []route {
	get := []string{http.MethodGet}
	return []route{
		{pattern: "/livez", methods: get, texts: commonTexts, handle: s.live, vital: true},
		{pattern: "/readyz", methods: get, texts: commonTexts, handle: s.ready, vital: true},
		{pattern: "/metrics", methods: get, texts: commonTexts, handle: s.showMetrics, vital: true},
		{pattern: "/openapi.json", methods: get, texts: commonTexts, handle: s.openapi},
		{pattern: "/docs", methods: get, texts: commonTexts, handle: s.showDocs},
		{pattern: "/docs/{asset}", methods: get, texts: commonTexts, handle: s.showDocs},
	}
}

// The patterns of what jobs serve themselves, and of the pages with shells.
const (
	pagePattern  = "/jobs/{number}/{path}"
	shellPattern = "/jobs/{number}/shell"
)

func (s *server) pageRoute() route {
	return route{pattern: pagePattern, methods: proxiedMethods, texts: commonTexts, handle: s.jobPage}
}

// shellRoutes are those of the hosts of shells, as if they were paths of the server.
func (s *server) shellRoutes() []route {
	get := []string{http.MethodGet}
	return []route{
		{pattern: shellPattern, methods: get, texts: commonTexts, handle: s.shellPage},
		{pattern: shellPattern + "/socket", methods: get, texts: commonTexts, handle: s.shellSocket},
		{pattern: shellPattern + "/{asset}", methods: get, texts: commonTexts, handle: s.shellAsset},
	}
}

// anyPath is the last segment of a pattern that takes every path below the others, and these themselves.
const anyPath = "{path}"

// router finds the route of a request. http.ServeMux would answer doubled slashes with a redirect, on which real clients repeat a
// submission without its body.
type router struct {
	static   map[string][]*route
	wildcard []wildcard
}

// wildcard holds the rows of one pattern that has variable segments.
type wildcard struct {
	segments []string
	rows     []*route
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
			rt.wildcard = append(rt.wildcard, wildcard{strings.Split(pattern, "/"), byPattern[pattern]})
		} else {
			rt.static[pattern] = byPattern[pattern]
		}
	}
	return rt
}

// find returns the rows of a path; the caller picks by method. It sets the path values of r.
func (rt *router) find(r *http.Request, path string) []*route {
	path = cleanPath(path)
	if rows := rt.static[path]; rows != nil {
		return rows
	}
	got := strings.Split(path, "/")
	for _, w := range rt.wildcard {
		if matchPath(r, w.segments, got) {
			return w.rows
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
func matchPath(r *http.Request, want, got []string) bool {
	if last := len(want) - 1; want[last] == anyPath && len(got) >= last {
		want, got = want[:last], got[:last]
	}
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
