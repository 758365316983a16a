package control

import (
	"context"

	"github.com/berth-hpc/berth"
)

const msgNoTeam = "Team not found"

// Teams lists teams by name: all for administrators, the own one for others.
func (s *Service) Teams(ctx context.Context, caller berth.Caller) ([]berth.Team, error) {
	switch {
	case caller.User.Admin:
		return s.cfg.Store.Teams(ctx)
	case caller.User.Team == "":
		return nil, nil
	}
	team, err := s.cfg.Store.Team(ctx, caller.User.Team)
	if err != nil {
		return nil, named(err, msgNoTeam)
	}
	return []berth.Team{team}, nil
}

// AddTeam makes a team, and its payer goes to it. Administrators only. Conflict when there is one of that name or the payer is in
// another; Invalid when there is no such user.
func (s *Service) AddTeam(ctx context.Context, caller berth.Caller, team berth.Team) error {
	if err := administers(caller); err != nil {
		return err
	}
	if err := checkName(team.Name); err != nil {
		return err
	}
	if err := s.cfg.Store.CreateTeam(ctx, team, s.act(caller, berth.ActTeamAdded, team.Name, "payer="+team.Payer)); err != nil {
		return err
	}
	s.teamChanged(team.Payer)
	return nil
}

// ChangeTeam gives a team another payer, who is in it. Administrators only. Jobs keep the payer that they were submitted with.
func (s *Service) ChangeTeam(ctx context.Context, caller berth.Caller, team berth.Team) error {
	if err := administers(caller); err != nil {
		return err
	}
	before, err := s.cfg.Store.Team(ctx, team.Name)
	if err != nil {
		return named(err, msgNoTeam)
	}
	if err := s.cfg.Store.ChangeTeam(ctx, team, s.act(caller, berth.ActTeamChanged, team.Name, "payer="+team.Payer)); err != nil {
		return named(err, msgNoTeam)
	}
	s.teamChanged(before.Payer)
	return nil
}

// RemoveTeam removes a team that has no other member than its payer. Administrators only. Its jobs keep its name, its applications
// belong to no team then.
func (s *Service) RemoveTeam(ctx context.Context, caller berth.Caller, name string) error {
	if err := administers(caller); err != nil {
		return err
	}
	before, err := s.cfg.Store.Team(ctx, name)
	if err != nil {
		return named(err, msgNoTeam)
	}
	if err := s.cfg.Store.RemoveTeam(ctx, name, s.act(caller, berth.ActTeamRemoved, name, "")); err != nil {
		return named(err, msgNoTeam)
	}
	s.teamChanged(before.Payer)
	s.catalogue.forget()
	return nil
}

// teamChanged makes a change of a team hold from the next request on, and ends what its payer waits for.
func (s *Service) teamChanged(payer string) {
	s.holders.forget()
	s.cfg.Changes.revoke(payer)
}

// checkName refuses what cannot be the name of a team or a machine type.
func checkName(name string) error {
	if !plainName(name, "._-") {
		return invalid("name", "%q is not 1 to %d of A-Z, a-z, 0-9, dots, underscores and hyphens", name, maxName)
	}
	return nil
}
