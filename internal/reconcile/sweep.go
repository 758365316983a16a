package reconcile

import (
	"context"
	"fmt"

	"github.com/berth-hpc/berth"
)

// sweep removes what ended jobs left behind when the server was killed between storing an end and cleaning up. Only what the
// store definitely knows as ended is removed: an attempt that the store does not know may be another server's.
func (r *Reconciler) sweep(ctx context.Context) error {
	statuses, err := r.cfg.Engine.List(ctx)
	if err != nil {
		return fmt.Errorf("list the engine's attempts: %w", err)
	}
	leftovers, err := r.cfg.Vaults.Attempts()
	if err != nil {
		return err
	}
	attached, err := r.cfg.Volumes.Attempts()
	if err != nil {
		return err
	}
	leftovers = append(leftovers, attached...)
	for _, status := range statuses {
		leftovers = append(leftovers, status.ID)
	}
	for _, attempt := range leftovers {
		if err := r.sweepAttempt(ctx, attempt); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reconciler) sweepAttempt(ctx context.Context, attempt string) error {
	number, ok := berth.AttemptJob(attempt)
	if !ok {
		return nil // not ours
	}
	job, err := r.cfg.Store.Job(ctx, number)
	switch {
	case berth.KindOf(err) == berth.NotFound || err == nil && job.Attempt != attempt:
		r.cfg.Log.WarnContext(ctx, "something is left of an attempt that the store does not know; leaving it alone", "attempt", attempt)
		return nil
	case err != nil:
		return fmt.Errorf("job of attempt %s: %w", attempt, err)
	case job.State.Final():
		r.poke(number)
	}
	return nil
}
