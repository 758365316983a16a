package client

import (
	"context"
	"net/http"
)

const teamsPath = "/v1/teams"

// Team is a group of users with one of them who pays for their jobs.
type Team struct {
	// Name is [A-Za-z0-9._-].
	Name string `json:"name"`
	// Payer is a user.
	Payer string `json:"payer"`
}

type teamAnswer struct {
	Team Team `json:"team"`
}

// Teams lists the teams that the caller may see.
func (c *Client) Teams(ctx context.Context) ([]Team, error) {
	var answer struct {
		Teams []Team `json:"teams"`
	}
	_, err := c.get(ctx, teamsPath, nil, &answer)
	return answer.Teams, err
}

// AddTeam makes a team.
func (c *Client) AddTeam(ctx context.Context, team Team) (Team, error) {
	var answer teamAnswer
	_, err := c.send(ctx, call{method: http.MethodPost, path: teamsPath}, team, &answer)
	return answer.Team, err
}

// ChangeTeam gives a team another payer.
func (c *Client) ChangeTeam(ctx context.Context, team Team) (Team, error) {
	body := struct {
		Payer string `json:"payer"`
	}{team.Payer}
	var answer teamAnswer
	_, err := c.send(ctx, call{method: http.MethodPatch, path: teamsPath, under: []string{team.Name}}, body, &answer)
	return answer.Team, err
}

// RemoveTeam removes a team.
func (c *Client) RemoveTeam(ctx context.Context, name string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: teamsPath, under: []string{name}})
	return err
}
