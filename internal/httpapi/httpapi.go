// Package httpapi speaks the JARVICE job API, and a small API of our own, over HTTP. It knows paths, parameters, words and
// statuses; what a request means is decided by package control. The contract is api/openapi.yaml.
//
// One table lists the routes and how each is told who asks (routes.go), one the public texts and statuses of errors (errors.go). A
// handler is given who asks, decodes, calls control, and encodes; it returns its error.
package httpapi

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/berth-hpc/berth/internal/control"
)

// Limits of requests, in bytes.
const (
	// DefaultMaxBody bounds a submission.
	DefaultMaxBody = 8 << 20
	// maxParameters bounds the body of a request that carries nothing but parameters, or one small object.
	maxParameters = 1 << 20
	// maxAppDef bounds a body that holds an AppDef, most of which is its icon.
	maxAppDef = 4 << 20
)

// Limits of the load, and of time.
const (
	// DefaultMaxRequests is how many ordinary requests are worked on at a time.
	DefaultMaxRequests = 1024
	// DefaultMaxStreams is how many requests that take as long as they like are there at a time: event streams, outputs, waits
	// for a job, images that come in.
	DefaultMaxStreams = 4096
	// DefaultMaxBodies is how many bytes the bodies of all requests may have together, beyond a little for each.
	DefaultMaxBodies = 256 << 20
	// DefaultPatience is how long an ordinary request waits for its turn before it is refused.
	DefaultPatience = time.Second
	// DefaultBodyTimeout is how long the body of a request may take to arrive, archives of images left out.
	DefaultBodyTimeout = 30 * time.Second
	// DefaultKeepAlive is how often a stream without events sends a sign of life.
	DefaultKeepAlive = 15 * time.Second
)

// Config is what the API is made of. Everything is required unless it says otherwise.
type Config struct {
	Control Control
	Log     *slog.Logger
	// Metrics gets the metrics of the requests, and is what /metrics shows.
	Metrics *prometheus.Registry
	// Version is the server's version, for people.
	Version string
	// Sites says where the web pages of jobs are served; the zero value serves none.
	Sites control.Sites
	// MaxBody bounds a submission in bytes; 0 is DefaultMaxBody.
	MaxBody int64
	// MaxBodies bounds what the bodies of all requests have together, in bytes; 0 is DefaultMaxBodies, and it is at least MaxBody.
	MaxBodies int64
	// MaxRequests and MaxStreams bound the load, an eighth of it for each user; Patience, BodyTimeout and KeepAlive are times; 0 is
	// the default of each.
	MaxRequests, MaxStreams          int
	Patience, BodyTimeout, KeepAlive time.Duration
	// TrustedProxies are those whose X-Forwarded-For tells where a request came from; may be empty.
	TrustedProxies []netip.Prefix
	// Now returns the time; nil is time.Now.
	Now func() time.Time
}

// New returns the handler of every path of the server. It fails when the metrics cannot be registered. It starts nothing.
func New(cfg Config) (http.Handler, error) {
	cfg.MaxBody = cmp.Or(cfg.MaxBody, DefaultMaxBody)
	cfg.MaxBodies = max(cmp.Or(cfg.MaxBodies, DefaultMaxBodies), cfg.MaxBody)
	cfg.MaxRequests, cfg.MaxStreams = cmp.Or(cfg.MaxRequests, DefaultMaxRequests), cmp.Or(cfg.MaxStreams, DefaultMaxStreams)
	cfg.Patience = cmp.Or(cfg.Patience, DefaultPatience)
	cfg.BodyTimeout = cmp.Or(cfg.BodyTimeout, DefaultBodyTimeout)
	cfg.KeepAlive = cmp.Or(cfg.KeepAlive, DefaultKeepAlive)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &server{
		cfg: cfg, control: cfg.Control, log: cfg.Log, docs: newDocs(), toJobs: newJobTransport(),
		ordinary: newGate("requests", cfg.MaxRequests), streams: newGate("streams", cfg.MaxStreams),
		bodies: semaphore.NewWeighted(cfg.MaxBodies),
	}
	table, shells, pages := s.routes(), s.shellRoutes(), []route{s.pageRoute()}
	metrics, err := newMetrics(cfg.Metrics, slices.Concat(table, shells, pages), s.ordinary, s.streams)
	if err != nil {
		return nil, fmt.Errorf("httpapi: register metrics: %w", err)
	}
	s.metrics, s.router, s.shells, s.pages = metrics, newRouter(table), newRouter(shells), newRouter(pages)
	return s, nil
}

// server is the handler of all paths.
type server struct {
	cfg     Config
	control Control
	log     *slog.Logger
	docs    http.Handler
	// toJobs carries requests to the web pages of jobs.
	toJobs http.RoundTripper
	// ordinary has a place for each request that is worked on, streams for each that takes as long as it likes.
	ordinary, streams *gate
	// bodies has the bytes that bodies may have in memory.
	bodies  *semaphore.Weighted
	metrics *metrics
	// router has the routes of the server's own hosts, shells and pages those of the hosts of jobs.
	router, shells, pages *router
}
