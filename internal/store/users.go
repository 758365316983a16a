package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/berth-hpc/berth"
)

const (
	userColumns = `u.name, u.email, u.admin, u.disabled, u.billing, u.team, u.team_admin, COALESCE(t.payer, ''),
	COALESCE(p.disabled OR NOT p.billing, FALSE)`
	// userTeam brings the payer of the team.
	userTeam   = ` LEFT JOIN teams t ON t.name = u.team LEFT JOIN users p ON p.name = t.payer`
	insertUser = `INSERT INTO users (name, email, admin, disabled, billing, team, team_admin) VALUES ($1, $2, $3, $4, $5, $6, $7)
	ON CONFLICT (name) DO NOTHING`
	updateUser = `UPDATE users SET email = $2, admin = $3, disabled = $4, billing = $5, team = $6, team_admin = $7 WHERE name = $1`
	selectUser = `SELECT ` + userColumns + ` FROM users u` + userTeam + ` WHERE u.name = $1`
	// selectUserByKey is on the way of every request.
	selectUserByKey = `SELECT ` + userColumns + `, ` + keyColumns + ` FROM api_keys k JOIN users u ON u.name = k.user_name` + userTeam + `
	WHERE k.hash = $1`
	selectUserByKeyID = `SELECT ` + userColumns + `, ` + keyColumns + ` FROM api_keys k JOIN users u ON u.name = k.user_name` + userTeam + `
	WHERE k.id = $1`
	selectUsers       = `SELECT ` + userColumns + ` FROM users u` + userTeam + ` ORDER BY u.name`
	selectUsersOfTeam = `SELECT ` + userColumns + ` FROM users u` + userTeam + ` WHERE u.team <> '' AND u.team = $1 ORDER BY u.name`
)

// NewUser is a user to be stored.
type NewUser struct {
	// User is without what its team says: Payer and PayerStopped.
	User berth.User
	// Key is the first API key, KeyHash its hash; none when KeyHash is empty. It is the user's, whatever it says.
	Key     berth.Key
	KeyHash string
	// Vaults are the user's, whatever they say.
	Vaults []berth.Vault
}

// CreateUser stores a user with an API key and with vaults, all or nothing. Conflict when there is a user of that name or the key
// is somebody's; Invalid when there is no such team.
func (s *Store) CreateUser(ctx context.Context, n NewUser, act berth.Act) error {
	u := n.User
	for _, text := range []*string{&u.Name, &u.Email, &u.Team} {
		clean(text)
	}
	return s.act(ctx, "create a user", act, func(b *batch) error {
		if err := checkTeam(b, u); err != nil {
			return err
		}
		inserted, err := b.exec(insertUser, u.Name, u.Email, u.Admin, u.Disabled, u.Billing, u.Team, u.TeamAdmin)
		switch {
		case err != nil:
			return fmt.Errorf("insert: %w", err)
		case inserted == 0:
			return refuse(&berth.Error{Kind: berth.Conflict, Msg: "There is a user of that name", Detail: u.Name})
		}
		if n.KeyHash != "" {
			n.Key.User, n.Key.Job = u.Name, 0
			if err := addKey(b, n.Key, n.KeyHash); err != nil {
				return err
			}
		}
		for _, v := range n.Vaults {
			v.Owner = u.Name
			if err := putVault(b, v, berth.Credentials{}); err != nil {
				return err
			}
		}
		return nil
	})
}

// ChangeUser changes a user and returns it. The vaults of who leaves a team are shared no more. NotFound when there is no such user;
// Invalid when there is no such team, or an administrator of none; Conflict when the user pays for the team that the change takes it out
// of, or is the last administrator who can log in.
func (s *Store) ChangeUser(ctx context.Context, name string, change berth.UserChange, act berth.Act) (berth.User, error) {
	clean(&name)
	var changed berth.User
	err := s.act(ctx, "change a user", act, func(b *batch) error {
		before, err := readUser(b, name)
		if err != nil {
			return err
		}
		after := change.Apply(before)
		clean(&after.Email)
		clean(&after.Team)
		if after.Team != before.Team && before.Payer == name {
			return refuse(&berth.Error{
				Kind: berth.Conflict, Msg: "The user pays for the team and cannot leave it",
				Detail: "give team " + before.Team + " another payer or remove it first",
			})
		}
		if err := checkTeam(b, after); err != nil {
			return err
		}
		if administrates(before) && !administrates(after) {
			if err := keepAdministrator(b, name, "", act.At); err != nil {
				return err
			}
		}
		if err := writeChange(b, before, after); err != nil {
			return err
		}
		changed, err = readUser(b, name) // with the payer that it has now
		return err
	})
	if err != nil {
		return berth.User{}, err
	}
	return changed, nil
}

