package reconcile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/crashpoint"
	"github.com/berth-hpc/berth/internal/image"
	"github.com/berth-hpc/berth/internal/staging"
)

// manifestFile is where the directory of a job has what is known of the objects that were brought for it.
const manifestFile = "staging.json"

// vault returns the vault of a job. The error wraps engine.ErrRefused when the job cannot have it any more.
func (r *Reconciler) vault(ctx context.Context, job berth.Job) (berth.Vault, error) {
	called := job.Submission.Vault.Name
	if called == berth.EphemeralVault {
		return berth.Vault{Name: called, Owner: job.Owner, Kind: berth.VaultEphemeral}, nil
	}
	owner, name := berth.SplitVaultName(called, job.Owner)
	v, err := r.cfg.Store.Vault(ctx, owner, name)
	if err == nil {
		if usable, readOnly := v.UsableBy(job.Owner, job.Team); !usable || readOnly && !job.Submission.Vault.ReadOnly {
			return v, image.Refuse("the vault %s is not shared with the team of the job any more", called)
		}
	}
	if berth.KindOf(err) == berth.NotFound {
		return v, image.RefuseBecause(err, "the vault %s is not there any more", called)
	}
	return v, err
}

// errInterrupted says that somebody wants the end of a job whose data is being brought.
var errInterrupted = errors.New("the job is to end")

// data returns the directory that a job finds at /data, with everything in it that the job asked for. The error wraps
// engine.ErrRefused when the job can never have it, is errInterrupted when it is to end meanwhile, and wraps a *volume.Busy as long as
// another attempt has the vault.
func (r *Reconciler) data(ctx context.Context, job berth.Job) (string, error) {
	v, err := r.vault(ctx, job)
	if err != nil {
		return "", err
	}
	if v.Kind.Block() {
		return r.attach(ctx, job, v)
	}
	data, err := r.cfg.Vaults.Prepare(v, job.Attempt)
	if err != nil || v.Kind != berth.VaultObject {
		return data, err
	}
	bringing, stop, err := r.beginInterruptible(ctx, job)
	if err != nil {
		return "", err
	}
	defer stop()
	t, err := r.transfer(ctx, job, v, r.teller(ctx, job, berth.WaitStagingIn))
	if err != nil {
		return "", err
	}
	err = r.cfg.Stager.In(bringing, t)
	if bringing.Err() != nil && ctx.Err() == nil {
		return "", errInterrupted
	}
	if refused, ok := errors.AsType[*staging.Refused](err); ok {
		return "", image.RefuseBecause(refused, "%s", refused.Text)
	}
	crashpoint.Here("reconcile.brought")
	return data, err
}

// beginInterruptible is interruptible for a job that nobody wants to end up to now; for others the error is errInterrupted.
func (r *Reconciler) beginInterruptible(ctx context.Context, job berth.Job) (interruptible context.Context, stop func(), err error) {
	interruptible, stop = r.interruptible(ctx, job.Number)
	latest, err := r.cfg.Store.Job(ctx, job.Number)
	if err == nil && latest.Wish != berth.WishNone {
		err = errInterrupted
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	return interruptible, stop, nil
}

// teller stores how far a pull or a transfer is, for one goroutine at a time. What cannot be stored is not worth a failed one.
func (r *Reconciler) teller(ctx context.Context, job berth.Job, wait berth.Wait) func(string) {
	return func(sentence string) {
		if told, err := r.waits(ctx, job, wait, sentence); err == nil {
			job = told
		}
	}
}

// transfer is the way of data between a vault and a job.
func (r *Reconciler) transfer(ctx context.Context, job berth.Job, v berth.Vault, tell func(string)) (staging.Transfer, error) {
	credentials, err := r.cfg.Store.VaultCredentials(ctx, v.Owner, v.Name)
	if err != nil {
		return staging.Transfer{}, err
	}
	data, err := r.cfg.Vaults.Prepare(v, job.Attempt)
	if err != nil {
		return staging.Transfer{}, err
	}
	dir := r.cfg.Dir(job.Number)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return staging.Transfer{}, fmt.Errorf("directory of job %d: %w", job.Number, err)
	}
	bucket, who := v.Bucket, identityOf(job)
	if bucket.Name == "" {
		bucket.Name = job.Submission.Vault.Bucket
	}
	return staging.Transfer{
		Bucket: bucket, Credentials: credentials, Objects: job.Submission.Vault.Objects,
		Data: data, Manifest: filepath.Join(dir, manifestFile), UID: who.UID, GID: who.GID,
		Tell: tell,
	}, nil
}

