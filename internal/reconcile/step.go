package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/crashpoint"
	"github.com/berth-hpc/berth/internal/engine"
)

// step brings a job one hop on. more says that the next hop can follow at once. An error means that nothing is known: the same
// hop is tried again.
func (r *Reconciler) step(ctx context.Context, number int64) (more bool, err error) {
	job, err := r.cfg.Store.Job(ctx, number)
	if err != nil {
		return false, err
	}
	switch job.State {
	case berth.StateStarting:
		if job.Wish != berth.WishNone {
			return r.abandon(ctx, job, berth.Event{Kind: berth.EventEnded, Exit: berth.Exit{Known: true}})
		}
		return r.start(ctx, job)
	case berth.StateRunning, berth.StateStopping:
		return r.watch(ctx, job)
	case berth.StateStagingOut:
		return r.stageOut(ctx, job)
	case berth.StateQueued: // the scheduler's
	case berth.StateCompleted, berth.StateFailed, berth.StateTerminated, berth.StateCanceled:
		if job.Attempt != "" {
			return false, r.clean(ctx, job)
		}
	}
	return false, nil
}

// abandon ends a job that was not seen running, by ev. One that the engine runs, or has run, goes on: its start was not stored, because
// the server was killed or the engine did not know.
func (r *Reconciler) abandon(ctx context.Context, job berth.Job, ev berth.Event) (more bool, err error) {
	status, err := r.cfg.Engine.Status(ctx, job.Attempt)
	switch {
	case errors.Is(err, engine.ErrNotFound):
		return true, r.conclude(ctx, job, ev)
	case err != nil:
		return false, err
	case status.Phase == engine.PhaseCreated:
		if err := r.cfg.Engine.Remove(ctx, job.Attempt); err != nil {
			return false, err
		}
		return true, r.conclude(ctx, job, ev)
	default:
		_, err := r.started(ctx, job, status)
		return true, err
	}
}

// watch looks at a job whose container was started: it carries out a wish, enforces the walltime and sees the end.
func (r *Reconciler) watch(ctx context.Context, job berth.Job) (more bool, err error) {
	status, err := r.cfg.Engine.Status(ctx, job.Attempt)
	switch {
	case errors.Is(err, engine.ErrNotFound):
		return r.forgotten(ctx, job)
	case err != nil:
		return false, err
	case status.Phase == engine.PhaseExited:
		return true, r.end(ctx, job, status.Exit, status.Ended)
	case status.Failed != "":
		return false, r.failNode(ctx, job, status)
	case status.Phase == engine.PhaseCreated:
		return true, r.end(ctx, job, berth.Exit{}, time.Time{}) // it was started once, and must not be started twice
	}
	if r.limit(job) {
		_, err := r.apply(ctx, job, berth.Event{Kind: berth.EventTerminateRequested, By: berth.WishByWalltime})
		return true, err
	}
	return false, r.carryOut(ctx, job)
}

// failNode ends what is left of an attempt of which a node has failed. The engine says so again when the first node has ended.
func (r *Reconciler) failNode(ctx context.Context, job berth.Job, status engine.Status) error {
	r.cfg.Log.WarnContext(ctx, "a node of the job ended while its command ran; ending the job", "job", job.Number, "node", status.Failed,
		"detail", status.Detail)
	err := r.cfg.Engine.Stop(ctx, job.Attempt, 0)
	if errors.Is(err, engine.ErrNotFound) {
		return nil
	}
	return err
}

// limit says whether the walltime of a job is over. Otherwise it has the job looked at again when it will be.
func (r *Reconciler) limit(job berth.Job) (over bool) {
	deadline, ok := job.Deadline(r.cfg.SuspendedFree)
	if !ok || job.Wish == berth.WishTerminate {
		return false
	}
	left := deadline.Sub(r.cfg.Now())
	if left > 0 {
		r.pokeAfter(job.Number, left)
	}
	return left <= 0
}

// carryOut tells the engine to end a job that somebody wants to end. Telling it twice is safe, so a crash in between is too.
func (r *Reconciler) carryOut(ctx context.Context, job berth.Job) error {
	grace := r.grace(job)
	switch job.Wish {
	case berth.WishNone:
		return nil
	case berth.WishTerminate:
		grace = 0
	case berth.WishStop:
	}
	crashpoint.Here("reconcile.stop.before")
	if err := r.cfg.Engine.Stop(ctx, job.Attempt, grace); err != nil && !errors.Is(err, engine.ErrNotFound) {
		return err
	}
	crashpoint.Here("reconcile.stop.after")
	if job.State == berth.StateStopping {
		return nil
	}
	_, err := r.apply(ctx, job, berth.Event{Kind: berth.EventStopping})
	return err
}