// writeChange stores a user, and what comes of it for the user's vaults.
func writeChange(b *batch, before, after berth.User) error {
	if after.Team != before.Team {
		if _, err := b.exec(clearTeamsOfOwner, after.Name); err != nil {
			return fmt.Errorf("shared vaults: %w", err)
		}
	}
	return writeUser(b, after)
}

// checkTeam refuses a user of a team that is not there, and the administrator of no team.
func checkTeam(b *batch, u berth.User) error {
	if u.Team == "" && u.TeamAdmin {
		return refuse(&berth.Error{Kind: berth.Invalid, Msg: "The user is in no team to administer", Detail: u.Name})
	}
	return checkTeamName(b, u.Team)
}

// checkTeamName refuses a team that is not there; none is fine.
func checkTeamName(b *batch, team string) error {
	if team == "" {
		return nil
	}
	_, err := scanTeam(b.queryRow(selectTeam, team))
	if errors.Is(err, sql.ErrNoRows) {
		return refuse(&berth.Error{Kind: berth.Invalid, Msg: "There is no team of that name", Detail: team, Err: err})
	}
	return err
}

// readUser returns a user within a transaction, or refuses.
func readUser(b *batch, name string) (berth.User, error) {
	u, err := scanUser(b.queryRow(selectUser, name))
	if errors.Is(err, sql.ErrNoRows) {
		return berth.User{}, refuse(&berth.Error{Kind: berth.NotFound, Msg: msgNotFound, Err: err})
	}
	return u, err
}

func writeUser(b *batch, u berth.User) error {
	if _, err := b.exec(updateUser, u.Name, u.Email, u.Admin, u.Disabled, u.Billing, u.Team, u.TeamAdmin); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	return nil
}

// userFields are where the columns of userColumns go.
func userFields(u *berth.User) []any {
	return []any{
		&u.Name, &u.Email, &u.Admin, &u.Disabled, &u.Billing, &u.Team, &u.TeamAdmin, &u.Payer, &u.PayerStopped,
	}
}

func scanUser(row scanner) (u berth.User, err error) {
	err = row.Scan(userFields(&u)...)
	return u, err
}

// User returns a user, or NotFound.
func (s *Store) User(ctx context.Context, name string) (berth.User, error) {
	clean(&name)
	u, err := scanUser(s.reads.queryRow(ctx, selectUser, name))
	return u, wrap(ctx, "read a user", err)
}

// UserByKey returns the API key of this hash and its user, or NotFound. Whether the key has expired and the user is disabled is for
// the caller to see.
func (s *Store) UserByKey(ctx context.Context, keyHash string) (berth.User, berth.Key, error) {
	var u berth.User
	k, err := scanKeyAfter(s.reads.queryRow(ctx, selectUserByKey, keyHash), userFields(&u)...)
	return u, k, wrap(ctx, "read a user by key", err)
}

// UserByKeyID is UserByKey for the ID of a key.
func (s *Store) UserByKeyID(ctx context.Context, id string) (berth.User, berth.Key, error) {
	var u berth.User
	k, err := scanKeyAfter(s.reads.queryRow(ctx, selectUserByKeyID, id), userFields(&u)...)
	return u, k, wrap(ctx, "read a user by the ID of a key", err)
}

// Users returns the users of a team by name, or every user when team is empty.
func (s *Store) Users(ctx context.Context, team string) ([]berth.User, error) {
	text, args := selectUsers, []any{}
	if team != "" {
		clean(&team)
		text, args = selectUsersOfTeam, []any{team}
	}
	rows, err := s.reads.query(ctx, text, args...)
	users, err := scanAll(rows, err, scanUser)
	return users, wrap(ctx, "list users", err)
}
