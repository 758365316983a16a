package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/berth-hpc/berth"
)

const (
	vaultColumns        = `name, owner, kind, path, is_default, team, team_read_only, bucket`
	insertVault         = `INSERT INTO vaults (` + vaultColumns + `, access_key, secret_key) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`
	updateVault         = `UPDATE vaults SET is_default = $3, team = $4, team_read_only = $5, bucket = $6 WHERE owner = $1 AND name = $2`
	updateCredentials   = `UPDATE vaults SET access_key = $3, secret_key = $4 WHERE owner = $1 AND name = $2`
	clearDefaultVault   = `UPDATE vaults SET is_default = FALSE WHERE owner = $1 AND is_default`
	clearTeamOfVaults   = `UPDATE vaults SET team = '', team_read_only = FALSE WHERE team <> '' AND team = $1`
	clearTeamsOfOwner   = `UPDATE vaults SET team = '', team_read_only = FALSE WHERE team <> '' AND owner = $1`
	deleteVault         = `DELETE FROM vaults WHERE owner = $1 AND name = $2`
	countVaults         = `SELECT count(*) FROM vaults WHERE owner = $1`
	selectVault         = `SELECT ` + vaultColumns + ` FROM vaults WHERE owner = $1 AND name = $2`
	selectVaults        = `SELECT ` + vaultColumns + ` FROM vaults WHERE owner = $1 ORDER BY name`
	selectTeamVaults    = `SELECT ` + vaultColumns + ` FROM vaults WHERE team <> '' AND team = $1 AND owner <> $2 ORDER BY name, owner`
	selectDefaultVault  = `SELECT name FROM vaults WHERE owner = $1 AND is_default`
	selectCredentials   = `SELECT access_key, secret_key FROM vaults WHERE owner = $1 AND name = $2`
	selectVaultsOpenJob = `SELECT number FROM jobs WHERE vault <> '' AND vault = $1
	AND (state = 'queued' OR state = 'starting' OR state = 'running' OR state = 'stopping' OR state = 'staging-out') LIMIT 1`
)

// msgVaultUsed is for a vault that a job needs.
const msgVaultUsed = "A job uses the vault"

func scanVault(row scanner) (v berth.Vault, err error) {
	var bucket string
	err = row.Scan(&v.Name, &v.Owner, &v.Kind, &v.Path, &v.Default, &v.Team, &v.TeamReadOnly, &bucket)
	if err == nil && bucket != "" {
		err = json.Unmarshal([]byte(bucket), &v.Bucket)
	}
	return v, err
}

// bucketText is where an object vault is, as the database has it.
func bucketText(v berth.Vault) (string, error) {
	if v.Kind != berth.VaultObject {
		return "", nil
	}
	text, err := json.Marshal(v.Bucket)
	if err != nil {
		return "", fmt.Errorf("bucket: %w", err)
	}
	return string(text), nil
}

// putVault stores a new vault within a transaction.
func putVault(b *batch, v berth.Vault, c berth.Credentials) error {
	bucket, err := bucketText(v)
	if err != nil {
		return err
	}
	_, err = b.exec(insertVault, v.Name, v.Owner, string(v.Kind), v.Path, v.Default, v.Team, v.TeamReadOnly, bucket, c.AccessKey, c.SecretKey)
	if err != nil {
		return fmt.Errorf("insert vault: %w", err)
	}
	return nil
}

// CreateVault stores a vault, with the credentials of an object vault, and makes it the default of its owner when it says so.
// NotFound when there is no such owner; Conflict when the owner has one of that name; LimitReached when the owner has limit of them,
// 0 is no limit; Invalid when there is no such team.
func (s *Store) CreateVault(ctx context.Context, v berth.Vault, c berth.Credentials, limit int, act berth.Act) error {
	cleanVault(&v)
	return s.act(ctx, "create a vault", act, func(b *batch) error {
		if _, err := readUser(b, v.Owner); err != nil {
			return err
		}
		if err := checkTeamName(b, v.Team); err != nil {
			return err
		}
		var have int
		if err := b.queryRow(countVaults, v.Owner).Scan(&have); err != nil {
			return fmt.Errorf("count vaults: %w", err)
		}
		if limit > 0 && have >= limit {
			return refuse(&berth.Error{Kind: berth.LimitReached, Msg: "Too many vaults", Detail: fmt.Sprintf("%d are allowed", limit)})
		}
		switch _, err := readVault(b, v.Owner, v.Name); {
		case err == nil:
			return refuse(&berth.Error{Kind: berth.Conflict, Msg: "There is a vault of that name", Detail: v.Name})
		case berth.KindOf(err) != berth.NotFound:
			return err
		}
		if err := onlyDefault(b, v); err != nil {
			return err
		}
		return putVault(b, v, c)
	})
}

