package httpapi

import (
	"context"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

// accounts is the part of the scripted control that tells of events and of accounts.
type accounts struct {
	infoOfJob control.JobInfo
	nodes     []control.NodeMetrics
	records   []berth.Record
	leftOut   int64
	forecast  berth.Forecast
	audited   []berth.Record
	events    *scriptedStream
	// What the last call of these operations was given.
	from         string
	eventsFilter control.EventsFilter
	auditFilter  control.AuditFilter
	newUser      control.UserRequest
	userChange   berth.UserChange
	newKey       control.KeyRequest
	machine      berth.Machine
	billed       control.BillingFilter
	// block is called by TeamUsers.
	block func()
}

func testUsers() map[string]berth.User {
	return map[string]berth.User{
		testUser: {Name: testUser, Email: "ada@example.org", Billing: true, Team: "lab", Payer: "bob"},
		"bob":    {Name: "bob", Billing: true, Team: "lab", TeamAdmin: true, Payer: "bob"},
		"root":   {Name: "root", Admin: true, Billing: true},
	}
}

func (s *scripted) Authenticate(_ context.Context, username, apikey, from string) (berth.Caller, error) {
	s.mu.Lock()
	s.from = from
	s.mu.Unlock()
	if err := s.fail["Authenticate"]; err != nil {
		return berth.Caller{}, err
	}
	holders := map[string]string{testKey: testUser, readKey: testUser, otherKey: "bob", adminKey: "root"}
	name, known := holders[apikey]
	if !known || username != "" && username != name {
		return berth.Caller{}, berth.Errorf(berth.Unauthenticated, "Unauthorized")
	}
	return berth.Caller{User: testUsers()[name], ReadOnly: apikey == readKey, From: from}, nil
}

func (s *scripted) Users(context.Context, berth.Caller) ([]berth.User, error) {
	return []berth.User{testUsers()[testUser], testUsers()["bob"]}, s.fail["Users"]
}

func (s *scripted) TeamUsers(_ context.Context, caller berth.Caller) ([]berth.User, error) {
	if s.block != nil {
		s.block()
	}
	if caller.User.Team == "" {
		return []berth.User{caller.User}, nil
	}
	return []berth.User{testUsers()[testUser], testUsers()["bob"]}, s.fail["TeamUsers"]
}

func testKeyOf(user string) berth.Key {
	return berth.Key{ID: "k1", User: user, Label: "laptop", Created: submittedAt()}
}

func (s *scripted) User(_ context.Context, caller berth.Caller, name string) (berth.User, []berth.Key, error) {
	user, known := testUsers()[name]
	if !known || !caller.User.Admin && name != caller.User.Name {
		return berth.User{}, nil, berth.Errorf(berth.NotFound, "User not found")
	}
	return user, []berth.Key{testKeyOf(name)}, s.fail["User"]
}

// administers says why the caller may not change what belongs to nobody.
func administers(caller berth.Caller) error {
	switch {
	case !caller.User.Admin:
		return errAdminOnly
	case caller.ReadOnly:
		return errReadOnly
	default:
		return nil
	}
}

func (s *scripted) AddUser(
	_ context.Context, caller berth.Caller, req control.UserRequest,
) (berth.User, control.NewAPIKey, error) {
	if err := administers(caller); err != nil {
		return berth.User{}, control.NewAPIKey{}, err
	}
	s.newUser = req
	key := control.NewAPIKey{Key: testKeyOf(req.Name), Secret: "s3cret"}
	key.Expires = req.Key.Expires
	return berth.User{Name: req.Name, Billing: !req.NoBilling}, key, s.fail["AddUser"]
}

func (s *scripted) ChangeUser(_ context.Context, caller berth.Caller, name string, change berth.UserChange) (berth.User, error) {
	user, known := testUsers()[name]
	switch {
	case administers(caller) != nil:
		return berth.User{}, administers(caller)
	case !known:
		return berth.User{}, berth.Errorf(berth.NotFound, "User not found")
	}
	s.userChange = change
	return user, s.fail["ChangeUser"]
}

func (s *scripted) AddKey(_ context.Context, caller berth.Caller, user string, req control.KeyRequest) (control.NewAPIKey, error) {
	if caller.ReadOnly {
		return control.NewAPIKey{}, errReadOnly
	}
	s.newKey = req
	return control.NewAPIKey{Key: testKeyOf(user), Secret: "s3cret"}, s.fail["AddKey"]
}

func (s *scripted) RevokeKey(_ context.Context, caller berth.Caller, _, id string) error {
	switch {
	case caller.ReadOnly:
		return errReadOnly
	case id != "k1":
		return berth.Errorf(berth.NotFound, "Key not found")
	default:
		return s.fail["RevokeKey"]
	}
}

func testSSHKey(line string) berth.SSHKey {
	return berth.SSHKey{Fingerprint: "SHA256:a/b+c", Line: line, Comment: "ada@laptop", Added: submittedAt()}
}

func (s *scripted) SSHKeys(_ context.Context, caller berth.Caller) ([]berth.SSHKey, error) {
	if caller.User.Name != testUser {
		return nil, s.fail["SSHKeys"]
	}
	return []berth.SSHKey{testSSHKey("ssh-ed25519 A")}, s.fail["SSHKeys"]
}

func (s *scripted) AddSSHKey(_ context.Context, caller berth.Caller, line string) (berth.SSHKey, error) {
	switch {
	case caller.ReadOnly:
		return berth.SSHKey{}, errReadOnly
	case line == "one\nmore":
		return berth.SSHKey{}, &berth.Error{Kind: berth.LimitReached, Msg: "You have too many keys", Detail: "50, remove one first"}
	case line == "there":
		return berth.SSHKey{}, berth.Errorf(berth.Conflict, "You have this key already")
	}
	return testSSHKey(line), s.fail["AddSSHKey"]
}

func (s *scripted) RemoveSSHKey(_ context.Context, caller berth.Caller, fingerprint string) error {
	switch {
	case caller.ReadOnly:
		return errReadOnly
	case fingerprint != "SHA256:a/b+c":
		return berth.Errorf(berth.NotFound, "Key not found")
	default:
		return s.fail["RemoveSSHKey"]
	}
}

func (s *scripted) Teams(context.Context, berth.Caller) ([]berth.Team, error) {
	return []berth.Team{{Name: "lab", Payer: "bob"}}, s.fail["Teams"]
}

func (s *scripted) AddTeam(_ context.Context, caller berth.Caller, team berth.Team) error {
	switch {
	case administers(caller) != nil:
		return administers(caller)
	case team.Name == "lab":
		return berth.Errorf(berth.Conflict, "There is a team lab already")
	default:
		return s.fail["AddTeam"]
	}
}

func (s *scripted) ChangeTeam(_ context.Context, caller berth.Caller, team berth.Team) error {
	return s.team(caller, team.Name, "ChangeTeam")
}

func (s *scripted) RemoveTeam(_ context.Context, caller berth.Caller, name string) error {
	return s.team(caller, name, "RemoveTeam")
}

func (s *scripted) team(caller berth.Caller, name, operation string) error {
	switch {
	case administers(caller) != nil:
		return administers(caller)
	case name != "lab":
		return berth.Errorf(berth.NotFound, "Team not found")
	default:
		return s.fail[operation]
	}
}

func (s *scripted) Machines(_ context.Context, _ berth.Caller, name, vault string) ([]berth.Machine, error) {
	if vault == "none" {
		return nil, berth.Errorf(berth.Invalid, "Invalid parameter(s): you have no vault %q", vault)
	}
	var machines []berth.Machine
	for _, m := range s.machines {
		if name == "" || name == "all" || name == m.Name {
			machines = append(machines, m)
		}
	}
	return machines, s.fail["Machines"]
}

func (s *scripted) SetMachine(_ context.Context, caller berth.Caller, machine berth.Machine) error {
	if err := administers(caller); err != nil {
		return err
	}
	s.machine = machine
	return s.fail["SetMachine"]
}

func (s *scripted) RemoveMachine(_ context.Context, caller berth.Caller, name string) error {
	switch {
	case administers(caller) != nil:
		return administers(caller)
	case name != "n0":
		return berth.Errorf(berth.NotFound, "Machine type not found")
	default:
		return s.fail["RemoveMachine"]
	}
}

// The real control and the scripted one are both what the API needs.
var (
	_ Control = fromService{(*control.Service)(nil)}
	_ Control = (*scripted)(nil)
)

// readsAll says why the caller may not read what concerns everybody.
func readsAll(caller berth.Caller) error {
	if !caller.User.Admin {
		return berth.Errorf(berth.Forbidden, "Only an administrator may do this")
	}
	return nil
}

func (s *scripted) Billing(_ context.Context, caller berth.Caller, filter control.BillingFilter, visit func(berth.Job) error) error {
	if err := readsAll(caller); err != nil {
		return err
	}
	s.billed = filter
	for _, job := range s.jobs {
		if err := visit(job); err != nil {
			return err
		}
	}
	return nil
}

func (s *scripted) Projects(_ context.Context, caller berth.Caller) (map[string][]string, error) {
	return map[string][]string{"bob-wing": {"ada", "bob"}}, readsAll(caller)
}

func (s *scripted) Licence(_ context.Context, caller berth.Caller) (string, error) {
	return "free\n", readsAll(caller)
}
