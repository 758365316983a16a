package reconcile

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/crashpoint"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/image"
	"github.com/berth-hpc/berth/internal/volume"
)

// dataPath is where jobs find their vault.
const dataPath = "/data"

// progressEvery is how often the progress of a pull is stored.
const progressEvery = 2 * time.Second

// start starts a placed job. The engine is asked first and tells when the attempt is there already, or when the image is not.
func (r *Reconciler) start(ctx context.Context, job berth.Job) (more bool, err error) {
	attempt, err := r.prepare(ctx, job)
	if busy, ok := errors.AsType[*volume.Busy](err); ok {
		return false, r.waitForVault(ctx, job, busy)
	}
	switch {
	case errors.Is(err, errInterrupted):
		return true, nil
	case errors.Is(err, engine.ErrRefused):
		return r.refuse(ctx, job, image.Reason(err))
	case errors.Is(err, errNoAddress):
		return false, r.waitForAddress(ctx, job)
	case err != nil:
		return false, r.trouble(ctx, job, err)
	}
	crashpoint.Here("reconcile.start.before")
	err = r.cfg.Engine.Start(ctx, attempt)
	crashpoint.Here("reconcile.start.after")
	switch {
	case err == nil:
		return r.begun(ctx, job)
	case errors.Is(err, engine.ErrExists):
		return r.adopt(ctx, job)
	case errors.Is(err, engine.ErrNotFound):
		return r.pull(ctx, job)
	case errors.Is(err, engine.ErrRefused):
		return r.refuse(ctx, job, image.Reason(err))
	default:
		return false, r.trouble(ctx, job, err)
	}
}

// trouble tells a job that it could not be started, for a reason that is the log's to tell.
func (r *Reconciler) trouble(ctx context.Context, job berth.Job, reason error) error {
	_, err := r.waits(ctx, job, berth.WaitResources, "the server could not start the job; trying again")
	return errors.Join(reason, err)
}

// addressAgain is how soon a job is looked at again that waits for a public address.
const addressAgain = 2 * time.Second

func (r *Reconciler) waitForAddress(ctx context.Context, job berth.Job) error {
	r.pokeAfter(job.Number, addressAgain)
	_, err := r.waits(ctx, job, berth.WaitResources, errNoAddress.Error())
	return err
}

// begun records the start of an attempt that was started just now. The engine tells when it exits, so there is no need to ask it at
// once, unless somebody wants the job to end or its time is over already.
func (r *Reconciler) begun(ctx context.Context, job berth.Job) (more bool, err error) {
	job, err = r.started(ctx, job, engine.Status{})
	if err != nil || job.Wish != berth.WishNone {
		return true, err
	}
	return r.limit(job), nil
}

// adopt finds out what became of an attempt that the engine has.
func (r *Reconciler) adopt(ctx context.Context, job berth.Job) (more bool, err error) {
	status, err := r.cfg.Engine.Status(ctx, job.Attempt)
	switch {
	case err != nil:
		return false, err // also when it is not found: the next step starts it again
	case status.Phase == engine.PhaseCreated:
		return true, r.cfg.Engine.Remove(ctx, job.Attempt)
	default:
		_, err := r.started(ctx, job, status)
		return true, err
	}
}

// refuse ends a job that can never be started.
func (r *Reconciler) refuse(ctx context.Context, job berth.Job, reason string) (more bool, err error) {
	return r.abandon(ctx, job, berth.Event{Kind: berth.EventRefused, Detail: reason})
}

// pull brings the image of a job, and tells the job's owner how far it is. Whoever asks for the job's end interrupts it.
func (r *Reconciler) pull(ctx context.Context, job berth.Job) (more bool, err error) {
	secret, err := r.cfg.Store.PullSecret(ctx, job.Number)
	if err != nil {
		return false, err
	}
	credentials, err := image.Credentials(secret, job.Image)
	if err != nil {
		return r.refuse(ctx, job, err.Error())
	}
	pulling, stop, err := r.beginInterruptible(ctx, job)
	if errors.Is(err, errInterrupted) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer stop()
	name := image.Familiar(job.Image)
	unanswered := "The registry of " + name + " does not answer as it should; trying again"
	tell := r.teller(pulling, job, berth.WaitImage)
	if job.WaitDetail != unanswered {
		tell("Pulling " + name)
	}
	err = r.cfg.Images.Pull(pulling, job.Image, credentials, r.progress(func(sentence string) { tell("Pulling " + name + ": " + sentence) }))
	switch {
	case err == nil, pulling.Err() != nil && ctx.Err() == nil:
		return true, nil
	case errors.Is(err, engine.ErrRefused):
		return r.refuse(ctx, job, image.Reason(err))
	default:
		tell(unanswered)
		return false, err
	}
}

