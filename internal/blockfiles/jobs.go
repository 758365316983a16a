package blockfiles

import (
	"context"
	"errors"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/volume"
)

// wishedFor is how long a job is known to wait after it last said so. Who still waits tries again much sooner.
const wishedFor = 10 * time.Second

// Attach attaches a volume for a job, as volume.Volumes does. What the server has attached without using it goes for that, and open files that
// nobody uses are closed. *volume.Busy with the attempt volume.Server while its files are used in a way that excludes the job; no new use begins then.
func (f *Files) Attach(ctx context.Context, req volume.Request) (data string, err error) {
	a := f.of(req.Path)
	number, _ := berth.AttemptJob(req.Attempt)
	f.mu.Lock()
	a.wish = wish{job: number, readOnly: req.ReadOnly, until: time.Now().Add(wishedFor)}
	f.mu.Unlock()
	if err := f.take(ctx, a); err != nil {
		return "", err
	}
	defer a.give()
	if err := f.makeRoom(ctx, a, req.ReadOnly); err != nil {
		return "", err
	}
	data, err = f.cfg.Volumes.Attach(ctx, req)
	f.mu.Lock()
	defer f.mu.Unlock()
	a.wish = wish{} // it has the volume, or shall not have it, or waits for another job, which keeps uses away
	return data, err
}

// makeRoom detaches what is in the way of a job. The caller has the turn.
func (f *Files) makeRoom(ctx context.Context, a *attachment, readOnly bool) error {
	f.mu.Lock()
	shared, uses := readOnly && a.readOnly && a.data != "", len(a.uses)
	f.mu.Unlock()
	switch {
	case shared:
		return nil
	case uses > 0:
		f.recall(a)
		return f.busy(a)
	}
	return f.detach(ctx, a)
}

// Detach gives back what an attempt has.
func (f *Files) Detach(ctx context.Context, attempt string) error {
	return f.cfg.Volumes.Detach(ctx, attempt)
}

// Attempts lists the attempts that have a volume, the server's too.
func (f *Files) Attempts() ([]string, error) { return f.cfg.Volumes.Attempts() }

// Create makes a volume.
func (f *Files) Create(ctx context.Context, spec volume.Spec) (path string, err error) {
	return f.cfg.Volumes.Create(ctx, spec)
}

// Remove deletes a volume. *volume.Busy while somebody uses its files.
func (f *Files) Remove(ctx context.Context, path string) error {
	err := f.alone(ctx, path, func() error { return f.cfg.Volumes.Remove(ctx, path) })
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.vaults, path)
	return nil
}

// Repair makes the file system of a volume valid that was not closed properly. Errors are those of volume.Volumes.Attach.
func (f *Files) Repair(ctx context.Context, path string) error {
	a := f.of(path)
	return f.alone(ctx, path, func() error {
		f.claims(a)
		err := f.oneAtATime(ctx, func() error {
			_, err := f.cfg.Volumes.Attach(ctx, volume.Request{Path: path, Attempt: volume.Server, Force: true})
			return err
		})
		return errors.Join(err, f.detach(context.WithoutCancel(ctx), a))
	})
}

// ChangePassword gives an encrypted volume another password. Errors are those of volume.Volumes.Attach.
func (f *Files) ChangePassword(ctx context.Context, path, password, changed string) error {
	a := f.of(path)
	return f.alone(ctx, path, func() error {
		f.claims(a) // which may stay when the volume is not let go at once
		return f.oneAtATime(ctx, func() error {
			return f.cfg.Volumes.ChangePassword(ctx, volume.Request{Path: path, Attempt: volume.Server, Password: password}, changed)
		})
	})
}

// claims says that the server is about to make a claim: whatever becomes of it, it is looked for until it was detached. The caller has the turn.
func (f *Files) claims(a *attachment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a.claimed = true
}

// alone does something with a volume that the server has not attached. *volume.Busy while its files are used.
func (f *Files) alone(ctx context.Context, path string, do func() error) error {
	a := f.of(path)
	if err := f.take(ctx, a); err != nil {
		return err
	}
	defer a.give()
	if err := f.unused(ctx, a); err != nil {
		return err
	}
	if err := f.detach(ctx, a); err != nil {
		return err
	}
	return do()
}

// oneAtATime does something when nobody else works on a whole volume. Who waits until nobody uses the files of one keeps no others waiting.
func (f *Files) oneAtATime(ctx context.Context, do func() error) error {
	select {
	case f.working <- struct{}{}:
		defer func() { <-f.working }()
		return do()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run detaches what is not used any more until ctx ends; first what a server that was killed has left. Close does the rest.
func (f *Files) Run(ctx context.Context) error {
	left, err := f.cfg.Volumes.AttachedTo(volume.Server)
	if err != nil {
		f.cfg.Log.ErrorContext(ctx, "what is left attached was not found; it goes when it is used", "error", err)
	}
	for _, path := range left {
		f.of(path)
	}
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		f.runOnce(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// runOnce detaches what has not been used for a while.
func (f *Files) runOnce(ctx context.Context) {
	for _, a := range f.idle(f.cfg.Idle) {
		select {
		case a.turn <- struct{}{}:
		default:
			continue // somebody needs it
		}
		f.detachIdle(ctx, a)
		a.give()
	}
}

// detachIdle detaches what nobody uses. The caller has the turn.
func (f *Files) detachIdle(ctx context.Context, a *attachment) {
	f.mu.Lock()
	used := len(a.uses) > 0 || a.data != "" && time.Since(a.last) < f.cfg.Idle
	f.mu.Unlock()
	if used {
		return // somebody came in between
	}
	if err := f.detach(ctx, a); err != nil && ctx.Err() == nil {
		f.cfg.Log.WarnContext(ctx, "a block vault was not detached; trying again later", "volume", a.path, "error", err)
	}
}

// idle lists what nobody has used for so long, and what could not be detached, or was left by another server.
func (f *Files) idle(since time.Duration) (idle []*attachment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.vaults {
		if a.claimed && len(a.uses) == 0 && (a.data == "" || time.Since(a.last) >= since) {
			idle = append(idle, a)
		}
	}
	return idle
}

// Close detaches everything. Nobody uses anything any more; what is used nevertheless is detached by the next server.
func (f *Files) Close(ctx context.Context) (err error) {
	for _, a := range f.idle(0) {
		if errTurn := f.take(ctx, a); errTurn != nil {
			err = errors.Join(err, errTurn)
			continue
		}
		err = errors.Join(err, f.detach(ctx, a))
		a.give()
	}
	return err
}
