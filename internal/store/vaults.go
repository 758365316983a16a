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
	vaultColumns = `name, owner, kind, path, is_default, team, team_read_only, bucket, size, images, encrypted`
	insertVault  = `INSERT INTO vaults (` + vaultColumns + `, access_key, secret_key)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`
	updateVault         = `UPDATE vaults SET is_default = $3, team = $4, team_read_only = $5, bucket = $6 WHERE owner = $1 AND name = $2`
	updateCredentials   = `UPDATE vaults SET access_key = $3, secret_key = $4 WHERE owner = $1 AND name = $2`
	clearDefaultVault   = `UPDATE vaults SET is_default = FALSE WHERE owner = $1 AND is_default`
	clearTeamOfVaults   = `UPDATE vaults SET team = '', team_read_only = FALSE WHERE team <> '' AND team = $1`
	clearTeamsOfOwner   = `UPDATE vaults SET team = '', team_read_only = FALSE WHERE team <> '' AND owner = $1`
	deleteVault         = `DELETE FROM vaults WHERE owner = $1 AND name = $2`
	countVaults         = `SELECT count(*), CAST(coalesce(sum(size), 0) AS BIGINT) FROM vaults WHERE owner = $1`
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

// VaultLimits is what an owner may have in all; 0 is no limit.
type VaultLimits struct {
	// Vaults is how many, Size what the block vaults among them have together, in bytes.
	Vaults int
	Size   int64
}

const gib = 1 << 30

// check refuses one more vault that is too much.
func (l VaultLimits) check(queryRow func(string, ...any) *sql.Row, v berth.Vault) error {
	var have int
	var size int64
	if err := queryRow(countVaults, v.Owner).Scan(&have, &size); err != nil {
		return fmt.Errorf("count vaults: %w", err)
	}
	switch {
	case l.Vaults > 0 && have >= l.Vaults:
		return refuse(&berth.Error{Kind: berth.LimitReached, Msg: "Too many vaults", Detail: fmt.Sprintf("%d are allowed", l.Vaults)})
	case l.Size > 0 && v.Volume.Size > 0 && v.Volume.Size > l.Size-size:
		return refuse(&berth.Error{
			Kind: berth.LimitReached, Msg: "Too much for block vaults",
			Detail: fmt.Sprintf("%.1f GiB in all are allowed, others have %.1f GiB", float64(l.Size)/gib, float64(size)/gib),
		})
	}
	return nil
}

// newVault refuses a vault that is too much, or whose name is taken.
func newVault(queryRow func(string, ...any) *sql.Row, v berth.Vault, limits VaultLimits) error {
	if err := limits.check(queryRow, v); err != nil {
		return err
	}
	switch _, err := scanVault(queryRow(selectVault, v.Owner, v.Name)); {
	case err == nil:
		return refuse(&berth.Error{Kind: berth.Conflict, Msg: "There is a vault of that name", Detail: v.Name})
	case !errors.Is(err, sql.ErrNoRows):
		return err
	}
	return nil
}

// VaultAllowed returns what CreateVault would return for the limits and for a name that is taken, and stores nothing.
func (s *Store) VaultAllowed(ctx context.Context, v berth.Vault, limits VaultLimits) error {
	cleanVault(&v)
	queryRow := func(text string, args ...any) *sql.Row { return s.reads.queryRow(ctx, text, args...) }
	return wrap(ctx, "look whether there may be a vault", newVault(queryRow, v, limits))
}

func scanVault(row scanner) (v berth.Vault, err error) {
	var bucket string
	err = row.Scan(&v.Name, &v.Owner, &v.Kind, &v.Path, &v.Default, &v.Team, &v.TeamReadOnly, &bucket,
		&v.Volume.Size, &v.Volume.Images, &v.Volume.Encrypted)
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
	_, err = b.exec(insertVault, v.Name, v.Owner, string(v.Kind), v.Path, v.Default, v.Team, v.TeamReadOnly, bucket,
		v.Volume.Size, v.Volume.Images, v.Volume.Encrypted, c.AccessKey, c.SecretKey)
	if err != nil {
		return fmt.Errorf("insert vault: %w", err)
	}
	return nil
}

// CreateVault stores a vault, with the credentials of an object vault, and makes it the default of its owner when it says so.
// NotFound when there is no such owner; Conflict when the owner has one of that name, or is not in its team; LimitReached when the owner
// would have more than the limits allow.
func (s *Store) CreateVault(ctx context.Context, v berth.Vault, c berth.Credentials, limits VaultLimits, act berth.Act) error {
	cleanVault(&v)
	return s.act(ctx, "create a vault", act, func(b *batch) error {
		if err := checkShare(b, v); err != nil {
			return err
		}
		if err := newVault(b.queryRow, v, limits); err != nil {
			return err
		}
		if err := onlyDefault(b, v); err != nil {
			return err
		}
		return putVault(b, v, c)
	})
}

// checkShare refuses a vault without an owner, and one that is shared with another team than its owner's: the owner may have left the
// team since the caller looked, and what leaves with the owner must not come back.
func checkShare(b *batch, v berth.Vault) error {
	owner, err := readUser(b, v.Owner)
	if err != nil {
		return err
	}
	if v.Team != "" && v.Team != owner.Team {
		return refuse(&berth.Error{
			Kind: berth.Conflict, Msg: "The owner of the vault is not in the team", Detail: v.Team + ": share it with nobody, or try again",
		})
	}
	return nil
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
// NotFound when it is not there; Conflict when its owner is not in its team.
func (s *Store) ChangeVault(ctx context.Context, v berth.Vault, c *berth.Credentials, act berth.Act) error {
	cleanVault(&v)
	return s.act(ctx, "change a vault", act, func(b *batch) error {
		if _, err := readVault(b, v.Owner, v.Name); err != nil {
			return err
		}
		if err := checkShare(b, v); err != nil {
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
		if err := unused(b.queryRow(selectVaultsOpenJob, jobVault(v.Owner, v.Name))); err != nil {
			return err
		}
		return remove(b, deleteVault, owner, name)
	})
}

// unused refuses for a vault that has a job which has not ended, whose number is the row.
func unused(row scanner) error {
	var number int64
	switch err := row.Scan(&number); {
	case err == nil:
		return refuse(&berth.Error{Kind: berth.Conflict, Msg: msgVaultUsed, Detail: fmt.Sprintf("job %d has not ended", number)})
	case !errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("jobs of a vault: %w", err)
	}
	return nil
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
