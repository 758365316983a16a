package control

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

// Limits of what accounts are called.
const (
	maxName  = 64
	maxLabel = 100
	maxEmail = 254
)

const (
	msgNoUser = "User not found"
	msgNoKey  = "Key not found"
)

// Users lists accounts by name: all for administrators, those of the team for who leads it, oneself for others.
func (s *Service) Users(ctx context.Context, caller berth.Caller) ([]berth.User, error) {
	switch {
	case caller.User.Admin:
		return s.cfg.Store.Users(ctx, "")
	case leads(caller):
		return s.cfg.Store.Users(ctx, caller.User.Team)
	default:
		return []berth.User{caller.User}, nil
	}
}

// TeamUsers lists the users of the caller's team by name, the caller alone when there is none.
func (s *Service) TeamUsers(ctx context.Context, caller berth.Caller) ([]berth.User, error) {
	if caller.Job != 0 {
		return nil, errNotByToken
	}
	if caller.User.Team == "" {
		return []berth.User{caller.User}, nil
	}
	return s.cfg.Store.Users(ctx, caller.User.Team)
}

// User returns an account with what is known of its API keys: one's own, or any for administrators.
func (s *Service) User(ctx context.Context, caller berth.Caller, name string) (berth.User, []berth.Key, error) {
	if caller.Job != 0 {
		return berth.User{}, nil, errNotByToken
	}
	if !caller.User.Admin && caller.User.Name != name {
		return berth.User{}, nil, &berth.Error{Kind: berth.NotFound, Msg: msgNoUser}
	}
	user, err := s.cfg.Store.User(ctx, name)
	if err != nil {
		return berth.User{}, nil, named(err, msgNoUser)
	}
	keys, err := s.cfg.Store.Keys(ctx, name)
	return user, keys, err
}

// AddUser makes an account with its vaults and a first API key, whose secret is shown this once. Administrators only. Conflict when
// there is a user of that name; Invalid when there is no such team.
func (s *Service) AddUser(ctx context.Context, caller berth.Caller, req UserRequest) (berth.User, NewAPIKey, error) {
	if err := administers(caller); err != nil {
		return berth.User{}, NewAPIKey{}, err
	}
	if !plainName(req.Name, ".") || strings.HasPrefix(req.Name, ".") {
		return berth.User{}, NewAPIKey{}, invalid("name", "%q is not 1 to %d of A-Z, a-z, 0-9 and dots, not a dot first", req.Name, maxName)
	}
	if err := checkEmail(req.Email); err != nil {
		return berth.User{}, NewAPIKey{}, err
	}
	key, err := s.newKey(req.Name, req.Key)
	if err != nil {
		return berth.User{}, NewAPIKey{}, err
	}
	user := berth.User{
		Name: req.Name, Email: req.Email, Admin: req.Admin, Billing: !req.NoBilling, Team: req.Team, TeamAdmin: req.TeamAdmin,
	}
	newUser := store.NewUser{User: user, Key: key.Key, KeyHash: HashKey(key.Secret), Vaults: s.cfg.Vaults(req.Name)}
	detail := changes(berth.User{Name: user.Name, Billing: true}, user) + keyDetail(key.Key)
	if err := s.cfg.Store.CreateUser(ctx, newUser, s.act(caller, berth.ActUserAdded, user.Name, detail)); err != nil {
		return berth.User{}, NewAPIKey{}, err
	}
	user, err = s.cfg.Store.User(ctx, user.Name) // with the payer of the team
	return user, key, err
}

// ChangeUser changes an account. It holds from the next request on, and ends what the user waits for when it touches what the user
// may see. Administrators only, who cannot shut themselves out, and of whom one stays.
func (s *Service) ChangeUser(ctx context.Context, caller berth.Caller, name string, change berth.UserChange) (berth.User, error) {
	if err := administers(caller); err != nil {
		return berth.User{}, err
	}
	if change.Email != nil {
		if err := checkEmail(*change.Email); err != nil {
			return berth.User{}, err
		}
	}
	if name == caller.User.Name && (isSet(change.Disabled, true) || isSet(change.Admin, false)) {
		return berth.User{}, &berth.Error{
			Kind: berth.Conflict, Msg: "You cannot shut yourself out", Detail: "ask another administrator to do it",
		}
	}
	before, err := s.cfg.Store.User(ctx, name)
	if err != nil {
		return berth.User{}, named(err, msgNoUser)
	}
	act := s.act(caller, berth.ActUserChanged, name, changes(before, change.Apply(before)))
	user, err := s.cfg.Store.ChangeUser(ctx, name, change, act)
	if err != nil {
		return berth.User{}, named(err, msgNoUser)
	}
	s.holders.forget()
	if change.Admin != nil || change.Disabled != nil || change.Team != nil || change.TeamAdmin != nil {
		s.cfg.Changes.revoke(name)
	}
	return user, nil
}

