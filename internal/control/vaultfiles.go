package control

import (
	"context"
	"io"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/vault"
)

// VaultFiles are the files of one vault, open; *vault.Tree says what the methods do.
type VaultFiles interface {
	VaultReader
	Each(dir string, details bool, take func([]vault.Entry) error) error
	Put(path string, upload vault.Upload, source io.Reader) (int64, error)
	MakeDir(path string) error
	Remove(path string, all bool) error
	Close() error
}

// VaultReader reads what is in a vault, and what has come of uploads.
type VaultReader interface {
	Open(path string) (vault.File, error)
	Uploaded(id string) (int64, error)
}

// OpenVault opens the files of a vault, to change them too if the caller says so; the caller closes it. NotFound for a vault that the
// caller does not have, Forbidden for who may not write to it, Unsupported for one whose files the server does not have, Conflict for a block
// vault that a job has.
func (s *Service) OpenVault(ctx context.Context, caller berth.Caller, name string, change bool) (VaultFiles, error) {
	v, err := s.VaultOf(ctx, caller, name, change)
	if err != nil {
		return nil, err
	}
	return s.cfg.OpenVault(ctx, v, change)
}

// VaultOf returns a vault that the caller may read or, with change, write to. The token of a job may: it may submit jobs that do.
func (s *Service) VaultOf(ctx context.Context, caller berth.Caller, name string, change bool) (berth.Vault, error) {
	if change && caller.ReadOnly {
		return berth.Vault{}, errReadOnly
	}
	owner, own := berth.SplitVaultName(name, caller.User.Name)
	v, err := s.cfg.Store.Vault(ctx, owner, own)
	usable, readOnly := v.UsableBy(caller.User.Name, caller.User.Team)
	switch {
	case berth.KindOf(err) == berth.NotFound || err == nil && !usable:
		return berth.Vault{}, &berth.Error{Kind: berth.NotFound, Msg: msgNoVault, Detail: name, Err: err}
	case err != nil:
		return berth.Vault{}, err
	case change && readOnly:
		return berth.Vault{}, errVaultToRead
	}
	return v, nil
}

// FileVaults returns the vaults of the caller that have files on this server, by name, and then those that the caller's team shares, called
// as the caller calls them.
func (s *Service) FileVaults(ctx context.Context, caller berth.Caller) ([]berth.Vault, error) {
	all, err := s.Vaults(ctx, caller, "")
	var vaults []berth.Vault
	for _, v := range all {
		if v.Kind == berth.VaultFile || v.Kind.Block() && !v.Volume.Encrypted {
			v.Name = v.VaultName(caller.User.Name)
			vaults = append(vaults, v)
		}
	}
	return vaults, err
}
