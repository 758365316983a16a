package control

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
)

func machineType(name string) berth.Machine {
	return berth.Machine{Name: name, Cores: 1, RAM: 1 << 30, ScaleMin: 1, ScaleMax: 1}
}

func names(users []berth.User) string {
	var all []string
	for _, user := range users {
		all = append(all, user.Name)
	}
	return strings.Join(all, " ")
}

func TestAddUser(t *testing.T) {
	b := newBench(t)
	req := UserRequest{
		Name: "eve", Email: "eve@example.org", Team: "red", TeamAdmin: true, Key: KeyRequest{Label: "first", ReadOnly: true, Expires: time.Now().Add(time.Hour)},
	}
	user, key, err := b.AddUser(t.Context(), b.admin, req)
	if err != nil {
		t.Fatal(err)
	}
	want := berth.User{Name: "eve", Email: "eve@example.org", Billing: true, Team: "red", TeamAdmin: true, Payer: "paul"}
	if diff := cmp.Diff(want, user); diff != "" {
		t.Errorf("user (-want +got):\n%s", diff)
	}
	caller, err := b.Authenticate(t.Context(), "eve", key.Secret, "192.0.2.9")
	wantCaller := berth.Caller{User: want, ReadOnly: true, KeyID: key.ID, Expires: key.Expires, From: "192.0.2.9"}
	if diff := cmp.Diff(wantCaller, caller); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if vault, err := b.store.Vault(t.Context(), "eve", "data"); err != nil || vault.Path != "/vaults/eve" {
		t.Errorf("vault %+v, %v", vault, err)
	}
	_, keys, err := b.User(t.Context(), caller, "eve")
	if diff := cmp.Diff([]berth.Key{key.Key}, keys); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	act := b.lastRecord(t).Act
	if act.Kind != berth.ActUserAdded || act.Subject != "eve" || strings.Contains(act.Detail, key.Secret) ||
		!strings.Contains(act.Detail, key.ID) || !strings.Contains(act.Detail, "team=red") {
		t.Errorf("recorded %+v", act)
	}
	_, _, err = b.AddUser(t.Context(), b.admin, UserRequest{Name: "eve"})
	wantError(t, err, berth.Conflict, "There is a user of that name")
	_, _, err = b.AddUser(t.Context(), b.admin, UserRequest{Name: "new", Team: "none"})
	wantError(t, err, berth.Invalid, "There is no team of that name")
}

func TestAccountsAreChecked(t *testing.T) {
	b := newBench(t)
	add := func(change func(*UserRequest)) error {
		req := UserRequest{Name: "new"}
		change(&req)
		_, _, err := b.AddUser(t.Context(), b.admin, req)
		return err
	}
	long := strings.Repeat("x", 65)
	for _, name := range []string{"", ".x", "..", "a/b", "a b", "ä", "a-b", "a_b", long} {
		wantError(t, add(func(r *UserRequest) { r.Name = name }), berth.Invalid, "Invalid parameter(s): name: ")
	}
	for _, email := range []string{"x", "@x", "x@", "a b@x", "a@x\n", strings.Repeat("x", 255) + "@x"} {
		wantError(t, add(func(r *UserRequest) { r.Email = email }), berth.Invalid, "Invalid parameter(s): email: ")
	}
	for _, label := range []string{"a\nb", strings.Repeat("x", 101)} {
		wantError(t, add(func(r *UserRequest) { r.Key.Label = label }), berth.Invalid, "Invalid parameter(s): label: ")
	}
	wantError(t, add(func(r *UserRequest) { r.Key.Expires = time.Now() }), berth.Invalid, "Invalid parameter(s): expires: ")
	for _, name := range []string{"", "a/b", "a b", long} {
		wantError(t, b.AddTeam(t.Context(), b.admin, berth.Team{Name: name, Payer: "bob"}), berth.Invalid, "Invalid parameter(s): name: ")
		wantError(t, b.SetMachine(t.Context(), b.admin, machineType(name)), berth.Invalid, "Invalid parameter(s): name: ")
	}
	for field, change := range map[string]func(*berth.Machine){
		"cores": func(m *berth.Machine) { m.Cores = 0 }, "ram_mb": func(m *berth.Machine) { m.RAM = 1 },
		"gpus": func(m *berth.Machine) { m.GPUs = -1 }, "scale_min": func(m *berth.Machine) { m.ScaleMin = 2 },
		"grace_seconds": func(m *berth.Machine) { m.Grace = -1 }, "price": func(m *berth.Machine) { m.Price = -1 },
		"scratch_mb":  func(m *berth.Machine) { m.Scratch = minRAM - 1 },
		"description": func(m *berth.Machine) { m.Description = "\x00" },
	} {
		machine := machineType("m1")
		change(&machine)
		wantError(t, b.SetMachine(t.Context(), b.admin, machine), berth.Invalid, "Invalid parameter(s): "+field)
	}
}

