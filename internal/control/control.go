// Package control holds the use cases of the server: what a caller may ask for, whether they may, and what it means. It knows
// neither HTTP nor SQL nor containers; httpapi calls it, and it calls the store, the engine's image store and the output files.
package control

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/store"
)

// Store is what the use cases need of the store.
type Store interface {
	UserByKey(ctx context.Context, keyHash string) (berth.User, error)
	Machines(ctx context.Context) ([]berth.Machine, error)
	Vault(ctx context.Context, owner, name string) (berth.Vault, error)
	CreateJob(ctx context.Context, job store.NewJob) (berth.Job, bool, error)
	JobByIdempotencyKey(ctx context.Context, owner string, key store.Idempotency) (berth.Job, bool, error)
	JobSource
	Apply(ctx context.Context, number int64, ev berth.Event) (berth.Job, error)
}

// JobSource reads jobs.
type JobSource interface {
	Job(ctx context.Context, number int64) (berth.Job, error)
	JobByName(ctx context.Context, name string) (berth.Job, error)
	Jobs(ctx context.Context, filter store.Filter) ([]berth.Job, error)
}

// ImageChecker asks a registry whether an image is there for the pull secret. Its error wraps engine.ErrRefused when the
// registry answers definitely no; any other error means that it is not known.
type ImageChecker interface {
	Check(ctx context.Context, ref, pullSecret string) error
}

// Outputs reads the output files of jobs.
type Outputs interface {
	// Tail returns the last lines of a job's output, all of it for 0. A job without output has an empty one.
	Tail(number int64, lines int) ([]byte, error)
	// Open returns the output from the offset on. With done not nil it goes on until done is closed and everything written before
	// was read; otherwise it ends at the present end.
	Open(ctx context.Context, number, offset int64, done <-chan struct{}) (io.ReadCloser, error)
}

// Config is what a Service is made of. Everything is required unless it says otherwise.
type Config struct {
	Store   Store
	Images  engine.Images
	Checker ImageChecker
	Outputs Outputs
	// Changes tells of every stored change of a job.
	Changes *Changes
	// Now returns the time; nil is time.Now.
	Now func() time.Time
	// Random returns n random bytes; nil is crypto/rand.
	Random func(n int) []byte
	// EngineReady returns nil when the engine answers.
	EngineReady func(context.Context) error
	Log         *slog.Logger
}

// JobRef names a job by its name or its number. Naming none is Invalid "No job specified"; naming two different ones is Invalid
// "Bad Request".
type JobRef struct {
	Name   string
	Number int64
}

// BatchRequest is a batch submission.
type BatchRequest struct {
	Submission berth.Submission
	// PullSecret is for the registry: base64 of a Docker auths JSON. It is kept until the job ends and never shown.
	PullSecret string
	// IdempotencyKey makes a retry safe; empty is none. RequestHash tells two requests with one key apart.
	IdempotencyKey string
	RequestHash    string
}

// JobsFilter selects jobs of a listing.
type JobsFilter struct {
	// Ended lists only ended jobs, All both; neither lists those that have not ended.
	Ended, All bool
	// Label selects by label: a part of it, or all of it with LabelExact.
	Label      string
	LabelExact bool
	// Team lists the jobs of everybody whose jobs the caller may see.
	Team bool
	// After continues a listing behind this number; Limit bounds it, 0 is no limit. Ended jobs come newest first.
	After int64
	Limit int
}

// ImportRequest says what an archive is.
type ImportRequest struct {
	// Name is the reference that the image gets; may be empty for an archive that names its images.
	Name string
	// Rootfs says that the archive is a plain root filesystem.
	Rootfs bool
}

// Service carries out the use cases. It is safe for concurrent use.
type Service struct {
	cfg          Config
	users        cache[string, berth.User]
	machineTypes cache[struct{}, []berth.Machine]
	local        cache[string, engine.Image]
}

// New returns a Service. It starts nothing.
func New(cfg Config) *Service {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = randomBytes
	}
	return &Service{cfg: cfg}
}