// grace is how long the command of a job may take to end after a shutdown.
func (r *Reconciler) grace(job berth.Job) time.Duration { return cmp.Or(job.Grace, r.cfg.Grace) }

// forgotten ends a job whose attempt the engine has forgotten, by the exit that the agent left on disk. Without it the exit is not known.
func (r *Reconciler) forgotten(ctx context.Context, job berth.Job) (more bool, err error) {
	report, err := agentapi.ReadReport(r.cfg.Dir(job.Number))
	if _, unread := errors.AsType[*fs.PathError](err); unread && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	exit := berth.Exit{Detail: "the engine no longer knows the container and the agent left no report"}
	if err == nil && !report.Ended.IsZero() {
		exit = engine.ExitOf(report)
	}
	return true, r.end(ctx, job, exit, report.Ended)
}

// started records the start of an attempt that the engine runs or has run.
func (r *Reconciler) started(ctx context.Context, job berth.Job, status engine.Status) (berth.Job, error) {
	at := status.Started
	if at.IsZero() {
		at = r.cfg.Now()
	}
	crashpoint.Here("reconcile.started.before")
	job, err := r.applyAt(ctx, job, berth.Event{Kind: berth.EventStarted, At: at})
	crashpoint.Here("reconcile.started.after")
	return job, err
}

// end records the end of a job; at is when that was, zero when nobody knows. All of its output is on disk by then: the agent ends
// after it has written it. What the attempt left behind is removed in the next step, so that a crash in between leaves something to
// remove and nothing to guess.
func (r *Reconciler) end(ctx context.Context, job berth.Job, exit berth.Exit, at time.Time) error {
	kind := berth.EventEnded
	back, err := r.goesBack(ctx, job, exit)
	if err != nil {
		return err
	}
	if back {
		kind = berth.EventStaging
	}
	return r.conclude(ctx, job, berth.Event{Kind: kind, Exit: exit, At: at})
}

// conclude stores the event that ends a job's attempt. Its time is now, unless it has one that can be true: a job that ended while
// the server was down has not run on since, and is not to be paid for, and a clock may have been set.
func (r *Reconciler) conclude(ctx context.Context, job berth.Job, ev berth.Event) error {
	if now := r.cfg.Now(); ev.At.IsZero() || ev.At.Before(job.Started) || ev.At.After(now) {
		ev.At = now
	}
	crashpoint.Here("reconcile.ended.before")
	_, err := r.applyAt(ctx, job, ev)
	crashpoint.Here("reconcile.ended.after")
	return err
}

// clean removes what an ended job left behind, except its output and what somebody may still want to save. Safe to repeat.
func (r *Reconciler) clean(ctx context.Context, job berth.Job) error {
	r.forgetTimer(job.Number)
	dir := r.cfg.Dir(job.Number)
	// First the files, some of which are secret: when the engine has forgotten the attempt, nothing makes the next server look for what a
	// killed one left, but for a directory of the attempt's own.
	if err := removeFiles(job, dir); err != nil {
		return err
	}
	if err := r.cfg.Engine.Remove(ctx, job.Attempt); err != nil {
		return err
	}
	crashpoint.Here("reconcile.removed")
	if err := r.detach(ctx, job); err != nil {
		return err
	}
	r.promises.forget(job.Attempt)
	keeps, err := r.keeps(ctx, job)
	if err != nil || keeps {
		return err
	}
	if err := os.Remove(filepath.Join(dir, manifestFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove what job %d left: %w", job.Number, err)
	}
	if err := r.cfg.Vaults.Release(job.Attempt); err != nil {
		return err
	}
	if mayKeep(job) {
		return r.cfg.Store.DeleteKept(ctx, job.Number)
	}
	return nil
}

func (r *Reconciler) apply(ctx context.Context, job berth.Job, ev berth.Event) (berth.Job, error) {
	ev.At = r.cfg.Now()
	return r.applyAt(ctx, job, ev)
}

// applyAt stores an event and returns the job as it is then. An event that the job's state no longer allows is not an error: the
// next step sees what is there.
func (r *Reconciler) applyAt(ctx context.Context, job berth.Job, ev berth.Event) (berth.Job, error) {
	latest, err := r.cfg.Store.Apply(ctx, job.Number, ev)
	if refused, ok := errors.AsType[*berth.StateError](err); ok {
		r.cfg.Log.InfoContext(ctx, "the job changed meanwhile", "job", job.Number, "event", string(ev.Kind), "state", string(refused.State))
		return r.cfg.Store.Job(ctx, job.Number)
	}
	return latest, err
}