// interruptible returns a context that ends with a wish for the job that came since this step began.
func (r *Reconciler) interruptible(ctx context.Context, number int64) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.workers[number]
	w.interrupt = cancel
	if w.wished {
		cancel()
	}
	return ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		w.interrupt = nil
		cancel()
	}
}

// progress calls tell now and then.
func (r *Reconciler) progress(tell func(string)) engine.Progress {
	var last time.Time
	return func(sentence string) {
		if now := r.cfg.Now(); now.Sub(last) >= progressEvery {
			last = now
			tell(sentence)
		}
	}
}

// waits stores what a job waits for, unless it says so.
func (r *Reconciler) waits(ctx context.Context, job berth.Job, wait berth.Wait, detail string) (berth.Job, error) {
	if job.Wait == wait && job.WaitDetail == detail {
		return job, nil
	}
	return r.apply(ctx, job, berth.Event{Kind: berth.EventWaiting, Wait: wait, Detail: detail})
}

// prepare makes everything that an attempt needs on the host. Safe to repeat.
func (r *Reconciler) prepare(ctx context.Context, job berth.Job) (engine.Attempt, error) {
	scratch, err := r.scratch(job)
	if err != nil {
		return engine.Attempt{}, err
	}
	data, err := r.data(ctx, job, scratch)
	if err != nil {
		return engine.Attempt{}, err
	}
	address, err := r.publicAddress(ctx, job)
	if err != nil {
		return engine.Attempt{}, err
	}
	spec, ports, err := r.spec(ctx, job, address)
	if err != nil {
		return engine.Attempt{}, err
	}
	dir := r.cfg.Dir(job.Number)
	workers, err := writeSpecs(dir, spec)
	if err != nil {
		return engine.Attempt{}, err
	}
	if err := makeOutput(dir); err != nil {
		return engine.Attempt{}, err
	}
	return engine.Attempt{
		ID: job.Attempt, Job: job.Number, Hostname: spec.Hostname, Image: job.Image,
		Cores: job.Need.Cores, RAM: job.Need.RAM, GPUs: job.Need.GPUs, Scratch: scratch, Dir: dir, Workers: workers, Hosts: job.Hosts,
		Mounts:  []engine.Mount{{Source: data, Target: dataPath, ReadOnly: job.Submission.Vault.ReadOnly}},
		Publish: publish(address, ports),
	}, nil
}

// scratch is what a job may have in its containers and its ephemeral vault together, in bytes; 0 is no bound. The error wraps
// engine.ErrRefused when that cannot be bounded: to run without would be to promise what is not true.
func (r *Reconciler) scratch(job berth.Job) (int64, error) {
	bound := cmp.Or(job.Scratch, r.cfg.Scratch)
	if bound == 0 {
		return 0, nil
	}
	if err := r.cfg.CheckScratch(); err != nil {
		return 0, image.RefuseBecause(err, "this server's disk cannot bound the scratch of the job")
	}
	return bound, nil
}

// makeOutput makes the empty output that an agent appends to. A job that was started and has none has one that was deleted.
func makeOutput(dir string) error {
	file, err := os.OpenFile(filepath.Join(dir, agentapi.OutputFile), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("output of a job: %w", err)
	}
	return file.Close()
}

// unfinished is added to the name of a file that is being written.
const unfinished = ".new"

// writeSpec leaves a whole specification or none: an agent may be reading it already when a server that was killed comes again.
func writeSpec(dir string, spec agentapi.Spec) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("directory of job %d: %w", spec.Job, err)
	}
	text, err := json.Marshal(spec) //nolint:gosec // secrets of the job, in a file of root's
	if err != nil {
		return fmt.Errorf("specification of job %d: %w", spec.Job, err)
	}
	path := filepath.Join(dir, agentapi.SpecFile)
	if err := os.WriteFile(path+unfinished, text, 0o600); err != nil {
		return fmt.Errorf("specification of job %d: %w", spec.Job, err)
	}
	if err := os.Rename(path+unfinished, path); err != nil {
		return fmt.Errorf("specification of job %d: %w", spec.Job, err)
	}
	return nil
}