// onlyDefault makes room for another default vault of an owner.
func onlyDefault(b *batch, v berth.Vault) error {
	if !v.Default {
		return nil
	}
	if _, err := b.exec(clearDefaultVault, v.Owner); err != nil {
		return fmt.Errorf("default vault: %w", err)
	}
	return nil
}

// ChangeVault stores what can be changed of a vault: Default, Team, TeamReadOnly and Bucket; and its credentials when c is not nil.
// NotFound when it is not there; Invalid when there is no such team.
func (s *Store) ChangeVault(ctx context.Context, v berth.Vault, c *berth.Credentials, act berth.Act) error {
	cleanVault(&v)
	return s.act(ctx, "change a vault", act, func(b *batch) error {
		if _, err := readVault(b, v.Owner, v.Name); err != nil {
			return err
		}
		if err := checkTeamName(b, v.Team); err != nil {
			return err
		}
		bucket, err := bucketText(v)
		if err != nil {
			return err
		}
		if err := onlyDefault(b, v); err != nil {
			return err
		}
		if _, err := b.exec(updateVault, v.Owner, v.Name, v.Default, v.Team, v.TeamReadOnly, bucket); err != nil {
			return fmt.Errorf("update vault: %w", err)
		}
		if c == nil {
			return nil
		}
		if _, err := b.exec(updateCredentials, v.Owner, v.Name, c.AccessKey, c.SecretKey); err != nil {
			return fmt.Errorf("credentials of a vault: %w", err)
		}
		return nil
	})
}

// RemoveVault forgets a vault. NotFound when it is not there; Conflict while a job that has not ended uses it.
func (s *Store) RemoveVault(ctx context.Context, owner, name string, act berth.Act) error {
	clean(&owner)
	clean(&name)
	return s.act(ctx, "remove a vault", act, func(b *batch) error {
		v, err := readVault(b, owner, name)
		if err != nil {
			return err
		}
		var number int64
		err = b.queryRow(selectVaultsOpenJob, jobVault(v.Owner, v.Name)).Scan(&number)
		switch {
		case err == nil:
			return refuse(&berth.Error{Kind: berth.Conflict, Msg: msgVaultUsed, Detail: fmt.Sprintf("job %d has not ended", number)})
		case !errors.Is(err, sql.ErrNoRows):
			return fmt.Errorf("jobs of a vault: %w", err)
		}
		return remove(b, deleteVault, owner, name)
	})
}

// jobVault is how the row of a job names its vault; it takes what berth.SplitVaultName returns.
func jobVault(owner, name string) string {
	if name == "" || name == berth.EphemeralVault {
		return ""
	}
	return name + "@" + owner
}

func readVault(b *batch, owner, name string) (berth.Vault, error) {
	v, err := scanVault(b.queryRow(selectVault, owner, name))
	if errors.Is(err, sql.ErrNoRows) {
		return berth.Vault{}, refuse(&berth.Error{Kind: berth.NotFound, Msg: msgNotFound, Err: err})
	}
	return v, err
}

func cleanVault(v *berth.Vault) {
	for _, text := range []*string{&v.Owner, &v.Name, &v.Team} {
		clean(text)
	}
}

// Vault returns a vault of a user, or NotFound.
func (s *Store) Vault(ctx context.Context, owner, name string) (berth.Vault, error) {
	clean(&owner)
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

// TeamVaults returns the vaults that a team shares, but for those of one of its members, by name.
func (s *Store) TeamVaults(ctx context.Context, team, but string) ([]berth.Vault, error) {
	rows, err := s.reads.query(ctx, selectTeamVaults, team, but)
	vaults, err := scanAll(rows, err, scanVault)
	return vaults, wrap(ctx, "list the vaults of a team", err)
}

// DefaultVault returns the name of the vault that submissions of a user get that name none.
func (s *Store) DefaultVault(ctx context.Context, owner string) (string, error) {
	var name string
	err := s.reads.queryRow(ctx, selectDefaultVault, owner).Scan(&name)
	if errors.Is(err, sql.ErrNoRows) {
		return berth.EphemeralVault, nil
	}
	return name, wrap(ctx, "read the default vault", err)
}

// VaultCredentials returns the credentials of an object vault, or NotFound. They are for who connects to it, and for nobody to see.
func (s *Store) VaultCredentials(ctx context.Context, owner, name string) (berth.Credentials, error) {
	var c berth.Credentials
	err := s.reads.queryRow(ctx, selectCredentials, owner, name).Scan(&c.AccessKey, &c.SecretKey)
	return c, wrap(ctx, "read the credentials of a vault", err)
}
