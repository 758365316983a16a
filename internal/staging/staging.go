// Package staging brings the objects of an S3 store to the directory of a job before it starts, and what is new or changed there back
// after its end. What it has done is in a file, the manifest: a server that was killed goes on where it was.
package staging

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-hpc/berth"
)

// Defaults of a Config.
const (
	// DefaultParallel is how many objects are under way at a time, for each job.
	DefaultParallel = 8
	// DefaultRetryFor is how long a store may do nothing that helps before a job is given up.
	DefaultRetryFor = time.Hour
	// DefaultStall is how long a connection may be silent before it is tried again.
	DefaultStall = time.Minute
)

// Config is what a Stager is made of.
type Config struct {
	// Parallel is how many objects are under way at a time, for each job. RetryFor is how long a store may do nothing that helps
	// before a job is given up, Stall how long a connection may be silent. 0 is the default of each.
	Parallel        int
	RetryFor, Stall time.Duration
	// FirstPause is the pause before something is tried again, which doubles up to LastPause.
	FirstPause, LastPause time.Duration
	// Now returns the time.
	Now func() time.Time
}

// Stager moves the data of jobs. It is safe for concurrent use, for one transfer of a job at a time.
type Stager struct{ cfg Config }

// New returns a Stager. It starts nothing.
func New(cfg Config) *Stager {
	for _, setting := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{
		{&cfg.RetryFor, DefaultRetryFor},
		{&cfg.Stall, DefaultStall},
		{&cfg.FirstPause, 200 * time.Millisecond},
		{&cfg.LastPause, 10 * time.Second},
	} {
		if *setting.value == 0 {
			*setting.value = setting.fallback
		}
	}
	if cfg.Parallel == 0 {
		cfg.Parallel = DefaultParallel
	}
	return &Stager{cfg: cfg}
}

// Transfer is what is to be moved for one job.
type Transfer struct {
	// Bucket is where the objects are; its Name is set.
	Bucket      berth.Bucket
	Credentials berth.Credentials
	// Objects are keys, and beginnings of keys, within the vault.
	Objects []string
	// Data is the directory that the job finds at /data; it is there. Manifest is a file that the job cannot reach.
	Data, Manifest string
	// UID and GID get the files.
	UID, GID int
	// Judged says that somebody wants what is there, whatever it is.
	Judged bool
	// Tell is called now and then, by one goroutine at a time, with a sentence on how far it is. It must return soon.
	Tell func(sentence string)
}

// Refused says that a transfer can never succeed. Its text is for the user.
type Refused struct {
	Text string
	Err  error
}

func (r *Refused) Error() string { return r.Text }

// Unwrap returns the cause.
func (r *Refused) Unwrap() error { return r.Err }

func refusef(cause error, format string, args ...any) error {
	return &Refused{Text: fmt.Sprintf(format, args...), Err: cause}
}

// tellEvery is how often Tell is called.
const tellEvery = 2 * time.Second

// In brings what the transfer asks for. It returns a *Refused when that is not possible, and ctx.Err() when ctx ends; any other error
// is one of this machine. Called again, it brings what is missing and nothing twice.
func (s *Stager) In(ctx context.Context, t Transfer) (err error) {
	m, err := openManifest(t.Manifest)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	if m.complete && !m.rebooted() {
		return nil
	}
	client, err := s.connect(t)
	if err != nil {
		return err
	}
	defer client.close()
	if !m.planned {
		if err := s.plan(ctx, client, t, m); err != nil {
			return err
		}
	}
	if err := s.fetchAll(ctx, client, t, m); err != nil {
		return err
	}
	return m.finish()
}

// Out copies back what is new or changed since In. missing says, for people, what could not be copied and why; it is empty when nothing is
// missing. Nothing is copied that the machine may have lost a part of, unless somebody has judged it. The error is ctx.Err() when ctx ends;
// then, and when it is called again for what is missing, it goes on where it was.
func (s *Stager) Out(ctx context.Context, t Transfer) (missing string, err error) {
	m, err := openManifest(t.Manifest)
	if err != nil {
		return "what was brought is not known any more: " + err.Error(), nil
	}
	if !m.complete { // the server was brought here from another machine, without it
		return "what it has written is not on this server any more", m.close()
	}
	if !t.Judged && m.rebooted() {
		return "the machine ended before all was copied to the vault, and what the job has written may not be whole", m.close()
	}
	client, err := s.connect(t)
	if err != nil {
		return err.Error(), m.close()
	}
	defer client.close()
	failures, err := s.sendAll(ctx, client, t, m)
	if ctx.Err() != nil {
		return "", errors.Join(ctx.Err(), m.close())
	}
	if err != nil {
		failures.add("", err)
	}
	return failures.sentence(), m.close()
}
