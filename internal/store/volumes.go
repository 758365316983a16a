package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/berth-hpc/berth"
)

const (
	selectBlockVaults   = `SELECT ` + vaultColumns + ` FROM vaults WHERE size > 0 ORDER BY owner, name`
	insertVaultPassword = `INSERT INTO vault_passwords (number, sealed) VALUES ($1, $2)`
	selectVaultPassword = `SELECT sealed FROM vault_passwords WHERE number = $1`
	deleteVaultPassword = `DELETE FROM vault_passwords WHERE number = $1`
)

// BlockVaults returns the block vaults of all owners.
func (s *Store) BlockVaults(ctx context.Context) ([]berth.Vault, error) {
	rows, err := s.reads.query(ctx, selectBlockVaults)
	vaults, err := scanAll(rows, err, scanVault)
	return vaults, wrap(ctx, "list block vaults", err)
}

// VaultUnused returns nil when no job that has not ended uses a vault, and else Conflict. One may be submitted right after it.
func (s *Store) VaultUnused(ctx context.Context, owner, name string) error {
	clean(&owner)
	clean(&name)
	return wrap(ctx, "look for jobs of a vault", unused(s.reads.queryRow(ctx, selectVaultsOpenJob, jobVault(owner, name))))
}

// VaultPassword returns the password of a job's vault as it was given to CreateJob: sealed. It is empty when there was none, and after
// the job's start or end.
func (s *Store) VaultPassword(ctx context.Context, number int64) (string, error) {
	var sealed string
	err := s.reads.queryRow(ctx, selectVaultPassword, number).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return sealed, wrap(ctx, "read the password of a vault", err)
}

// deletePassword deletes the password of a job's vault when nobody needs it any more. Other jobs, of which there are thousands a second,
// pay nothing for it.
func deletePassword(b *batch, after berth.Job, ev berth.Event) error {
	if !after.Submission.Vault.Kind.Block() || ev.Kind != berth.EventStarted && !after.State.Final() {
		return nil
	}
	if _, err := b.exec(deleteVaultPassword, after.Number); err != nil {
		return fmt.Errorf("delete the password of a vault: %w", err)
	}
	return nil
}
