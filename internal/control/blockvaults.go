package control

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/crashpoint"
	"github.com/berth-hpc/berth/internal/volume"
)

// minPassword and maxPassword bound passwords of vaults, in characters.
const minPassword, maxPassword = 8, 256

// Volumes are what block vaults are made of; *volume.Volumes says what the methods do.
type Volumes interface {
	Create(ctx context.Context, spec volume.Spec) (path string, err error)
	Remove(ctx context.Context, path string) error
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
	length := utf8.RuneCountInString(req.Password)
	switch {
	case v.Volume.Size < volume.MinSize || v.Volume.Size > berth.MaxVolume:
		return invalid("size", "%d is not within %d to %d bytes", v.Volume.Size, int64(volume.MinSize), int64(berth.MaxVolume))
	case v.Volume.Images < least || v.Volume.Images > most:
		return invalid("images", "%d is not within %d to %d, which a vault of kind %s may have", v.Volume.Images, least, most, v.Kind)
	case v.Volume.Encrypted && (length < minPassword || length > maxPassword || !utf8.ValidString(req.Password) || !printable(req.Password)):
		return invalid("password", "it must have %d to %d printable characters", minPassword, maxPassword)
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
	select {
	case s.volumes <- struct{}{}:
		defer func() { <-s.volumes }()
	case <-ctx.Done():
		return berth.Vault{}, ctx.Err()
	}
	if err := s.mayAdd(ctx, caller, v); err != nil {
		return berth.Vault{}, err
	}
	var err error
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
			Detail: "only jobs see the files of a block vault: remove it with its data (--with-data)",
		}
	}
	if err := s.cfg.Store.VaultUnused(ctx, v.Owner, v.Name); err != nil {
		return err
	}
	err := s.cfg.Volumes.Remove(ctx, v.Path)
	if busy, ok := errors.AsType[*volume.Busy](err); ok {
		return &berth.Error{Kind: berth.Conflict, Msg: "A job uses the vault", Detail: "or has just ended: try again in a moment", Err: busy}
	}
	if err != nil {
		return fmt.Errorf("remove vault %s of %s: %w", v.Name, v.Owner, err)
	}
	crashpoint.Here("control.volume.removed")
	return s.forgetVault(ctx, caller, v)
}
