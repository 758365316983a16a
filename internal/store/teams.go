package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/berth-hpc/berth"
)

const (
	insertTeam  = `INSERT INTO teams (name, payer) VALUES ($1, $2)`
	updateTeam  = `UPDATE teams SET payer = $2 WHERE name = $1`
	deleteTeam  = `DELETE FROM teams WHERE name = $1`
	selectTeam  = `SELECT name, payer FROM teams WHERE name = $1`
	selectTeams = `SELECT name, payer FROM teams ORDER BY name`
	selectAnyOf = `SELECT number FROM jobs WHERE team <> '' AND team = $1 LIMIT 1`
	countOthers = `SELECT count(*) FROM users WHERE team <> '' AND team = $1 AND name <> $2`
)

func scanTeam(row scanner) (t berth.Team, err error) {
	err = row.Scan(&t.Name, &t.Payer)
	return t, err
}

// CreateTeam stores a team, and its payer goes to it. Invalid when there is no such user; Conflict when there is a team of that
// name, when there was one that has left jobs, and when the payer is in another one.
func (s *Store) CreateTeam(ctx context.Context, t berth.Team, act berth.Act) error {
	clean(&t.Name)
	clean(&t.Payer)
	return s.act(ctx, "create a team", act, func(b *batch) error {
		if err := checkFree(b, t.Name); err != nil {
			return err
		}
		payer, err := readPayer(b, t)
		if err != nil {
			return err
		}
		if payer.Team != "" {
			return refuse(&berth.Error{
				Kind: berth.Conflict, Msg: "The payer is in another team", Detail: payer.Name + " is in team " + payer.Team,
			})
		}
		if _, err := b.exec(insertTeam, t.Name, t.Payer); err != nil {
			return fmt.Errorf("insert: %w", err)
		}
		payer.Team = t.Name
		return writeUser(b, payer)
	})
}

// checkFree refuses the name of a team that is there, and of one that was and has left jobs: who leads the new one would get them.
func checkFree(b *batch, name string) error {
	_, err := readTeam(b, name)
	switch {
	case err == nil:
		return refuse(&berth.Error{Kind: berth.Conflict, Msg: "There is a team of that name", Detail: name})
	case berth.KindOf(err) != berth.NotFound:
		return err
	}
	var number int64
	err = b.queryRow(selectAnyOf, name).Scan(&number)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("jobs of a team: %w", err)
	}
	return refuse(&berth.Error{
		Kind: berth.Conflict, Msg: "There was a team of that name and its jobs are still known", Detail: "take another name than " + name,
	})
}

// ChangeTeam gives a team another payer. NotFound when there is no such team; Invalid when the payer is not in it.
func (s *Store) ChangeTeam(ctx context.Context, t berth.Team, act berth.Act) error {
	clean(&t.Name)
	clean(&t.Payer)
	return s.act(ctx, "change a team", act, func(b *batch) error {
		if _, err := readTeam(b, t.Name); err != nil {
			return err
		}
		payer, err := readPayer(b, t)
		if err != nil {
			return err
		}
		if payer.Team != t.Name {
			return refuse(&berth.Error{Kind: berth.Invalid, Msg: "The payer is not in the team", Detail: t.Payer})
		}
		if _, err := b.exec(updateTeam, t.Name, t.Payer); err != nil {
			return fmt.Errorf("update: %w", err)
		}
		return nil
	})
}

// RemoveTeam deletes a team, and its payer leaves it. NotFound when there is no such team; Conflict while others are in it. Its
// jobs stay, and say the name of the team; its applications and vaults belong to their owners alone, whoever makes a team of that name later.
func (s *Store) RemoveTeam(ctx context.Context, name string, act berth.Act) error {
	clean(&name)
	return s.act(ctx, "remove a team", act, func(b *batch) error {
		team, err := readTeam(b, name)
		if err != nil {
			return err
		}
		payer, err := readPayer(b, team)
		if err != nil {
			return err
		}
		var others int
		if err := b.queryRow(countOthers, name, team.Payer).Scan(&others); err != nil {
			return fmt.Errorf("count members: %w", err)
		}
		if others > 0 {
			return refuse(&berth.Error{
				Kind: berth.Conflict, Msg: "The team has members besides its payer", Detail: fmt.Sprintf("%d of them must leave it first", others),
			})
		}
		if err := remove(b, deleteTeam, name); err != nil {
			return err
		}
		for _, text := range []string{clearTeamOfApplications, clearTeamOfVaults} {
			if _, err := b.exec(text, name); err != nil {
				return fmt.Errorf("applications and vaults: %w", err)
			}
		}
		payer.Team, payer.TeamAdmin = "", false
		return writeUser(b, payer)
	})
}

// readTeam returns a team within a transaction, or refuses.
func readTeam(b *batch, name string) (berth.Team, error) {
	t, err := scanTeam(b.queryRow(selectTeam, name))
	if errors.Is(err, sql.ErrNoRows) {
		return berth.Team{}, refuse(&berth.Error{Kind: berth.NotFound, Msg: msgNotFound, Err: err})
	}
	return t, err
}

// readPayer returns the payer of a team within a transaction, or refuses.
func readPayer(b *batch, t berth.Team) (berth.User, error) {
	u, err := scanUser(b.queryRow(selectUser, t.Payer))
	if errors.Is(err, sql.ErrNoRows) {
		return berth.User{}, refuse(&berth.Error{Kind: berth.Invalid, Msg: "There is no user of that name", Detail: t.Payer, Err: err})
	}
	return u, err
}

// Team returns a team, or NotFound.
func (s *Store) Team(ctx context.Context, name string) (berth.Team, error) {
	clean(&name)
	t, err := scanTeam(s.reads.queryRow(ctx, selectTeam, name))
	return t, wrap(ctx, "read a team", err)
}

// Teams returns every team by name.
func (s *Store) Teams(ctx context.Context) ([]berth.Team, error) {
	rows, err := s.reads.query(ctx, selectTeams)
	teams, err := scanAll(rows, err, scanTeam)
	return teams, wrap(ctx, "list teams", err)
}
