package httpapi

import (
	"context"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

// vaultRecords is the part of the scripted control that knows vaults.
type vaultRecords struct {
	allVaults []berth.Vault
	kept      []berth.Kept
	// What the last call of these operations was given.
	vaultsOf    string
	newVault    control.VaultRequest
	vaultChange control.VaultChange
	withData    bool
	passwords   [2]string // the old one and the new one
	everyone    bool
	keptWish    berth.KeptWish
}

func newVaultRecords() vaultRecords {
	return vaultRecords{
		allVaults: []berth.Vault{
			{Name: "data", Owner: testUser, Kind: berth.VaultFile, Path: "/secret/path", Default: true},
			{Name: "results", Owner: "bob", Kind: berth.VaultObject, Team: "lab", TeamReadOnly: true, Bucket: berth.Bucket{
				Endpoint: "https://s3.example.org", Name: "b", Prefix: "p/", Region: "r", PathStyle: true, Trusted: true,
			}},
		},
		kept: []berth.Kept{{Number: 9, Owner: testUser, Wish: berth.KeptWishSave, Detail: "1 files could not be copied: a"}},
	}
}

func (s *scripted) Vaults(_ context.Context, caller berth.Caller, owner string) ([]berth.Vault, error) {
	if owner != "" {
		if err := administers(caller); err != nil {
			return nil, err
		}
	}
	s.vaultsOf = owner
	return s.allVaults, s.fail["Vaults"]
}

func (s *scripted) Vault(_ context.Context, caller berth.Caller, called string) (berth.Vault, error) {
	for _, v := range s.allVaults {
		if v.VaultName(caller.User.Name) == called {
			return v, s.fail["Vault"]
		}
	}
	return berth.Vault{}, &berth.Error{Kind: berth.NotFound, Msg: "Vault not found"}
}

func (s *scripted) AddVault(_ context.Context, caller berth.Caller, req control.VaultRequest) (berth.Vault, error) {
	s.newVault = req
	switch {
	case caller.ReadOnly:
		return berth.Vault{}, errReadOnly
	case req.Name == "data":
		return berth.Vault{}, berth.Errorf(berth.Conflict, "There is a vault of that name")
	case req.Name == "more":
		return berth.Vault{}, berth.Errorf(berth.LimitReached, "Too many vaults")
	case req.Name == "lacking":
		return berth.Vault{}, berth.Errorf(berth.Unsupported, "The server lacks mkfs.btrfs")
	case req.Name == "full":
		return berth.Vault{}, berth.Errorf(berth.NoSpace, "No space left")
	}
	v := berth.Vault{Name: req.Name, Owner: caller.User.Name, Kind: req.Kind, Bucket: req.Bucket, Volume: req.Volume}
	v.Volume.Encrypted = req.Password != ""
	return v, s.fail["AddVault"]
}

func (s *scripted) ChangeVault(ctx context.Context, caller berth.Caller, called string, change control.VaultChange) (berth.Vault, error) {
	if caller.ReadOnly {
		return berth.Vault{}, errReadOnly
	}
	s.vaultChange = change
	return s.Vault(ctx, caller, called)
}

func (s *scripted) RemoveVault(ctx context.Context, caller berth.Caller, called string, data bool) error {
	if caller.ReadOnly {
		return errReadOnly
	}
	s.withData = data
	if _, err := s.Vault(ctx, caller, called); err != nil || data {
		return err
	}
	return berth.Errorf(berth.Conflict, "The vault is not empty")
}

func (s *scripted) RepairVault(ctx context.Context, caller berth.Caller, called string) error {
	if caller.ReadOnly {
		return errReadOnly
	}
	if _, err := s.Vault(ctx, caller, called); err != nil {
		return err
	}
	return s.fail["RepairVault"]
}

func (s *scripted) ChangeVaultPassword(ctx context.Context, caller berth.Caller, called, password, changed string) error {
	if caller.ReadOnly {
		return errReadOnly
	}
	s.passwords = [2]string{password, changed}
	if _, err := s.Vault(ctx, caller, called); err != nil {
		return err
	}
	return s.fail["ChangeVaultPassword"]
}

func (s *scripted) KeptData(_ context.Context, caller berth.Caller, everyone bool) ([]berth.Kept, error) {
	if everyone {
		if err := administers(caller); err != nil {
			return nil, err
		}
	}
	s.everyone = everyone
	return s.kept, s.fail["KeptData"]
}

func (s *scripted) WishKept(_ context.Context, caller berth.Caller, number int64, wish berth.KeptWish) error {
	switch {
	case caller.ReadOnly:
		return errReadOnly
	case number != s.kept[0].Number:
		return berth.Errorf(berth.NotFound, "No data of the job is kept")
	}
	s.keptWish = wish
	return s.fail["WishKept"]
}