// goesBack says whether what a job has written is to be copied back after an exit. What an exit that is not known has left is kept: it
// may be half of something, and is for the user to judge.
func (r *Reconciler) goesBack(ctx context.Context, job berth.Job, exit berth.Exit) (bool, error) {
	request := job.Submission.Vault
	began := job.State == berth.StateRunning || job.State == berth.StateStopping
	if !began || request.ReadOnly || job.Wish == berth.WishTerminate || exit.Known && !exit.Ran || request.Name == berth.EphemeralVault {
		return false, nil
	}
	owner, name := berth.SplitVaultName(request.Name, job.Owner)
	v, err := r.cfg.Store.Vault(ctx, owner, name)
	if berth.KindOf(err) == berth.NotFound {
		return false, nil // it was a directory of the server: the others stay as long as a job needs them
	}
	return v.Kind == berth.VaultObject, err
}

// stageOut copies back what a job has left that has ended.
func (r *Reconciler) stageOut(ctx context.Context, job berth.Job) (more bool, err error) {
	if err := r.cfg.Engine.Remove(ctx, job.Attempt); err != nil { // nobody may write any more
		return false, err
	}
	out, stop := r.interruptible(ctx, job.Number)
	defer stop()
	latest, err := r.cfg.Store.Job(ctx, job.Number)
	if err != nil {
		return false, err
	}
	missing := ""
	switch {
	case latest.Wish == berth.WishTerminate:
	case job.End.Reason == berth.EndLost:
		missing = "what it has written was not copied to the vault"
	default:
		missing, err = r.copyBack(out, job, false, r.teller(ctx, job, berth.WaitStagingOut))
	}
	if out.Err() != nil && ctx.Err() == nil {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if missing != "" {
		missing += fmt.Sprintf("; it is kept on the server: berth vault save %d tries again, berth vault drop %d deletes it", job.Number, job.Number)
	}
	crashpoint.Here("reconcile.staged.before")
	_, err = r.apply(ctx, job, berth.Event{Kind: berth.EventStaged, Detail: missing})
	crashpoint.Here("reconcile.staged.after")
	return true, err
}

// copyBack copies what is new to the vault of a job and says what is missing then. judged says that somebody wants it as it is.
func (r *Reconciler) copyBack(ctx context.Context, job berth.Job, judged bool, tell func(string)) (missing string, err error) {
	owner, name := berth.SplitVaultName(job.Submission.Vault.Name, job.Owner)
	v, err := r.cfg.Store.Vault(ctx, owner, name)
	switch {
	case berth.KindOf(err) == berth.NotFound || err == nil && v.Kind != berth.VaultObject:
		return "the vault is not there any more", nil
	case err != nil:
		return "", err
	}
	t, err := r.transfer(ctx, job, v, tell)
	if err != nil {
		return "", err
	}
	t.Judged = judged
	return r.cfg.Stager.Out(ctx, t)
}

// mayKeep says whether a job has ended so that its data may be kept.
func mayKeep(job berth.Job) bool {
	return job.End.Reason == berth.EndNotSaved || job.End.Reason == berth.EndLost
}

// keeps says whether the data of an ended job stays, after it has done what somebody wishes for it.
func (r *Reconciler) keeps(ctx context.Context, job berth.Job) (bool, error) {
	if !mayKeep(job) {
		return false, nil
	}
	saving, stop := r.interruptible(ctx, job.Number)
	defer stop()
	kept, found, err := r.cfg.Store.Kept(ctx, job.Number)
	if err != nil || !found || kept.Wish != berth.KeptWishSave {
		return found && kept.Wish != berth.KeptWishDrop, err
	}
	missing, err := r.copyBack(saving, job, true, func(string) {})
	if saving.Err() != nil && ctx.Err() == nil {
		return true, nil // somebody wishes something else, and has had this job looked at again
	}
	if err != nil {
		return true, err
	}
	// What was saved is dropped: a crash between the two must find nothing else to do.
	kept.Wish, kept.Detail = berth.KeptWishDrop, ""
	if missing != "" {
		kept.Wish, kept.Detail = berth.KeptWishNone, missing
	}
	if err := r.cfg.Store.SetKept(ctx, kept); err != nil {
		return true, err
	}
	crashpoint.Here("reconcile.saved")
	return missing != "", nil
}
