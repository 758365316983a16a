package control

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/appdef"
)

const (
	msgNoVariables = "Failed to access user meta table"
	maxValue       = 4096
)

// Variables returns the variables of an account: one's own, or any for administrators. Their values may be secrets, so a key for
// reading is refused.
func (s *Service) Variables(ctx context.Context, caller berth.Caller, user string) (map[string]string, error) {
	switch {
	case caller.Job != 0:
		return nil, errNotByToken
	case caller.ReadOnly:
		return nil, errReadOnly
	case caller.User.Admin:
		if _, err := s.cfg.Store.User(ctx, user); err != nil {
			return nil, named(err, msgNoUser)
		}
	case caller.User.Name != user:
		return nil, &berth.Error{Kind: berth.NotFound, Msg: msgNoUser}
	}
	return s.cfg.Store.Variables(ctx, user)
}

// SetVariable sets a variable of an account, which jobs of applications that ask for it find in their environment: for oneself, or by
// administrators. An empty value removes it. The audit log says which variable it was and not its value, which may be a secret.
func (s *Service) SetVariable(ctx context.Context, caller berth.Caller, user, name, value string) error {
	if err := actsFor(caller, user); err != nil {
		return err
	}
	switch {
	case !plainName(name, "_") || name[0] >= '0' && name[0] <= '9':
		return invalid("name", "%q is not 1 to %d of A-Z, a-z, 0-9 and underscores, not a digit first", name, maxName)
	case len(value) > maxValue || !utf8.ValidString(value) || strings.ContainsRune(value, 0):
		return invalid("value", "it must be text of at most %d bytes", maxValue)
	}
	detail := "set " + name
	if value == "" {
		detail = "removed " + name
	}
	err := s.cfg.Store.SetVariable(ctx, user, name, value, s.act(caller, berth.ActVariableSet, user, detail))
	return named(err, msgNoUser)
}

// accountVariables returns those variables that an application wants to see: the caller's own, or the payer's where it is inherited
// and the application may see them.
func (s *Service) accountVariables(
	ctx context.Context, caller berth.Caller, app berth.Application, wanted []appdef.Variable,
) ([]berth.Setting, error) {
	if len(wanted) == 0 {
		return nil, nil
	}
	own, err := s.variablesOf(ctx, caller.User.Name)
	if err != nil {
		return nil, err
	}
	payers := map[string]string{}
	inherits := func(v appdef.Variable) bool { return v.Inherit && own[v.Key] == "" }
	if payer := caller.User.Payer; payer != "" && payer != caller.User.Name && slices.ContainsFunc(wanted, inherits) {
		if payers, err = s.payersVariables(ctx, payer, app); err != nil {
			return nil, err
		}
	}
	var settings []berth.Setting
	var missing []string
	for _, v := range wanted {
		value := own[v.Key]
		if inherits(v) {
			value = payers[v.Key]
		}
		switch {
		case value != "":
			settings = append(settings, berth.Setting{Key: v.Key, Value: value})
		case v.Required:
			missing = append(missing, v.Key)
		}
	}
	if len(missing) > 0 {
		return nil, malformed("user", "the application needs variables that your account does not have: "+strings.Join(missing, ", "))
	}
	return settings, nil
}

// payersVariables returns the variables of a payer, none when neither the payer nor an administrator answers for the application:
// whoever of the team made it could read them in its jobs.
func (s *Service) payersVariables(ctx context.Context, payer string, app berth.Application) (map[string]string, error) {
	if app.Certified || app.Owner == payer {
		return s.variablesOf(ctx, payer)
	}
	owner, err := s.cfg.Store.User(ctx, app.Owner)
	switch {
	case berth.KindOf(err) == berth.NotFound || err == nil && !owner.Admin:
		return nil, nil
	case err != nil:
		return nil, &berth.Error{Kind: berth.Unsupported, Msg: msgNoVariables, Err: err}
	}
	return s.variablesOf(ctx, payer)
}

func (s *Service) variablesOf(ctx context.Context, user string) (map[string]string, error) {
	variables, err := s.cfg.Store.Variables(ctx, user)
	if err != nil {
		return nil, &berth.Error{Kind: berth.Unsupported, Msg: msgNoVariables, Err: err}
	}
	return variables, nil
}

// withAccount returns the variables of an account and then those of the parameters, each name once: parameters win, and of two of a
// kind the last.
func withAccount(account, parameters []berth.Setting) []berth.Setting {
	all := slices.Concat(account, parameters)
	var settings []berth.Setting
	for i, v := range all {
		again := slices.ContainsFunc(all[i+1:], func(later berth.Setting) bool { return later.Key == v.Key })
		if !again {
			settings = append(settings, v)
		}
	}
	return settings
}