func TestWhoSeesAccounts(t *testing.T) {
	b := newBench(t)
	for name, test := range map[string]struct {
		caller      berth.Caller
		users, team string
	}{
		"administrator":        {b.admin, "ada bob mia paul root tess", "root"},
		"payer":                {b.paul, "ada mia paul tess", "ada mia paul tess"},
		"team's administrator": {b.tess, "ada mia paul tess", "ada mia paul tess"},
		"member":               {b.ada, "ada", "ada mia paul tess"},
		"no team":              {b.bob, "bob", "bob"},
	} {
		users, err := b.Users(t.Context(), test.caller)
		if err != nil || names(users) != test.users {
			t.Errorf("%s sees %s, %v; want %s", name, names(users), err, test.users)
		}
		users, err = b.TeamUsers(t.Context(), test.caller)
		if err != nil || names(users) != test.team {
			t.Errorf("the team of the %s is %s, %v; want %s", name, names(users), err, test.team)
		}
	}
	for _, name := range []string{"bob", "nobody"} {
		_, _, err := b.User(t.Context(), b.tess, name)
		wantError(t, err, berth.NotFound, "User not found")
	}
	_, _, err := b.User(t.Context(), b.admin, "nobody")
	wantError(t, err, berth.NotFound, "User not found")
}

// TestChangesHoldAtOnce: whoever was let in a moment ago is not let in by what the server remembers.
func TestChangesHoldAtOnce(t *testing.T) {
	b := newBench(t)
	login := func() (berth.Caller, error) { return b.Authenticate(t.Context(), "ada", "key of ada", "") }
	yes, no := true, false
	if _, err := login(); err != nil {
		t.Fatal(err)
	}
	user, err := b.ChangeUser(t.Context(), b.admin, "ada", berth.UserChange{Disabled: &yes, Billing: &no})
	if err != nil || !user.Disabled || user.Billing || user.Team != "red" {
		t.Errorf("user %+v, %v", user, err)
	}
	if act := b.lastRecord(t).Act; act.Kind != berth.ActUserChanged || act.Detail != "disabled=true billing=false" {
		t.Errorf("recorded %+v", act)
	}
	_, err = login()
	wantError(t, err, berth.Unauthenticated, "Unauthorized")
	if _, err := b.ChangeUser(t.Context(), b.admin, "ada", berth.UserChange{Disabled: &no}); err != nil {
		t.Fatal(err)
	}
	caller, err := login()
	if err != nil || caller.User.Billing {
		t.Errorf("caller %+v, %v", caller, err)
	}
	if err := b.RevokeKey(t.Context(), caller, "ada", "ada"); err != nil {
		t.Fatal(err)
	}
	_, err = login()
	wantError(t, err, berth.Unauthenticated, "Unauthorized")
	wantError(t, b.RevokeKey(t.Context(), b.ada, "ada", "ada"), berth.NotFound, "Key not found")
	_, err = b.ChangeUser(t.Context(), b.admin, "nobody", berth.UserChange{})
	wantError(t, err, berth.NotFound, "User not found")
}

func TestNobodyShutsOneselfOut(t *testing.T) {
	b := newBench(t)
	yes, no := true, false
	for _, change := range []berth.UserChange{{Disabled: &yes}, {Admin: &no}} {
		_, err := b.ChangeUser(t.Context(), b.admin, "root", change)
		wantError(t, err, berth.Conflict, "You cannot shut yourself out: ask another administrator")
	}
	if _, err := b.ChangeUser(t.Context(), b.admin, "root", berth.UserChange{Disabled: &no, Admin: &yes}); err != nil {
		t.Error(err)
	}
}

// TestKeysExpire also while the server remembers them.
func TestKeysExpire(t *testing.T) {
	now := time.Now()
	b := newBench(t, func(c *Config) { c.Now = func() time.Time { return now } })
	expires := now.Add(500 * time.Millisecond)
	key, err := b.AddKey(t.Context(), b.ada, "ada", KeyRequest{Expires: expires})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Authenticate(t.Context(), "", key.Secret, ""); err != nil {
		t.Error(err)
	}
	now = expires
	_, err = b.Authenticate(t.Context(), "", key.Secret, "")
	wantError(t, err, berth.Unauthenticated, "Unauthorized")
}

