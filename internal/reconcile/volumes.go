package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/crashpoint"
	"github.com/berth-hpc/berth/internal/image"
	"github.com/berth-hpc/berth/internal/seal"
	"github.com/berth-hpc/berth/internal/volume"
)

// Volumes attaches block vaults, see packages volume and blockfiles. All methods are safe to repeat.
type Volumes interface {
	Attach(ctx context.Context, req volume.Request) (data string, err error)
	Detach(ctx context.Context, attempt string) error
	Attempts() ([]string, error)
}

// attach returns the directory of a block vault that a job finds at /data. The error wraps engine.ErrRefused when the job can never have
// it, is errInterrupted when the job is to end meanwhile, and wraps a *volume.Busy as long as another attempt has the vault.
func (r *Reconciler) attach(ctx context.Context, job berth.Job, v berth.Vault) (string, error) {
	request := job.Submission.Vault
	password, err := r.vaultPassword(ctx, job, v)
	if err != nil {
		return "", err
	}
	attaching, stop, err := r.beginInterruptible(ctx, job)
	if err != nil {
		return "", err
	}
	defer stop()
	crashpoint.Here("reconcile.attach.before")
	data, err := r.cfg.Volumes.Attach(attaching, volume.Request{
		Path: v.Path, Attempt: job.Attempt, ReadOnly: request.ReadOnly, Force: request.Force, Password: password,
	})
	crashpoint.Here("reconcile.attach.after")
	switch {
	case attaching.Err() != nil && ctx.Err() == nil:
		return "", errInterrupted
	case errors.Is(err, volume.ErrPassword):
		return "", image.RefuseBecause(err, "the password of the vault %s is wrong", request.Name)
	case errors.Is(err, volume.ErrUnclean):
		return "", image.RefuseBecause(err,
			`the filesystem of the vault %s was not closed properly: submit the job again with "force": true in its vault (berth: --vault-force), which repairs it`,
			request.Name)
	case errors.Is(err, volume.ErrDamaged):
		r.cfg.Log.ErrorContext(ctx, "a block vault cannot be read; its job is refused", "job", job.Number, "volume", v.Path, "error", err)
		return "", image.RefuseBecause(err, "the filesystem of the vault %s is damaged: ask an administrator of the server, whose log says more", request.Name)
	}
	if refused, ok := errors.AsType[*berth.Error](err); ok && (refused.Kind == berth.NotFound || refused.Kind == berth.Unsupported) {
		return "", image.RefuseBecause(err, "%s", refused.Public())
	}
	return data, err
}

// vaultPassword returns the password of a job's vault, empty for one that needs none.
func (r *Reconciler) vaultPassword(ctx context.Context, job berth.Job, v berth.Vault) (string, error) {
	if !v.Volume.Encrypted {
		return "", nil
	}
	called := job.Submission.Vault.Name
	sealed, err := r.cfg.Store.VaultPassword(ctx, job.Number)
	if err != nil {
		return "", err
	}
	password, err := r.cfg.Unseal(sealed, berth.FullVaultName(called, job.Owner))
	if errors.Is(err, seal.ErrUnreadable) {
		return "", image.RefuseBecause(err, "the password of the vault %s can no longer be read, for it came to another server: submit the job again", called)
	}
	return password, err
}

// busyAgain is how soon a job is looked at again whose vault somebody still has: another attempt, which has ended, so that what is left to do
// is done soon, or a transfer of files, beside which no other begins.
const busyAgain = time.Second

// waitForVault tells a job who has its vault.
func (r *Reconciler) waitForVault(ctx context.Context, job berth.Job, busy *volume.Busy) error {
	r.pokeAfter(job.Number, busyAgain)
	detail := fmt.Sprintf("the vault %s is still in use", job.Submission.Vault.Name)
	if len(busy.Attempts) > 0 {
		number, ok := berth.AttemptJob(busy.Attempts[0])
		switch {
		case ok:
			detail += fmt.Sprintf(" after job %d", number)
		case busy.Attempts[0] == volume.Server:
			detail = fmt.Sprintf("files of the vault %s are being transferred", job.Submission.Vault.Name)
		}
	}
	if job.Wait == berth.WaitVault && job.WaitDetail == detail {
		return nil
	}
	_, err := r.waits(ctx, job, berth.WaitVault, detail)
	return err
}

// detach gives back the block vault of an ended job. While something still uses the mount it fails, and is tried again.
func (r *Reconciler) detach(ctx context.Context, job berth.Job) error {
	if !job.Submission.Vault.Kind.Block() {
		return nil
	}
	if err := r.cfg.Volumes.Detach(ctx, job.Attempt); err != nil {
		return fmt.Errorf("vault of job %d: %w", job.Number, err)
	}
	return nil
}
