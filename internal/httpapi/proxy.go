package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

// proxiedMethods are those that web pages of jobs may be asked by, and HEAD.
var proxiedMethods = []string{
	http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// The names of the cookie that lets a browser in again that came with the token of a job. It is sent to the pages of this job only; no other
// host can set one of the second name, which needs TLS and a host of the job's own.
const (
	sessionCookie     = "berth_job"
	hostSessionCookie = "__Host-berth_job"
)

// keptBack are headers of a job's answer that would change what browsers do with other hosts or other jobs, and keptBackShared one that
// would where they share a host.
var (
	keptBack       = []string{"Alt-Svc", "Clear-Site-Data", "Public-Key-Pins", "Strict-Transport-Security"}
	keptBackShared = "Service-Worker-Allowed"
)

// jobPath is the path of a page of a job, escaped: its number, perhaps a port, and the path of the page.
var jobPath = regexp.MustCompile(`^(/jobs/([1-9][0-9]{0,17}))(/[1-9][0-9]{0,4})?(/.*)?$`)

// visit is a request for a page of a job.
type visit struct {
	number int64
	// port is 0 for that of the job's web page.
	port int
	// origin is the one of the site, for browsers; empty where jobs share that of the server.
	origin string
	// home is the path of all pages of the job, prefix that of those of the port, and path, escaped, that of the page below it. The first
	// two are empty where the job has a host of its own.
	home, prefix, path string
	// query is that of the request without the token of the job.
	query, token string
	visitor      control.Visitor
	// page is where the job serves it.
	page control.WebPage
}

// readVisit returns nil when the address is that of no page of a job.
func (s *server) readVisit(c *call) *visit {
	if c.site == nil {
		return readPath(c.r.URL)
	}
	v := s.siteVisit(c)
	if v.path = c.r.URL.EscapedPath(); v.path == "" || v.path[0] != '/' { // such as the * of OPTIONS
		return nil
	}
	return v
}

// siteVisit reads a request for a host of a job.
func (s *server) siteVisit(c *call) *visit {
	v := readQuery(c.r.URL)
	v.number, v.port, v.origin = c.site.Number, c.site.Port, s.cfg.Sites.Address(*c.site)
	return v
}

// readPath is readVisit where jobs share a host.
func readPath(u *url.URL) *visit {
	match := jobPath.FindStringSubmatch(u.EscapedPath())
	if match == nil {
		return nil
	}
	number, err := strconv.ParseInt(match[2], 10, 64)
	if err != nil {
		return nil
	}
	v := readQuery(u)
	v.number, v.home, v.prefix, v.path = number, match[1], match[1]+match[3], match[4]
	if match[3] != "" {
		v.port, _ = strconv.Atoi(match[3][1:]) // digits
	}
	return v
}

// readQuery takes the token of the job out of the query.
func readQuery(u *url.URL) *visit {
	v := &visit{}
	var kept []string
	for part := range strings.SplitSeq(u.RawQuery, "&") {
		if token, found := strings.CutPrefix(part, control.TokenParameter+"="); found {
			v.token = token // random letters and digits, which need no escapes
		} else if part != "" {
			kept = append(kept, part)
		}
	}
	v.query = strings.Join(kept, "&")
	return v
}

// jobPage carries a request to what a job serves, and the answer back, as long as both like. What says who asks stays here.
func (s *server) jobPage(c *call) error {
	v := s.readVisit(c)
	if v == nil {
		return &berth.Error{Kind: berth.NotFound, Msg: msgNoRoute, Detail: quote(c.r.URL.Path)}
	}
	if v.path == "" {
		// What the page names is relative to it, and the cookie is for what is below it: it ends in a slash.
		c.w.Header().Set("Location", v.prefix+"/"+querySuffix(c.r.URL.RawQuery))
		c.w.WriteHeader(http.StatusTemporaryRedirect)
		return nil
	}
	var err error
	if v.visitor, err = s.visitor(c, v); err != nil {
		return err
	}
	if v.page, err = s.control.WebPage(c.r.Context(), v.visitor, v.number, v.port); err != nil {
		return err
	}
	if v.enters(c) {
		return c.redirectIn(v, v.page.Session)
	}
	if err := s.lingerIn(c, v.number); err != nil {
		return err
	}
	return s.forward(c, v)
}

// toSite leads from a path of the server to the host of the job.
func (s *server) toSite(c *call) error {
	v := readPath(c.r.URL)
	if v == nil {
		return &berth.Error{Kind: berth.NotFound, Msg: msgNoRoute, Detail: quote(c.r.URL.Path)}
	}
	site := control.Site{Number: v.number, Port: v.port}
	if v.port == 0 && v.path == "/shell" {
		site.Shell, v.path = true, ""
	}
	location := s.cfg.Sites.Address(site) + "/" + strings.TrimPrefix(v.path, "/") + querySuffix(c.r.URL.RawQuery)
	c.w.Header().Set("Location", location)
	c.w.WriteHeader(http.StatusTemporaryRedirect)
	return nil
}

// lingerIn is linger for a visitor of a job. Those who come with its token have its places, as a user has.
func (s *server) lingerIn(c *call, number int64) error {
	if c.user == "" {
		c.user = "job " + strconv.FormatInt(number, 10) // no user has a blank in the name
	}
	return s.linger(c)
}

func querySuffix(query string) string {
	if query == "" {
		return ""
	}
	return "?" + query
}

// visitor says who asks: the token of the job, the cookie that followed from it, or else an API key as a bearer token. The query
// belongs to the job.
func (s *server) visitor(c *call, v *visit) (control.Visitor, error) {
	visitor := control.Visitor{Token: v.token, From: c.from()}
	if !v.foreign(c.r) {
		visitor.Sessions = sessionsOf(c.r)
	}
	cred := c.withBearer(credentials{})
	if !cred.bearer || visitor.Token != "" || len(visitor.Sessions) > 0 {
		return visitor, nil
	}
	var err error
	visitor.Caller, err = s.verify(c, cred)
	return visitor, err
}

// forward carries the request and the answer.
func (s *server) forward(c *call, v *visit) error {
	if c.r.Header.Get("Upgrade") != "" { // it may last as long as the job
		ctx, stop := s.whileAllowed(c.r.Context(), v)
		defer stop()
		c.r = c.r.WithContext(ctx)
	}
	var failed error
	proxy := httputil.ReverseProxy{
		Rewrite:       func(p *httputil.ProxyRequest) { v.rewrite(c, p) },
		Transport:     s.toJobs,
		FlushInterval: -1,
		ModifyResponse: func(answer *http.Response) error {
			v.adapt(c, answer)
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { failed = err },
		ErrorLog:     slog.NewLogLogger(slog.DiscardHandler, 0), // errors are logged like others
	}
	proxy.ServeHTTP(c.w, c.r)
	c.clearWriteDeadline() // the end of the answer may come any time after its last piece
	if failed != nil {
		return &berth.Error{Kind: berth.Unavailable, Msg: "The job does not answer", Detail: v.page.Address.String(), Err: failed}
	}
	return nil
}

// rewrite makes the request of the job of that of the visitor.
func (v *visit) rewrite(c *call, p *httputil.ProxyRequest) {
	out := p.Out
	out.URL = &url.URL{Scheme: "http", Host: v.page.Address.String(), RawQuery: v.query}
	if v.page.Encrypted {
		out.URL.Scheme = "https"
	}
	path := v.path
	if v.page.BasePath != "" {
		path = "/" + v.page.BasePath + path
	}
	out.URL.Path, _ = url.PathUnescape(path) // it comes from a parsed URL
	out.URL.RawPath = path
	out.Host = p.In.Host // as the browser knows it: services compare it with Origin
	p.SetXForwarded()
	if scheme, host, found := strings.Cut(v.origin, "://"); found {
		out.Host = host
		out.Header.Set("X-Forwarded-Host", host)
		out.Header.Set("X-Forwarded-Proto", scheme)
	}
	if out.Body != nil {
		out.Body = uploadBody{upload{c}, out.Body}
	}
	withoutSecrets(out.Header)
	withoutToken(out.Header)
}

// uploadBody is the body of a request that may take as long as it takes.
type uploadBody struct {
	io.Reader
	io.Closer
}

// withoutToken takes the token out of the address from which a page was left.
func withoutToken(header http.Header) {
	referer, err := url.Parse(header.Get("Referer"))
	if err != nil {
		header.Del("Referer")
	} else if referer.RawQuery != "" {
		referer.RawQuery = readQuery(referer).query
		header.Set("Referer", referer.String())
	}
}

// withoutSecrets takes away what this server was told about who asks. Other kinds of Authorization are for the job.
func withoutSecrets(header http.Header) {
	if scheme, _, _ := strings.Cut(header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		header.Del("Authorization")
	}
	lines := header.Values("Cookie")
	header.Del("Cookie")
	var kept []string
	for _, line := range lines {
		for cookie := range strings.SplitSeq(line, ";") {
			cookie = strings.TrimSpace(cookie)
			if name, _, _ := strings.Cut(cookie, "="); cookie != "" && !isSession(strings.TrimSpace(name)) {
				kept = append(kept, cookie)
			}
		}
	}
	if len(kept) > 0 {
		header.Set("Cookie", strings.Join(kept, "; "))
	}
}

// adapt changes an answer of the job so that it works here, and does nothing to other pages of this server.
func (v *visit) adapt(c *call, answer *http.Response) {
	for _, name := range keptBack {
		answer.Header.Del(name)
	}
	host := c.r.Host
	if v.origin == "" {
		answer.Header.Del(keptBackShared)
	} else {
		_, host, _ = strings.Cut(v.origin, "://")
	}
	if location := answer.Header.Get("Location"); location != "" {
		answer.Header.Set("Location", v.publicLocation(host, location))
	}
	cookies := answer.Cookies()
	answer.Header.Del("Set-Cookie")
	for _, cookie := range cookies {
		if isSession(cookie.Name) {
			continue
		}
		cookie.Domain, cookie.Path = "", v.cookiePath(cookie.Path)
		answer.Header.Add("Set-Cookie", cookie.String())
	}
	if v.token != "" && v.page.Session != "" {
		answer.Header.Add("Set-Cookie", v.session(c, v.page.Session).String())
	}
	if answer.StatusCode == http.StatusSwitchingProtocols {
		c.w.status = answer.StatusCode // the connection is taken away, nobody writes it
	}
}

// publicLocation returns where a redirect of the job leads to here. Those to other hosts stay.
func (v *visit) publicLocation(host, location string) string {
	to, err := url.Parse(location)
	if err != nil {
		return location
	}
	if to.Host != "" {
		address := v.page.Address
		if to.Host != host && to.Host != address.String() && to.Hostname() != address.Addr().String() {
			return location
		}
		to.Scheme, to.Host = "", ""
		if to.Path == "" {
			to.Path = "/"
		}
	}
	if to.Scheme != "" || !strings.HasPrefix(to.Path, "/") || strings.HasPrefix(to.Path, v.home+"/") {
		return to.String()
	}
	return v.prefix + to.String()
}

// cookiePath keeps the cookies of a job to its own pages. An empty path is that of the page, for browsers.
func (v *visit) cookiePath(path string) string {
	if path == "" || strings.HasPrefix(path, v.home+"/") {
		return path
	}
	return v.prefix + "/" + strings.TrimPrefix(path, "/")
}

// maxJobHeader bounds the header of an answer of a job, in bytes.
const maxJobHeader = 256 << 10

// newJobTransport returns what reaches the web pages of jobs. The certificates of jobs are their own, which nobody can check; the way to
// them does not leave this machine.
func newJobTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return &http.Transport{
		DialContext: dialer.DialContext,
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			encrypted := &tls.Dialer{NetDialer: dialer, Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // see above
			conn, err := encrypted.DialContext(ctx, network, address)
			if _, plain := errors.AsType[tls.RecordHeaderError](err); plain {
				return dialer.DialContext(ctx, network, address) // old AppDefs say https of desktops that speak plain HTTP
			}
			return conn, err
		},
		MaxResponseHeaderBytes: maxJobHeader, MaxIdleConnsPerHost: 16, MaxIdleConns: 1024, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
	}
}