// AddKey makes another API key, whose secret is shown this once: for oneself, or by administrators. Who is no administrator and comes
// with a key that ends gets one that ends with it or before, whatever was asked for: a key does not outlive its end by making others.
func (s *Service) AddKey(ctx context.Context, caller berth.Caller, user string, req KeyRequest) (NewAPIKey, error) {
	if err := actsFor(caller, user); err != nil {
		return NewAPIKey{}, err
	}
	if end := caller.Expires; !end.IsZero() && !caller.User.Admin && (req.Expires.IsZero() || req.Expires.After(end)) {
		req.Expires = end
	}
	key, err := s.newKey(user, req)
	if err != nil {
		return NewAPIKey{}, err
	}
	act := s.act(caller, berth.ActKeyAdded, user, strings.TrimSpace(keyDetail(key.Key)))
	if err := s.cfg.Store.AddKey(ctx, key.Key, HashKey(key.Secret), act); err != nil {
		return NewAPIKey{}, named(err, msgNoUser)
	}
	return key, nil
}

// RevokeKey ends an API key: one's own, or any by administrators. It is refused from the next request on, and what its user waits
// for ends. Conflict for the last key with which an administrator can act.
func (s *Service) RevokeKey(ctx context.Context, caller berth.Caller, user, id string) error {
	if err := actsFor(caller, user); err != nil {
		return err
	}
	if err := s.cfg.Store.RevokeKey(ctx, user, id, s.act(caller, berth.ActKeyRevoked, user, "key "+id)); err != nil {
		return named(err, msgNoKey)
	}
	s.holders.forget()
	s.cfg.Changes.revoke(user)
	return nil
}

// newKey makes a key as it was asked for.
func (s *Service) newKey(user string, req KeyRequest) (NewAPIKey, error) {
	now := s.cfg.Now().UTC()
	switch {
	case len(req.Label) > maxLabel || !printable(req.Label):
		return NewAPIKey{}, invalid("label", "it must have at most %d printable characters", maxLabel)
	case !req.Expires.IsZero() && !req.Expires.After(now):
		return NewAPIKey{}, invalid("expires", "%s is over", req.Expires.UTC().Format(time.RFC3339))
	}
	return NewAPIKey{
		Key: berth.Key{
			ID: encodeKey(s.cfg.Random(keyIDBytes)), User: user, Label: req.Label, ReadOnly: req.ReadOnly,
			Created: now.Truncate(time.Microsecond), Expires: req.Expires.UTC().Truncate(time.Microsecond),
		},
		Secret: encodeKey(s.cfg.Random(keyBytes)),
	}, nil
}

// keyDetail tells people about a key, with a space in front.
func keyDetail(key berth.Key) string {
	detail := " key " + key.ID
	if key.Label != "" {
		detail += fmt.Sprintf(" %q", key.Label)
	}
	if key.ReadOnly {
		detail += " for reading"
	}
	if !key.Expires.IsZero() {
		detail += " until " + key.Expires.Format(time.RFC3339)
	}
	return detail
}

// changes tells people in which way two accounts differ.
func changes(before, after berth.User) string {
	var words []string
	say := func(field string, before, after any) {
		if before != after {
			words = append(words, fmt.Sprintf("%s=%v", field, after))
		}
	}
	say("email", before.Email, after.Email)
	say("admin", before.Admin, after.Admin)
	say("disabled", before.Disabled, after.Disabled)
	say("billing", before.Billing, after.Billing)
	say("team", before.Team, after.Team)
	say("team_admin", before.TeamAdmin, after.TeamAdmin)
	return strings.Join(words, " ")
}

func isSet(flag *bool, to bool) bool { return flag != nil && *flag == to }

// named gives what is not there its name; other errors pass.
func named(err error, msg string) error {
	if berth.KindOf(err) == berth.NotFound {
		return &berth.Error{Kind: berth.NotFound, Msg: msg, Err: err}
	}
	return err
}

// plainName says whether a name has 1 to 64 letters, digits and others of these characters.
func plainName(name, others string) bool {
	for i := range len(name) {
		switch b := name[i]; {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', strings.IndexByte(others, b) >= 0:
		default:
			return false
		}
	}
	return name != "" && len(name) <= maxName
}

func printable(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// checkEmail refuses what is certainly no address. Only a mail that arrives can show that it is one.
func checkEmail(email string) error {
	local, domain, _ := strings.Cut(email, "@")
	if email == "" || local != "" && domain != "" && len(email) <= maxEmail && printable(email) && !strings.Contains(email, " ") {
		return nil
	}
	return invalid("email", "it is not NAME@DOMAIN")
}
