package httpapi

import (
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

// userAnswer is an account.
type userAnswer struct {
	Name      string `json:"name"`
	Email     string `json:"email"`
	Admin     bool   `json:"admin"`
	Disabled  bool   `json:"disabled"`
	Billing   bool   `json:"billing"`
	Team      string `json:"team"`
	TeamAdmin bool   `json:"team_admin"`
	Payer     string `json:"payer"`
}

func newUserAnswer(u berth.User) userAnswer {
	return userAnswer{
		Name: u.Name, Email: u.Email, Admin: u.Admin, Disabled: u.Disabled, Billing: u.Billing,
		Team: u.Team, TeamAdmin: u.TeamAdmin, Payer: u.Payer,
	}
}

// keyAnswer is an API key without its secret.
type keyAnswer struct {
	ID       string    `json:"id"`
	User     string    `json:"user"`
	Label    string    `json:"label"`
	ReadOnly bool      `json:"read_only"`
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires,omitzero"`
}

func newShownKey(k berth.Key) keyAnswer {
	return keyAnswer{ID: k.ID, User: k.User, Label: k.Label, ReadOnly: k.ReadOnly, Created: k.Created, Expires: k.Expires}
}

// newKeyAnswer is the answer that holds the secret, the only one that ever does.
type newKeyAnswer struct {
	User   *userAnswer `json:"user,omitempty"`
	Key    keyAnswer   `json:"key"`
	Secret string      `json:"apikey"`
}

// oneUser is an account, with its keys when it was asked for.
type oneUser struct {
	User userAnswer   `json:"user"`
	Keys *[]keyAnswer `json:"keys,omitempty"`
}

func (s *server) users(c *call, caller berth.Caller, _ params) error {
	users, err := s.control.Users(c.r.Context(), caller)
	if err != nil {
		return err
	}
	return c.writeJSON(struct {
		Users []userAnswer `json:"users"`
	}{each(users, newUserAnswer)})
}

func (s *server) user(c *call, caller berth.Caller, _ params) error {
	user, keys, err := s.control.User(c.r.Context(), caller, c.r.PathValue("name"))
	if err != nil {
		return err
	}
	return c.writeJSON(oneUser{newUserAnswer(user), new(each(keys, newShownKey))})
}

func (s *server) addUser(c *call, caller berth.Caller, _ params) error {
	d, m, err := c.readMembers("name", "email", "admin", "billing", "team", "team_admin", "key")
	if err != nil {
		return err
	}
	billing := d.optionalFlag("billing", m["billing"])
	req := control.UserRequest{
		Name: d.required("name", m["name"]), Email: d.word("email", m["email"]), Admin: d.flag("admin", m["admin"]),
		NoBilling: billing != nil && !*billing, Team: d.word("team", m["team"]), TeamAdmin: d.flag("team_admin", m["team_admin"]),
		Key: d.key("key.", d.inner("key", m["key"], keyMembers()...), s.cfg.Now()),
	}
	if err := d.err(); err != nil {
		return err
	}
	user, key, err := s.control.AddUser(c.r.Context(), caller, req)
	if err != nil {
		return err
	}
	return c.writeJSON(newKeyAnswer{new(newUserAnswer(user)), newShownKey(key.Key), key.Secret})
}

func (s *server) changeUser(c *call, caller berth.Caller, _ params) error {
	d, m, err := c.readMembers("email", "admin", "disabled", "billing", "team", "team_admin")
	if err != nil {
		return err
	}
	change := berth.UserChange{
		Email: d.optionalWord("email", m["email"]), Admin: d.optionalFlag("admin", m["admin"]),
		Disabled: d.optionalFlag("disabled", m["disabled"]), Billing: d.optionalFlag("billing", m["billing"]),
		Team: d.optionalWord("team", m["team"]), TeamAdmin: d.optionalFlag("team_admin", m["team_admin"]),
	}
	if change == (berth.UserChange{}) {
		d.problem("body", "changes nothing, at least one member is required")
	}
	if err := d.err(); err != nil {
		return err
	}
	user, err := s.control.ChangeUser(c.r.Context(), caller, c.r.PathValue("name"), change)
	if err != nil {
		return err
	}
	return c.writeJSON(oneUser{User: newUserAnswer(user)})
}

func keyMembers() []string { return []string{"label", "read_only", "expires", "expires_in"} }

// key decodes what a new API key is to be.
func (d *decoder) key(path string, m members, now time.Time) control.KeyRequest {
	return control.KeyRequest{
		Label: d.word(path+"label", m["label"]), ReadOnly: d.flag(path+"read_only", m["read_only"]), Expires: d.expiry(path, m, now),
	}
}

func (s *server) addKey(c *call, caller berth.Caller, _ params) error {
	d, m, err := c.readMembers(keyMembers()...)
	if err != nil {
		return err
	}
	req := d.key("", m, s.cfg.Now())
	if err := d.err(); err != nil {
		return err
	}
	key, err := s.control.AddKey(c.r.Context(), caller, c.r.PathValue("name"), req)
	if err != nil {
		return err
	}
	return c.writeJSON(newKeyAnswer{Key: newShownKey(key.Key), Secret: key.Secret})
}

func (s *server) revokeKey(c *call, caller berth.Caller, _ params) error {
	if err := s.control.RevokeKey(c.r.Context(), caller, c.r.PathValue("name"), c.r.PathValue("id")); err != nil {
		return err
	}
	return c.writeJSON(statusAnswer{Status: "revoked"})
}