// TestAKeyThatEndsMakesNoneThatGoesOn, unless an administrator has it.
func TestAKeyThatEndsMakesNoneThatGoesOn(t *testing.T) {
	b := newBench(t)
	end := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	ada, admin := b.ada, b.admin
	ada.Expires, admin.Expires = end, end
	for name, test := range map[string]struct {
		caller      berth.Caller
		asked, want time.Time
	}{
		"never":         {ada, time.Time{}, end},
		"later":         {ada, end.Add(time.Minute), end},
		"before":        {ada, end.Add(-time.Minute), end.Add(-time.Minute)},
		"administrator": {admin, time.Time{}, time.Time{}},
		"no end":        {b.ada, time.Time{}, time.Time{}},
	} {
		key, err := b.AddKey(t.Context(), test.caller, test.caller.User.Name, KeyRequest{Expires: test.asked})
		if err != nil || !key.Expires.Equal(test.want) {
			t.Errorf("%s: until %s, %v; want %s", name, key.Expires, err, test.want)
		}
	}
}

// TestTheLastAdministratorStays also when another one wants it out who came with a key that is gone.
func TestTheLastAdministratorStays(t *testing.T) {
	b := newBench(t)
	no := false
	late := b.admin
	late.User.Name = "gone"
	_, err := b.ChangeUser(t.Context(), late, "root", berth.UserChange{Admin: &no})
	wantError(t, err, berth.Conflict, "No administrator could log in any more")
	wantError(t, b.RevokeKey(t.Context(), b.admin, "root", "root"), berth.Conflict, "No administrator could log in any more")
}

func TestTeams(t *testing.T) {
	b := newBench(t)
	if err := b.AddTeam(t.Context(), b.admin, berth.Team{Name: "blue", Payer: "bob"}); err != nil {
		t.Fatal(err)
	}
	teams, err := b.Teams(t.Context(), b.admin)
	if diff := cmp.Diff([]berth.Team{{Name: "blue", Payer: "bob"}, {Name: "red", Payer: "paul"}}, teams); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	teams, err = b.Teams(t.Context(), b.mia)
	if diff := cmp.Diff([]berth.Team{{Name: "red", Payer: "paul"}}, teams); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	wantError(t, b.ChangeTeam(t.Context(), b.admin, berth.Team{Name: "green", Payer: "bob"}), berth.NotFound, "Team not found")
	wantError(t, b.RemoveTeam(t.Context(), b.admin, "green"), berth.NotFound, "Team not found")
	wantError(t, b.RemoveTeam(t.Context(), b.admin, "red"), berth.Conflict, "")
	wantError(t, b.RemoveMachine(t.Context(), b.admin, "zz"), berth.NotFound, "Machine type not found")
	if err := b.RemoveTeam(t.Context(), b.admin, "blue"); err != nil {
		t.Error(err)
	}
}

// TestThePayerPays: a job says who pays for it, and nobody of the team submits when the payer's billing is switched off.
func TestThePayerPays(t *testing.T) {
	b := newBench(t)
	if job := b.submit(t); job.Team != "red" || job.Payer != "paul" || job.Owner != "ada" {
		t.Errorf("team %q, payer %q, owner %q", job.Team, job.Payer, job.Owner)
	}
	if job := b.submitBy(t, b.bob); job.Team != "" || job.Payer != "bob" {
		t.Errorf("team %q, payer %q of a user without a team", job.Team, job.Payer)
	}
	no := false
	if _, err := b.ChangeUser(t.Context(), b.admin, "paul", berth.UserChange{Billing: &no}); err != nil {
		t.Fatal(err)
	}
	caller, err := b.Authenticate(t.Context(), "ada", "key of ada", "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Batch(t.Context(), caller, request())
	wantError(t, err, berth.Unauthenticated, "Account billing not active")
}

// TestOneActiveJobOnAPersonalMachine, however many are submitted at a time; each user has one.
func TestOneActiveJobOnAPersonalMachine(t *testing.T) {
	b := newBench(t)
	req := request()
	req.Submission.Machine.Type = "p0"
	const tries = 16
	var mu sync.Mutex
	var accepted, refused int
	var all sync.WaitGroup
	for range tries {
		all.Go(func() {
			_, err := b.Batch(t.Context(), b.ada, req)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				accepted++
				return
			}
			refused++
			wantError(t, err, berth.LimitReached, "Only one active job allowed per VM")
		})
	}
	all.Wait()
	if accepted != 1 || refused != tries-1 {
		t.Errorf("%d accepted, %d refused", accepted, refused)
	}
	if _, err := b.Batch(t.Context(), b.bob, req); err != nil {
		t.Errorf("another user: %v", err)
	}
	if err := b.Terminate(t.Context(), b.ada, JobRef{Number: 1}); err != nil && !errors.Is(err, errNotRunning) {
		t.Fatal(err)
	}
}

