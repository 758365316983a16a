package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/berth-hpc/berth/internal/control"
)

// The content types of successful answers. One client compares them byte by byte, so none carries a charset.
const (
	contentJSON   = "application/json"
	contentText   = "text/plain"
	contentBytes  = "application/octet-stream"
	contentNDJSON = "application/x-ndjson"
	contentEvents = "text/event-stream"
	contentHTML   = "text/html"
	contentScript = "application/javascript"
)

// call is one request under way.
type call struct {
	server *server
	w      *responseWriter
	r      *http.Request
	route  *route
	// place is the gate in which the request has a place, nil for none. It is one of those of user, once that is known; share gives
	// it back to the user's others.
	place *gate
	user  string
	share func()
	// site is the host of a job that the request is for; nil for one of the server's own.
	site *control.Site
	// held is how many bytes of server.bodies the body has.
	held int64
}

// noRoute stands for the route of a request that has none.
var noRoute = &route{pattern: "none", texts: commonTexts}

// ServeHTTP answers every request; it never redirects, and it answers a panic of a handler with an error.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	ctx, c := r.Context(), &call{server: s, w: &responseWriter{ResponseWriter: w}, r: r, route: noRoute}
	defer s.finish(ctx, c, began)
	if c.hasBody() {
		c.readDeadline(s.cfg.BodyTimeout) // also for bodies that nobody reads: net/http does it after the answer
		c.clearWriteDeadline()            // that of the answer before; the client may wait for a word before it sends
	}
	rows := s.find(c)
	if rows == nil {
		c.writeError(http.StatusNotFound, msgNoRoute+": "+quote(r.URL.Path))
		return
	}
	found := byMethod(rows, r.Method)
	if found == nil {
		c.w.Header().Set("Allow", allowed(rows))
		c.writeError(http.StatusMethodNotAllowed, msgMethod+": "+quote(r.Method)+" was sent, allowed is "+allowed(rows))
		return
	}
	c.route = found
	if err := s.handle(ctx, c); err != nil {
		if c.w.status != 0 {
			s.abort(ctx, c, err)
		}
		s.answerError(ctx, c, err)
	}
}

// find returns the rows for a request. Hosts of jobs have nothing that the server's own have, and the other way round.
func (s *server) find(c *call) []*route {
	site, within := s.cfg.Sites.Find(c.r.Host)
	if !within {
		return s.router.find(c.r, c.r.URL.Path)
	}
	if site == nil {
		return nil
	}
	c.site = site
	home := "/jobs/" + strconv.FormatInt(site.Number, 10)
	if site.Shell {
		return s.shells.find(c.r, home+"/shell"+c.r.URL.Path)
	}
	return s.pages.find(c.r, home)
}

// abort ends an answer that has begun and cannot be completed: the client must not take it for a whole one.
func (s *server) abort(ctx context.Context, c *call, err error) {
	if ctx.Err() == nil {
		s.log.WarnContext(ctx, "answer broke off", "route", c.route.pattern, "error", err)
	}
	panic(http.ErrAbortHandler)
}

// finish ends every request: it answers a panic, counts and logs.
func (s *server) finish(ctx context.Context, c *call, began time.Time) {
	cause := recover()
	c.leave()
	if cause != nil && cause != http.ErrAbortHandler { //nolint:errorlint // the value that net/http compares with, also by ==
		s.log.ErrorContext(ctx, "handler panicked",
			"route", c.route.pattern, "panic", cause, "stack", string(debug.Stack()))
		if c.w.status == 0 {
			c.writeError(http.StatusInternalServerError, c.route.texts.internal)
			cause = nil
		}
	}
	took := time.Since(began)
	s.metrics.observe(c, took)
	if s.log.Enabled(ctx, slog.LevelDebug) {
		s.log.DebugContext(ctx, "request", "method", c.r.Method, "url", redact(c.r.URL), "status", c.w.status,
			"bytes", c.w.written, "took", took, "remote", c.r.RemoteAddr)
	}
	if cause != nil {
		panic(http.ErrAbortHandler) // net/http closes the connection, so that the client sees a broken answer
	}
}

// redact returns a URL without its secrets, for the log.
func redact(u *url.URL) string {
	if u.RawQuery == "" {
		return u.Path
	}
	parts := strings.Split(u.RawQuery, "&")
	for i, part := range parts {
		name, _, _ := strings.Cut(part, "=")
		if plain, err := url.QueryUnescape(name); err != nil || isSecret(plain) {
			parts[i] = name + "=-"
		}
	}
	return u.Path + "?" + strings.Join(parts, "&")
}

func isSecret(parameter string) bool {
	switch strings.ToLower(parameter) {
	case "apikey", "pull_secret", "pullsecret", "password", "new_password", "token", "access_key", "secret_key", control.TokenParameter:
		return true
	default:
		return false
	}
}

// responseWriter remembers what was answered.
type responseWriter struct {
	http.ResponseWriter
	status  int
	written int64
}

// WriteHeader sends the status. Those before the last one, such as early hints, are no answer yet.
func (w *responseWriter) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// maxPiece is how much is sent with one deadline, in bytes.
const maxPiece = 256 << 10

// Write sends a part of the body in pieces that the client has to accept in time.
func (w *responseWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	sent := 0
	for {
		// Connections without deadlines (in tests) are fine, too.
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(stallLimit))
		n, err := w.ResponseWriter.Write(p[sent:min(len(p), sent+maxPiece)])
		sent += n
		w.written += int64(n)
		if err != nil || sent == len(p) {
			return sent, err
		}
	}
}

// Unwrap is for http.ResponseController.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// write sends a whole answer. An error means that the client is gone, which the next read of the connection notices.
func (c *call) write(status int, contentType string, body []byte) {
	header := c.w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(status)
	_, _ = c.w.Write(body)
}

// writeJSON answers 200 with a value.
func (c *call) writeJSON(value any) error {
	body, err := encodeJSON(value)
	if err != nil {
		return err
	}
	c.write(http.StatusOK, contentJSON, body)
	return nil
}

// each returns a list of what clients are shown of another one. It is never nil, which would be null.
func each[T, A any](list []T, shown func(T) A) []A {
	answers := make([]A, len(list))
	for i, one := range list {
		answers[i] = shown(one)
	}
	return answers
}

// encodeJSON encodes a value as people like to read it: with < > & as they are.
func encodeJSON(value any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
