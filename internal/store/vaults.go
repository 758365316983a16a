package store

import (
	"context"

	"github.com/berth-hpc/berth"
)

const (
	vaultColumns = `name, owner, kind, path`
	insertVault  = `INSERT INTO vaults (owner, name, kind, path) VALUES ($1, $2, $3, $4)`
	selectVault  = `SELECT ` + vaultColumns + ` FROM vaults WHERE owner = $1 AND name = $2`
	selectVaults = `SELECT ` + vaultColumns + ` FROM vaults WHERE owner = $1 ORDER BY name`
)

func scanVault(row scanner) (v berth.Vault, err error) {
	err = row.Scan(&v.Name, &v.Owner, &v.Kind, &v.Path)
	return v, err
}

// Vault returns a vault of a user, or NotFound.
func (s *Store) Vault(ctx context.Context, owner, name string) (berth.Vault, error) {
	clean(&name)
	v, err := scanVault(s.reads.queryRow(ctx, selectVault, owner, name))
	return v, wrap(ctx, "read a vault", err)
}

// Vaults returns the vaults of a user by name; none for a user that does not exist.
func (s *Store) Vaults(ctx context.Context, owner string) ([]berth.Vault, error) {
	rows, err := s.reads.query(ctx, selectVaults, owner)
	vaults, err := scanAll(rows, err, scanVault)
	return vaults, wrap(ctx, "list vaults", err)
}
