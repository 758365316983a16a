package httpapi

import (
	"context"

	"github.com/berth-hpc/berth"
)

// teamAnswer is a team.
type teamAnswer struct {
	Name  string `json:"name"`
	Payer string `json:"payer"`
}

// oneTeam is a team that was made or changed.
type oneTeam struct {
	Team teamAnswer `json:"team"`
}

func (s *server) teams(c *call, caller berth.Caller, _ params) error {
	teams, err := s.control.Teams(c.r.Context(), caller)
	if err != nil {
		return err
	}
	return c.writeJSON(struct {
		Teams []teamAnswer `json:"teams"`
	}{each(teams, func(t berth.Team) teamAnswer { return teamAnswer(t) })})
}

func (s *server) addTeam(c *call, caller berth.Caller, _ params) error {
	return s.writeTeam(c, caller, s.control.AddTeam, "name", "payer")
}

func (s *server) changeTeam(c *call, caller berth.Caller, _ params) error {
	return s.writeTeam(c, caller, s.control.ChangeTeam, "payer")
}

// writeTeam makes or changes a team, whose name is in the path or a member.
func (s *server) writeTeam(
	c *call, caller berth.Caller, write func(context.Context, berth.Caller, berth.Team) error, allowed ...string,
) error {
	d, m, err := c.readMembers(allowed...)
	if err != nil {
		return err
	}
	team := berth.Team{Name: c.r.PathValue("name")}
	if team.Name == "" {
		team.Name = d.required("name", m["name"])
	}
	team.Payer = d.required("payer", m["payer"])
	if err := d.err(); err != nil {
		return err
	}
	if err := write(c.r.Context(), caller, team); err != nil {
		return err
	}
	return c.writeJSON(oneTeam{teamAnswer(team)})
}

func (s *server) removeTeam(c *call, caller berth.Caller, _ params) error {
	if err := s.control.RemoveTeam(c.r.Context(), caller, c.r.PathValue("name")); err != nil {
		return err
	}
	return c.writeJSON(statusAnswer{Status: "removed"})
}

// teamUser is an account as /jarvice/teamusers shows it.
type teamUser struct {
	Email string `json:"email"`
	Name  string `json:"name"`
}

// teamUsers answers an object keyed by the names of those who are in the caller's team.
func (s *server) teamUsers(c *call, caller berth.Caller, _ params) error {
	users, err := s.control.TeamUsers(c.r.Context(), caller)
	if err != nil {
		return err
	}
	answer := make(map[string]teamUser, len(users))
	for _, u := range users {
		answer[u.Name] = teamUser{u.Email, u.Name}
	}
	return c.writeJSON(answer)
}
