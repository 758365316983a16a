package control

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/blockfiles"
	"github.com/berth-hpc/berth/internal/crashpoint"
	"github.com/berth-hpc/berth/internal/volume"
)

// minPassword and maxPassword bound passwords of vaults, in characters.
const minPassword, maxPassword = 8, 256

// Volumes are what block vaults are made of; *blockfiles.Files says what the methods do.
type Volumes interface {
	Create(ctx context.Context, spec volume.Spec) (path string, err error)
	Remove(ctx context.Context, path string) error
	Repair(ctx context.Context, path string) error
	ChangePassword(ctx context.Context, path, password, changed string) error
}

// checkVolume refuses what cannot be a block vault, without showing its password, and says how many images it has.
func (s *Service) checkVolume(caller berth.Caller, v *berth.Vault, req VaultRequest) error {
	if !s.makesVolumes(caller) {
		return errVaultsByAdmin
	}
	least, most := 1, 1
	if v.Kind == berth.VaultBlockArray {
		least, most = 2, volume.MaxImages
	}
	if v.Volume.Images == 0 {
		v.Volume.Images = least
	}
	v.Volume.Encrypted = req.Password != ""
	switch {
	case v.Volume.Size < volume.MinSize || v.Volume.Size > berth.MaxVolume:
		return invalid("size", "%d is not within %d to %d bytes", v.Volume.Size, int64(volume.MinSize), int64(berth.MaxVolume))
	case v.Volume.Images < least || v.Volume.Images > most:
		return invalid("images", "%d is not within %d to %d, which a vault of kind %s may have", v.Volume.Images, least, most, v.Kind)
	case v.Volume.Encrypted:
		return checkPassword("password", req.Password)
	}
	return nil
}

// checkPassword refuses what cannot be the password of a vault, without showing it.
func checkPassword(field, password string) error {
	length := utf8.RuneCountInString(password)
	if length < minPassword || length > maxPassword || !utf8.ValidString(password) || !printable(password) {
		return invalid(field, "it must have %d to %d printable characters", minPassword, maxPassword)
	}
	return nil
}

// makesVolumes says whether block vaults are the caller's to make and remove.
func (s *Service) makesVolumes(caller berth.Caller) bool {
	return caller.User.Admin || s.cfg.UserVolumes > 0
}

// addBlockVault makes the volume of a vault, and then the vault: one that is known is complete. What a crash leaves in between is removed
// at the next start. One is made at a time, so that what is refused for the limits of its owner takes no room meanwhile.
func (s *Service) addBlockVault(ctx context.Context, caller berth.Caller, v berth.Vault, password string) (berth.Vault, error) {
	done, err := s.volumeTurn(ctx)
	if err != nil {
		return berth.Vault{}, err
	}
	defer done()
	if err := s.mayAdd(ctx, caller, v); err != nil {
		return berth.Vault{}, err
	}
	v.Path, err = s.cfg.Volumes.Create(ctx, volume.Spec{Size: v.Volume.Size, Images: v.Volume.Images, Password: password})
	if err != nil {
		return berth.Vault{}, err
	}
	crashpoint.Here("control.volume")
	ctx = context.WithoutCancel(ctx) // it is there: who does not wait for the answer finds it
	if err = s.storeVault(ctx, caller, v, berth.Credentials{}); err == nil {
		return v, nil
	}
	if refused(err) {
		err = errors.Join(err, s.cfg.Volumes.Remove(ctx, v.Path))
	}
	return berth.Vault{}, err
}

