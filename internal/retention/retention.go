// Package retention forgets what the server need not keep for ever: idempotency keys, outputs of jobs that ended long ago, which it
// compresses before that, and uploads that nobody continues.
package retention

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

const (
	// keysKept is how long a repeated submission is recognised by its idempotency key.
	keysKept = 24 * time.Hour
	// UploadsKept is how long an upload that broke off can be continued.
	UploadsKept = 7 * 24 * time.Hour
	// page is how many outputs are looked at together, and keysAtOnce how many keys are forgotten: submissions wait a few hundredths of a
	// second for it.
	page       = 100
	keysAtOnce = 2000
)

// Store is what is cleaned.
type Store interface {
	DeleteIdempotencyKeys(ctx context.Context, before time.Time, limit int) (int, error)
	Outputs(ctx context.Context, form store.OutputForm, after store.Output, before time.Time, limit int) ([]store.Output, error)
	OutputBytes(ctx context.Context) (int64, error)
	SetOutput(ctx context.Context, output store.Output) error
}

// Files are the outputs of jobs. Both methods are safe to repeat.
type Files interface {
	// Compress returns what the output has on disk then.
	Compress(number int64) (size int64, err error)
	Delete(number int64) error
}

// Config is what a Cleaner is made of. All is required, unless it says otherwise.
type Config struct {
	Store Store
	Files Files
	// ForgetUploads forgets the uploads that nobody has continued since a time.
	ForgetUploads func(ctx context.Context, before time.Time) error
	Now           func() time.Time
	// Every is how often it cleans.
	Every time.Duration
	// CompressAfter is how long after the end of its job an output is compressed.
	CompressAfter time.Duration
	// KeepFor is how long after the end of its job an output is kept; 0 is for ever.
	KeepFor time.Duration
	// KeepBytes bounds what the compressed outputs have on disk together: the oldest go first. 0 is no bound.
	KeepBytes int64
	Log       *slog.Logger
}

// Cleaner forgets what is old. One runs at a time.
type Cleaner struct{ cfg Config }

// New returns a Cleaner. It starts nothing.
func New(cfg Config) *Cleaner { return &Cleaner{cfg: cfg} }

// Run cleans at once and then now and again, until ctx ends.
func (c *Cleaner) Run(ctx context.Context) error {
	tick := time.NewTicker(c.cfg.Every)
	defer tick.Stop()
	for {
		if err := c.runOnce(ctx); err != nil && ctx.Err() == nil {
			c.cfg.Log.ErrorContext(ctx, "not everything that is old was cleaned; trying again later", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// runOnce does what it can: a full disk stops the compression, and nothing else.
func (c *Cleaner) runOnce(ctx context.Context) error {
	now := c.cfg.Now()
	return errors.Join(
		c.forgetKeys(ctx, now.Add(-keysKept)),
		c.forgetUploads(ctx, now.Add(-UploadsKept)),
		c.deleteOld(ctx, now),
		c.compress(ctx, now),
		c.deleteBeyond(ctx, now),
	)
}

func (c *Cleaner) forgetKeys(ctx context.Context, before time.Time) error {
	for {
		n, err := c.cfg.Store.DeleteIdempotencyKeys(ctx, before, keysAtOnce)
		if err != nil {
			return fmt.Errorf("forget idempotency keys: %w", err)
		}
		if n < keysAtOnce {
			return nil
		}
	}
}

func (c *Cleaner) forgetUploads(ctx context.Context, before time.Time) error {
	if err := c.cfg.ForgetUploads(ctx, before); err != nil {
		return fmt.Errorf("forget uploads: %w", err)
	}
	return nil
}

// compress compresses what is old enough.
func (c *Cleaner) compress(ctx context.Context, now time.Time) error {
	return c.each(ctx, store.OutputPlain, now.Add(-c.cfg.CompressAfter), func(o store.Output) error {
		size, err := c.cfg.Files.Compress(o.Number)
		if err != nil {
			return err
		}
		o.Form, o.Size, o.Changed = store.OutputCompressed, size, now
		return c.cfg.Store.SetOutput(ctx, o)
	})
}

// deleteOld deletes what has been kept for long enough, in whichever form.
func (c *Cleaner) deleteOld(ctx context.Context, now time.Time) error {
	if c.cfg.KeepFor == 0 {
		return nil
	}
	before, remove := now.Add(-c.cfg.KeepFor), func(o store.Output) error { return c.remove(ctx, o, now) }
	return errors.Join(c.each(ctx, store.OutputPlain, before, remove), c.each(ctx, store.OutputCompressed, before, remove))
}

// deleteBeyond deletes the oldest until the others are few enough.
func (c *Cleaner) deleteBeyond(ctx context.Context, now time.Time) error {
	if c.cfg.KeepBytes == 0 {
		return nil
	}
	total, err := c.cfg.Store.OutputBytes(ctx)
	if err != nil || total <= c.cfg.KeepBytes {
		return err
	}
	err = c.each(ctx, store.OutputCompressed, now, func(o store.Output) error {
		if total <= c.cfg.KeepBytes {
			return errEnough
		}
		total -= o.Size
		return c.remove(ctx, o, now)
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// errEnough ends a pass early.
var errEnough = errors.New("enough")

// remove deletes the files first: a crash in between leaves the row, and the next pass deletes them once more.
func (c *Cleaner) remove(ctx context.Context, o store.Output, now time.Time) error {
	if err := c.cfg.Files.Delete(o.Number); err != nil {
		return err
	}
	o.Form, o.Size, o.Changed = store.OutputDeleted, 0, now
	if err := c.cfg.Store.SetOutput(ctx, o); err != nil {
		return err
	}
	c.cfg.Log.InfoContext(ctx, "output deleted", "job", o.Number, "ended", o.Ended)
	return nil
}

// each does something to every output of a form that is older than a time. One that fails is left for the next pass; a full disk ends
// this one.
func (c *Cleaner) each(ctx context.Context, form store.OutputForm, before time.Time, do func(store.Output) error) error {
	var last store.Output
	for {
		outputs, err := c.cfg.Store.Outputs(ctx, form, last, before, page)
		if err != nil || len(outputs) == 0 {
			return err
		}
		for _, output := range outputs {
			err := do(output)
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case errors.Is(err, errEnough), errors.Is(err, syscall.ENOSPC), berth.KindOf(err) == berth.Unavailable:
				return err
			case err != nil:
				c.cfg.Log.WarnContext(ctx, "output is left as it is; trying again later", "job", output.Number, "error", err)
			}
		}
		last = outputs[len(outputs)-1]
	}
}
