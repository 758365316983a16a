// Package httpapi speaks the JARVICE job API, and a small API of our own, over HTTP. It knows paths, parameters, words and
// statuses; what a request means is decided by package control. The contract is api/openapi.yaml.
//
// One table lists the routes (routes.go), one the public texts and statuses of errors (errors.go). A handler decodes, calls
// control, and encodes; it returns its error.
package httpapi

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/api"
	"github.com/berth-hpc/berth/internal/control"
	"github.com/berth-hpc/berth/internal/engine"
)

// Control is what the handlers need of the use cases; *control.Service is one.
type Control interface {
	Accounts
	Jobs
	Outputs
	Machines
	Images
}

// Accounts tells who asks.
type Accounts interface {
	Authenticate(ctx context.Context, username, apikey string) (berth.Caller, error)
}

// Jobs makes, shows and ends jobs.
type Jobs interface {
	Batch(ctx context.Context, caller berth.Caller, req control.BatchRequest) (berth.Job, error)
	Job(ctx context.Context, caller berth.Caller, ref control.JobRef) (berth.Job, error)
	Jobs(ctx context.Context, caller berth.Caller, filter control.JobsFilter) ([]berth.Job, error)
	Wait(ctx context.Context, caller berth.Caller, ref control.JobRef) (berth.Job, error)
	Shutdown(ctx context.Context, caller berth.Caller, ref control.JobRef) error
	Terminate(ctx context.Context, caller berth.Caller, ref control.JobRef) error
}

// Outputs reads what jobs wrote.
type Outputs interface {
	Tail(ctx context.Context, caller berth.Caller, ref control.JobRef, lines int) ([]byte, error)
	Output(ctx context.Context, caller berth.Caller, ref control.JobRef, lines int) ([]byte, error)
	OpenOutput(ctx context.Context, caller berth.Caller, ref control.JobRef, offset int64, follow bool) (io.ReadCloser, error)
}

// Machines shows machine types, and whether the server can work.
type Machines interface {
	Machines(ctx context.Context, caller berth.Caller, name, vault string) ([]berth.Machine, error)
	Ready(ctx context.Context) error
}

// Images manages the local image store.
type Images interface {
	Images(ctx context.Context, caller berth.Caller) ([]engine.Image, error)
	ImportImage(ctx context.Context, caller berth.Caller, archive io.Reader, req control.ImportRequest,
		progress engine.Progress) ([]engine.Image, error)
	PullImage(ctx context.Context, caller berth.Caller, name, pullSecret string, progress engine.Progress) (engine.Image, error)
	RemoveImage(ctx context.Context, caller berth.Caller, name string) error
}

// Limits of requests, in bytes.
const (
	// DefaultMaxBody bounds a submission.
	DefaultMaxBody = 8 << 20
	// maxParameters bounds the body of a request that carries nothing but parameters.
	maxParameters = 1 << 20
)

// Config is what the API is made of. Everything is required unless it says otherwise.
type Config struct {
	Control Control
	Log     *slog.Logger
	// Metrics gets the metrics of the requests, and is what /metrics shows.
	Metrics *prometheus.Registry
	// Version is the server's version, for people.
	Version string
	// MaxBody bounds a submission in bytes; 0 is DefaultMaxBody.
	MaxBody int64
	// Now returns the time; nil is time.Now.
	Now func() time.Time
}

// New returns the handler of every path of the server. It fails when the metrics cannot be registered. It starts nothing.
func New(cfg Config) (http.Handler, error) {
	if cfg.MaxBody == 0 {
		cfg.MaxBody = DefaultMaxBody
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	contract, err := api.JSON()
	if err != nil {
		return nil, err
	}
	s := &server{cfg: cfg, control: cfg.Control, log: cfg.Log, contract: contract}
	table := s.routes()
	metrics, err := newMetrics(cfg.Metrics, table)
	if err != nil {
		return nil, fmt.Errorf("httpapi: register metrics: %w", err)
	}
	s.metrics, s.router = metrics, newRouter(table)
	return s, nil
}

// server is the handler of all paths.
type server struct {
	cfg      Config
	control  Control
	log      *slog.Logger
	contract []byte
	metrics  *metrics
	router   *router
}