// volumeTurn waits until nobody else makes a volume, which takes memory and time of the machine, and has others wait until done is called.
func (s *Service) volumeTurn(ctx context.Context) (done func(), err error) {
	select {
	case s.volumes <- struct{}{}:
		return func() { <-s.volumes }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// refused says that the store has definitely not stored what it was given. Otherwise the commit may be on disk.
func refused(err error) bool {
	switch berth.KindOf(err) {
	case berth.Conflict, berth.LimitReached, berth.NotFound, berth.Invalid:
		return true
	default:
		return false
	}
}

// mayAdd refuses a vault that the store would refuse.
func (s *Service) mayAdd(ctx context.Context, caller berth.Caller, v berth.Vault) error {
	if _, err := s.cfg.Store.User(ctx, v.Owner); err != nil {
		return named(err, msgNoUser)
	}
	return s.cfg.Store.VaultAllowed(ctx, v, s.vaultLimits(caller))
}

// removeBlockVault deletes a volume and then forgets its vault. As long as the vault is known all of it can be tried again.
func (s *Service) removeBlockVault(ctx context.Context, caller berth.Caller, v berth.Vault, data bool) error {
	if !s.makesVolumes(caller) {
		return errVaultsByAdmin
	}
	if !data {
		return &berth.Error{
			Kind: berth.Conflict, Msg: "The vault may not be empty",
			Detail: "remove it with its data (--with-data)",
		}
	}
	if err := s.cfg.Store.VaultUnused(ctx, v.Owner, v.Name); err != nil {
		return err
	}
	err := s.cfg.Volumes.Remove(ctx, v.Path)
	if err != nil {
		return fmt.Errorf("remove vault %s of %s: %w", v.Name, v.Owner, blockfiles.Refusal(err))
	}
	crashpoint.Here("control.volume.removed")
	return s.forgetVault(ctx, caller, v)
}

// RepairVault makes the file system of a block vault of the caller, or any for administrators, valid that was not closed properly, as a job with
// "force" does. What is missing then is for its user to judge. Conflict while somebody has the vault.
func (s *Service) RepairVault(ctx context.Context, caller berth.Caller, called string) error {
	v, err := s.changeableVault(ctx, caller, called)
	if err != nil {
		return err
	}
	switch {
	case !v.Kind.Block():
		return berth.Errorf(berth.Conflict, "Only block vaults are repaired")
	case v.Volume.Encrypted:
		return berth.Errorf(berth.Unsupported, "An encrypted vault is repaired by a job with \"force\": true in its vault")
	}
	// Who does not wait for the answer has it repaired all the same: it would be begun anew otherwise.
	return blockfiles.Refusal(s.cfg.Volumes.Repair(context.WithoutCancel(ctx), v.Path))
}

// ChangeVaultPassword gives an encrypted vault of the caller, or any for administrators, another password. Jobs that were submitted with the
// old one are refused when they are to start. Invalid for an old one that is wrong; Conflict while a job has the vault.
func (s *Service) ChangeVaultPassword(ctx context.Context, caller berth.Caller, called, password, changed string) error {
	v, err := s.changeableVault(ctx, caller, called)
	if err != nil {
		return err
	}
	if !v.Volume.Encrypted {
		return berth.Errorf(berth.Conflict, "Only encrypted vaults have a password")
	}
	if err := checkPassword("new_password", changed); err != nil {
		return err
	}
	if password == "" {
		return errWrongPassword
	}
	ctx = context.WithoutCancel(ctx) // what is begun comes to its end, and to the audit log
	err = s.cfg.Volumes.ChangePassword(ctx, v.Path, password, changed)
	switch {
	case errors.Is(err, volume.ErrPassword):
		return errWrongPassword
	case errors.Is(err, volume.ErrUnclean):
		return &berth.Error{
			Kind: berth.Conflict, Msg: "The filesystem of the vault was not closed properly",
			Detail: "a job with \"force\": true in its vault repairs it", Err: err,
		}
	case err != nil:
		return fmt.Errorf("password of vault %s of %s: %w", v.Name, v.Owner, blockfiles.Refusal(err))
	}
	crashpoint.Here("control.password.changed")
	act := s.act(caller, berth.ActVaultChanged, v.Name+"@"+v.Owner, vaultDetail(v)+" password changed")
	return s.cfg.Store.ChangeVault(ctx, v, nil, act)
}

var errWrongPassword = invalid("password", "it is not that of the vault")
