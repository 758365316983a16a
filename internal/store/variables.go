package store

import (
	"context"
	"fmt"

	"github.com/berth-hpc/berth"
)

const (
	selectVariables = `SELECT key, value FROM variables WHERE user_name = $1`
	upsertVariable  = `INSERT INTO variables (user_name, key, value) VALUES ($1, $2, $3)
	ON CONFLICT (user_name, key) DO UPDATE SET value = excluded.value`
	deleteVariable = `DELETE FROM variables WHERE user_name = $1 AND key = $2`
)

// SetVariable stores a variable of an account; an empty value removes it. NotFound when there is no such user.
func (s *Store) SetVariable(ctx context.Context, user, key, value string, act berth.Act) error {
	for _, text := range []*string{&user, &key, &value} {
		clean(text)
	}
	return s.act(ctx, "set a variable", act, func(b *batch) error {
		if _, err := readUser(b, user); err != nil {
			return err
		}
		text, args := upsertVariable, []any{user, key, value}
		if value == "" {
			text, args = deleteVariable, args[:2]
		}
		if _, err := b.exec(text, args...); err != nil {
			return fmt.Errorf("variable: %w", err)
		}
		return nil
	})
}

// Variables returns the variables of an account; none for a user that does not exist.
func (s *Store) Variables(ctx context.Context, user string) (map[string]string, error) {
	clean(&user)
	rows, err := s.reads.query(ctx, selectVariables, user)
	settings, err := scanAll(rows, err, func(row scanner) (v berth.Setting, err error) {
		err = row.Scan(&v.Key, &v.Value)
		return v, err
	})
	if err != nil {
		return nil, wrap(ctx, "list variables", err)
	}
	variables := make(map[string]string, len(settings))
	for _, v := range settings {
		variables[v.Key] = v.Value
	}
	return variables, nil
}
