package store

import (
	"context"
	"fmt"

	"github.com/berth-hpc/berth"
)

const (
	sshKeyColumns = `user_name, fingerprint, line, comment, added_at`
	insertSSHKey  = `INSERT INTO ssh_keys (` + sshKeyColumns + `) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (user_name, fingerprint) DO NOTHING`
	selectSSHKeys = `SELECT ` + sshKeyColumns + ` FROM ssh_keys WHERE user_name = $1
		AND NOT EXISTS (SELECT 1 FROM users WHERE name = $1 AND disabled) ORDER BY added_at, fingerprint`
	countSSHKeys = `SELECT count(*) FROM ssh_keys WHERE user_name = $1`
	deleteSSHKey = `DELETE FROM ssh_keys WHERE user_name = $1 AND fingerprint = $2`
)

func scanSSHKey(row scanner) (k berth.SSHKey, err error) {
	var added int64
	err = row.Scan(&k.User, &k.Fingerprint, &k.Line, &k.Comment, &added)
	k.Added = fromMicro(added)
	return k, err
}

// AddSSHKey stores a public key of a user. NotFound when there is no such user; Conflict when the user has it already; LimitReached when
// the user has limit of them.
func (s *Store) AddSSHKey(ctx context.Context, key berth.SSHKey, limit int, act berth.Act) error {
	for _, text := range []*string{&key.User, &key.Fingerprint, &key.Line, &key.Comment} {
		clean(text)
	}
	return s.act(ctx, "add an ssh key", act, func(b *batch) error {
		if _, err := readUser(b, key.User); err != nil {
			return err
		}
		var have int
		if err := b.queryRow(countSSHKeys, key.User).Scan(&have); err != nil {
			return fmt.Errorf("count ssh keys: %w", err)
		}
		if have >= limit {
			return refuse(&berth.Error{Kind: berth.LimitReached, Msg: "You have too many keys", Detail: fmt.Sprintf("%d, remove one first", have)})
		}
		n, err := b.exec(insertSSHKey, key.User, key.Fingerprint, key.Line, key.Comment, micro(key.Added))
		if err != nil {
			return fmt.Errorf("insert ssh key: %w", err)
		}
		if n == 0 {
			return refuse(&berth.Error{Kind: berth.Conflict, Msg: "You have this key already", Detail: key.Fingerprint})
		}
		return nil
	})
}

// SSHKeys returns the public keys of a user, oldest first; none for a user that does not exist or is disabled.
func (s *Store) SSHKeys(ctx context.Context, user string) ([]berth.SSHKey, error) {
	clean(&user)
	rows, err := s.reads.query(ctx, selectSSHKeys, user)
	keys, err := scanAll(rows, err, scanSSHKey)
	return keys, wrap(ctx, "list ssh keys", err)
}

// RemoveSSHKey deletes a public key of a user. NotFound when there is none of that fingerprint.
func (s *Store) RemoveSSHKey(ctx context.Context, user, fingerprint string, act berth.Act) error {
	clean(&user)
	clean(&fingerprint)
	return s.act(ctx, "remove an ssh key", act, func(b *batch) error { return remove(b, deleteSSHKey, user, fingerprint) })
}
