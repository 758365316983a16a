package store

import (
	"context"
	"fmt"
	"time"

	"github.com/berth-hpc/berth"
)

const (
	keyColumns   = `k.id, k.user_name, k.label, k.read_only, k.created_at, k.expires_at, k.job`
	insertAPIKey = `INSERT INTO api_keys (hash, id, user_name, label, read_only, created_at, expires_at, job)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`
	selectAPIKeys = `SELECT ` + keyColumns + ` FROM api_keys k WHERE k.user_name = $1 AND k.job = 0 ORDER BY k.created_at, k.id`
	deleteAPIKey  = `DELETE FROM api_keys WHERE id = $1 AND user_name = $2 AND job = 0`
	deleteToken   = `DELETE FROM api_keys WHERE job > 0 AND job = $1`
	// countAdminKeys counts the keys with which an administrator can act, and those of them that are a user's: one, or all.
	countAdminKeys = `SELECT count(*), COALESCE(sum(CASE WHEN u.name = $2 AND ($3 = '' OR k.id = $3) THEN 1 ELSE 0 END), 0)
	FROM users u JOIN api_keys k ON k.user_name = u.name
	WHERE u.admin AND NOT u.disabled AND NOT k.read_only AND k.job = 0 AND (k.expires_at = 0 OR k.expires_at > $1)`
)

// scanKeyAfter reads the columns of keyColumns, which come after others.
func scanKeyAfter(row scanner, others ...any) (k berth.Key, err error) {
	var created, expires int64
	err = row.Scan(append(others, &k.ID, &k.User, &k.Label, &k.ReadOnly, &created, &expires, &k.Job)...)
	k.Created, k.Expires = fromMicro(created), fromMicro(expires)
	return k, err
}

// addKey stores a key of a user that is there.
func addKey(b *batch, k berth.Key, hash string) error {
	clean(&k.Label)
	_, err := b.exec(insertAPIKey, hash, k.ID, k.User, k.Label, k.ReadOnly, micro(k.Created), micro(k.Expires), k.Job)
	if err != nil {
		return fmt.Errorf("insert key: %w", err)
	}
	return nil
}

// AddKey stores another API key of a user under its hash; tokens of jobs come by CreateJob. NotFound when there is no such user; Conflict when the key or its ID is
// there already.
func (s *Store) AddKey(ctx context.Context, key berth.Key, hash string, act berth.Act) error {
	clean(&key.User)
	key.Job = 0
	return s.act(ctx, "add a key", act, func(b *batch) error {
		if _, err := readUser(b, key.User); err != nil {
			return err
		}
		return addKey(b, key, hash)
	})
}

// Keys returns what is known of the API keys of a user, oldest first, without the tokens of jobs; none for a user that does not
// exist.
func (s *Store) Keys(ctx context.Context, user string) ([]berth.Key, error) {
	clean(&user)
	rows, err := s.reads.query(ctx, selectAPIKeys, user)
	keys, err := scanAll(rows, err, func(row scanner) (berth.Key, error) { return scanKeyAfter(row) })
	return keys, wrap(ctx, "list keys", err)
}

// RevokeKey deletes an API key of a user. NotFound when there is none; Conflict when no administrator could log in without it. The
// token of a job ends with the job only.
func (s *Store) RevokeKey(ctx context.Context, user, id string, act berth.Act) error {
	clean(&user)
	clean(&id)
	return s.act(ctx, "revoke a key", act, func(b *batch) error {
		if err := keepAdministrator(b, user, id, act.At); err != nil {
			return err
		}
		return remove(b, deleteAPIKey, id, user)
	})
}

// administrates says whether a user may administrate, given a key.
func administrates(u berth.User) bool { return u.Admin && !u.Disabled }

// keepAdministrator refuses when no administrator could log in and act without one key of a user, or without the user for an empty
// id. Where nobody can before, there is nothing to keep.
func keepAdministrator(b *batch, user, id string, now time.Time) error {
	var all, gone int64
	if err := b.queryRow(countAdminKeys, micro(now), user, id).Scan(&all, &gone); err != nil {
		return fmt.Errorf("keys of administrators: %w", err)
	}
	if gone == 0 || gone < all {
		return nil
	}
	return refuse(&berth.Error{
		Kind: berth.Conflict, Msg: "No administrator could log in any more",
		Detail: "make another administrator, or another key that may do more than read, first",
	})
}

// remove deletes a row, or refuses when there is none.
func remove(b *batch, text string, args ...any) error {
	n, err := b.exec(text, args...)
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if n == 0 {
		return refuse(&berth.Error{Kind: berth.NotFound, Msg: msgNotFound})
	}
	return nil
}
