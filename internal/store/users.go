package store

import (
	"context"
	"fmt"

	"github.com/berth-hpc/berth"
)

const (
	userColumns     = `u.name, u.admin, u.disabled, u.billing`
	insertUser      = `INSERT INTO users (name, admin, disabled, billing) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING`
	insertAPIKey    = `INSERT INTO api_keys (hash, user_name) VALUES ($1, $2)`
	selectUser      = `SELECT ` + userColumns + ` FROM users u WHERE u.name = $1`
	selectUserByKey = `SELECT ` + userColumns + ` FROM users u JOIN api_keys k ON k.user_name = u.name WHERE k.hash = $1`
	selectUsers     = `SELECT ` + userColumns + ` FROM users u ORDER BY u.name`
)

// CreateUser stores a user with the hash of an API key and with vaults, all or nothing. The owner of the vaults is the user,
// whatever they say. Conflict when there is a user of that name or the key is somebody's.
func (s *Store) CreateUser(ctx context.Context, u berth.User, keyHash string, vaults []berth.Vault) error {
	return s.write(ctx, "create a user", func(b *batch) error {
		n, err := b.exec(insertUser, u.Name, u.Admin, u.Disabled, u.Billing)
		switch {
		case err != nil:
			return fmt.Errorf("insert: %w", err)
		case n == 0:
			return refuse(&berth.Error{Kind: berth.Conflict, Msg: "There is a user of that name", Detail: u.Name})
		}
		if _, err := b.exec(insertAPIKey, keyHash, u.Name); err != nil {
			return fmt.Errorf("insert key: %w", err)
		}
		for _, v := range vaults {
			if _, err := b.exec(insertVault, u.Name, v.Name, string(v.Kind), v.Path); err != nil {
				return fmt.Errorf("insert vault: %w", err)
			}
		}
		return nil
	})
}

func scanUser(row scanner) (u berth.User, err error) {
	err = row.Scan(&u.Name, &u.Admin, &u.Disabled, &u.Billing)
	return u, err
}

// User returns a user, or NotFound.
func (s *Store) User(ctx context.Context, name string) (berth.User, error) {
	clean(&name)
	u, err := scanUser(s.reads.queryRow(ctx, selectUser, name))
	return u, wrap(ctx, "read a user", err)
}

// UserByKey returns the user with the API key of this hash, or NotFound.
func (s *Store) UserByKey(ctx context.Context, keyHash string) (berth.User, error) {
	u, err := scanUser(s.reads.queryRow(ctx, selectUserByKey, keyHash))
	return u, wrap(ctx, "read a user by key", err)
}

// Users returns every user by name.
func (s *Store) Users(ctx context.Context) ([]berth.User, error) {
	rows, err := s.reads.query(ctx, selectUsers)
	users, err := scanAll(rows, err, scanUser)
	return users, wrap(ctx, "list users", err)
}
