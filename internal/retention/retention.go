// Package retention forgets what the server need not keep for ever.
package retention

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// keysKept is how long a repeated submission is recognised by its idempotency key.
const keysKept = 24 * time.Hour

// Store is what is cleaned.
type Store interface {
	DeleteIdempotencyKeys(ctx context.Context, before time.Time) (int, error)
}

// Config is what a Cleaner is made of. All is required.
type Config struct {
	Store Store
	Now   func() time.Time
	// Every is how often it cleans.
	Every time.Duration
	Log   *slog.Logger
}

// Cleaner forgets idempotency keys of submissions that are older than a day. One runs at a time.
type Cleaner struct{ cfg Config }

// New returns a Cleaner. It starts nothing.
func New(cfg Config) *Cleaner { return &Cleaner{cfg: cfg} }

// Run cleans at once and then now and again, until ctx ends.
func (c *Cleaner) Run(ctx context.Context) error {
	tick := time.NewTicker(c.cfg.Every)
	defer tick.Stop()
	for {
		if err := c.runOnce(ctx); err != nil && ctx.Err() == nil {
			c.cfg.Log.ErrorContext(ctx, "old idempotency keys are kept; trying again later", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (c *Cleaner) runOnce(ctx context.Context) error {
	n, err := c.cfg.Store.DeleteIdempotencyKeys(ctx, c.cfg.Now().Add(-keysKept))
	if err != nil {
		return fmt.Errorf("forget idempotency keys: %w", err)
	}
	if n > 0 {
		c.cfg.Log.DebugContext(ctx, "idempotency keys forgotten", "count", n)
	}
	return nil
}
