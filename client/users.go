package client

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"
)

const usersPath = "/v1/users"

// User is an account.
type User struct {
	Name  string `json:"name"`
	Email string `json:"email"`
	// Admin may see and control every job and manage accounts, machine types and images.
	Admin bool `json:"admin"`
	// Disabled accounts are refused like unknown ones.
	Disabled bool `json:"disabled"`
	// Billing says that the account may submit jobs.
	Billing bool `json:"billing"`
	// Team is the team that the user is in, empty for none. TeamAdmin may see and control every job of the team.
	Team      string `json:"team"`
	TeamAdmin bool   `json:"team_admin"`
	// Payer is who pays for the team, empty without a team.
	Payer string `json:"payer"`
}

// Key is what is known of an API key. The key itself is known to its holder only.
type Key struct {
	// ID names the key; it tells nothing about it.
	ID    string `json:"id"`
	User  string `json:"user"`
	Label string `json:"label"`
	// ReadOnly keys may look and change nothing.
	ReadOnly bool      `json:"read_only"`
	Created  time.Time `json:"created,omitzero"`
	// Expires is from when on the key is refused; zero is never.
	Expires time.Time `json:"expires,omitzero"`
}

// NewKey is a key that was just made: the only time that it can be seen.
type NewKey struct {
	Key Key `json:"key"`
	// APIKey is what Config.APIKey takes.
	APIKey string `json:"apikey,omitempty"`
}

// KeyRequest asks for an API key.
type KeyRequest struct {
	// Label is for people; may be empty.
	Label string
	// ReadOnly keys may look and change nothing.
	ReadOnly bool
	// Expires is from when on the key is refused; zero is never.
	Expires time.Time
	// ExpiresIn says the same from now on, without Expires.
	ExpiresIn time.Duration
}

// wire is the request as the server takes it.
func (k KeyRequest) wire() keyRequest {
	wire := keyRequest{Label: k.Label, ReadOnly: k.ReadOnly, Expires: k.Expires}
	if k.ExpiresIn > 0 {
		wire.ExpiresIn = k.ExpiresIn.String() // the server's clock counts
	}
	return wire
}

type keyRequest struct {
	Label     string    `json:"label,omitempty"`
	ReadOnly  bool      `json:"read_only,omitempty"`
	Expires   time.Time `json:"expires,omitzero"`
	ExpiresIn string    `json:"expires_in,omitempty"`
}

// NewUser is a request for an account.
type NewUser struct {
	// Name is [A-Za-z0-9.].
	Name, Email string
	Admin       bool
	// NoBilling makes an account that may not submit jobs.
	NoBilling bool
	Team      string
	TeamAdmin bool
	// Key is about the account's first API key.
	Key KeyRequest
}

// AddedUser is an account that was just made, with its first key.
type AddedUser struct {
	User User `json:"user"`
	NewKey
}

// UserChange is what changes of an account; nil fields stay as they are.
type UserChange struct {
	Email     *string `json:"email,omitempty"`
	Admin     *bool   `json:"admin,omitempty"`
	Disabled  *bool   `json:"disabled,omitempty"`
	Billing   *bool   `json:"billing,omitempty"`
	Team      *string `json:"team,omitempty"` // empty is no team
	TeamAdmin *bool   `json:"team_admin,omitempty"`
}

// Users lists the accounts that the caller may see: administrators all, others those of their team or only their own.
func (c *Client) Users(ctx context.Context) ([]User, error) {
	var answer struct {
		Users []User `json:"users"`
	}
	_, err := c.get(ctx, usersPath, nil, &answer)
	return answer.Users, err
}

// User returns an account and what is known of its keys.
func (c *Client) User(ctx context.Context, name string) (User, []Key, error) {
	var answer struct {
		User User  `json:"user"`
		Keys []Key `json:"keys"`
	}
	_, err := c.decode(ctx, call{method: http.MethodGet, path: usersPath, under: []string{name}}, &answer)
	return answer.User, answer.Keys, err
}

// AddUser makes an account and its first key. It is never repeated.
func (c *Client) AddUser(ctx context.Context, user NewUser) (AddedUser, error) {
	body := struct {
		Name      string     `json:"name"`
		Email     string     `json:"email,omitempty"`
		Admin     bool       `json:"admin,omitempty"`
		Billing   bool       `json:"billing"`
		Team      string     `json:"team,omitempty"`
		TeamAdmin bool       `json:"team_admin,omitempty"`
		Key       keyRequest `json:"key"`
	}{user.Name, user.Email, user.Admin, !user.NoBilling, user.Team, user.TeamAdmin, user.Key.wire()}
	var answer AddedUser
	_, err := c.send(ctx, call{method: http.MethodPost, path: usersPath}, body, &answer)
	return answer, err
}

// ChangeUser changes an account and returns it as it is then.
func (c *Client) ChangeUser(ctx context.Context, name string, change UserChange) (User, error) {
	var answer struct {
		User User `json:"user"`
	}
	_, err := c.send(ctx, call{method: http.MethodPatch, path: usersPath, under: []string{name}}, change, &answer)
	return answer.User, err
}

// AddKey makes another key of an account. It is never repeated.
func (c *Client) AddKey(ctx context.Context, user string, key KeyRequest) (NewKey, error) {
	var answer NewKey
	_, err := c.send(ctx, call{method: http.MethodPost, path: usersPath, under: []string{user, "keys"}}, key.wire(), &answer)
	return answer, err
}

// RevokeKey makes a key worthless at once and for good.
func (c *Client) RevokeKey(ctx context.Context, user, id string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: usersPath, under: []string{user, "keys", id}})
	return err
}

// TeamUser is a user of the caller's team.
type TeamUser struct {
	Name  string `json:"name"`
	Email string `json:"email"`
}

// TeamUsers lists the users of the caller's team, ordered by name; without a team it is the caller alone.
func (c *Client) TeamUsers(ctx context.Context) ([]TeamUser, error) {
	var answer map[string]TeamUser
	if _, err := c.get(ctx, "/jarvice/teamusers", url.Values{}, &answer); err != nil {
		return nil, err
	}
	users := make([]TeamUser, 0, len(answer))
	for name, user := range answer {
		users = append(users, TeamUser{Name: cmp.Or(user.Name, name), Email: user.Email})
	}
	slices.SortFunc(users, func(a, b TeamUser) int { return cmp.Compare(a.Name, b.Name) })
	return users, nil
}