// TestScratchOfTheMachineType is refused where it cannot be bounded, and changed to none.
func TestScratchOfTheMachineType(t *testing.T) {
	off := errors.New("no quotas")
	b := newBench(t, func(cfg *Config) { cfg.CheckScratch = func() error { return off } })
	machine := machineType("m1")
	if err := b.SetMachine(t.Context(), b.admin, machine); err != nil {
		t.Errorf("no bound: %v", err)
	}
	machine.Scratch = 1 << 30
	wantError(t, b.SetMachine(t.Context(), b.admin, machine), berth.Invalid, "Invalid parameter(s): scratch_mb: this server cannot bound it: no quotas")
	off = nil
	if err := b.SetMachine(t.Context(), b.admin, machine); err != nil {
		t.Errorf("where it can be bounded: %v", err)
	}
}

func TestGraceAndScratchOfTheMachineType(t *testing.T) {
	b := newBench(t)
	req := request()
	req.Submission.Machine.Type = "n1"
	if job, err := b.Batch(t.Context(), b.ada, req); err != nil || job.Grace != time.Minute || job.Scratch != 1<<40 {
		t.Errorf("grace %s, scratch %d, %v", job.Grace, job.Scratch, err)
	}
}

func TestAudit(t *testing.T) {
	b := newBench(t)
	ref := JobRef{Number: b.submit(t).Number}
	b.submitBy(t, b.bob)
	if err := b.Terminate(t.Context(), b.admin, ref); err != nil {
		t.Fatal(err)
	}
	since := time.Now().Add(-time.Hour) // the accounts of the bench are older
	for name, test := range map[string]struct {
		caller berth.Caller
		filter AuditFilter
		want   string
	}{
		"all for administrators":        {b.admin, AuditFilter{Since: since}, "root bob ada"},
		"one user":                      {b.admin, AuditFilter{By: "bob"}, "bob"},
		"one page":                      {b.admin, AuditFilter{Limit: 1}, "root"},
		"a job, by whomever":            {b.ada, AuditFilter{Number: ref.Number}, "root ada"},
		"the own for others":            {b.bob, AuditFilter{}, "bob"},
		"the own, asked for":            {b.bob, AuditFilter{By: "bob"}, "bob"},
		"the team for its payer":        {b.paul, AuditFilter{Since: since}, "root ada"},
		"one of the team for its payer": {b.paul, AuditFilter{By: "ada"}, "ada"},
		"a stranger in the team":        {b.tess, AuditFilter{By: "root"}, "root"},
		"a stranger elsewhere":          {b.tess, AuditFilter{By: "bob"}, ""},
		"a member":                      {b.paul, AuditFilter{Subject: "mia"}, "server itself"},
		"another user":                  {b.paul, AuditFilter{Subject: "bob"}, ""},
		"behind":                        {b.paul, AuditFilter{Since: since, Before: 1 << 40, Limit: 1}, "root"},
	} {
		records, err := b.Audit(t.Context(), test.caller, test.filter)
		var by []string
		for _, record := range records {
			by = append(by, record.Event.By)
		}
		for _, record := range records {
			// Where somebody was is for administrators and for oneself.
			name := test.caller.User.Name
			if shown := record.Event.From != ""; shown && name != "root" && name != record.Event.By {
				t.Errorf("%s: %s sees an address of %s", name, test.caller.User.Name, record.Event.By)
			}
		}
		if got := strings.Join(by, " "); err != nil || got != test.want {
			t.Errorf("%s: by %s, %v; want %s", name, got, err, test.want)
		}
	}
	for _, by := range []string{"bob", "nobody"} {
		_, err := b.Audit(t.Context(), b.ada, AuditFilter{By: by})
		wantError(t, err, berth.Forbidden, "Only an administrator may do this")
	}
	_, err := b.Audit(t.Context(), b.bob, AuditFilter{Number: ref.Number})
	wantError(t, err, berth.NotFound, "Not found")
}
