package control

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/berth-hpc/berth"
)

// useCases are all use cases on a job, each with the state that it needs. Those that act are refused to keys for reading.
var useCases = map[string]struct {
	state berth.State
	acts  bool
	use   func(ctx context.Context, b *bench, caller berth.Caller, ref JobRef) error
}{
	"job":  {berth.StateQueued, false, func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error { return second(b.Job(ctx, c, r)) }},
	"wait": {berth.StateCompleted, false, func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error { return second(b.Wait(ctx, c, r)) }},
	"tail": {berth.StateRunning, false, func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error {
		return second(b.Tail(ctx, c, r, 0))
	}},
	"output": {berth.StateCompleted, false, func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error {
		return second(b.Output(ctx, c, r, 0))
	}},
	"follow": {berth.StateCompleted, false, func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error {
		stream, err := b.OpenOutput(ctx, c, r, 0, true)
		if err == nil {
			err = stream.Close()
		}
		return err
	}},
	"info": {berth.StateRunning, false, func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error { return second(b.Info(ctx, c, r)) }},
	"metrics": {berth.StateRunning, false, func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error {
		return second(b.Metrics(ctx, c, r))
	}},
	"explain": {berth.StateQueued, false, func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error {
		return second(b.Explain(ctx, c, r))
	}},
	"events": {berth.StateQueued, false, func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error {
		stream, err := b.Events(ctx, c, EventsFilter{Number: r.Number, After: -1})
		if err == nil {
			stream.Close()
		}
		return err
	}},
	"audit": {berth.StateQueued, false, func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error {
		return second(b.Audit(ctx, c, AuditFilter{Number: r.Number}))
	}},
	"signal": {berth.StateRunning, true, func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error {
		const urgent = 23 // which nobody minds
		return second(b.Signal(ctx, c, r, urgent))
	}},
	"action": {berth.StateRunning, true, func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error {
		return b.Action(ctx, c, r, "hello")
	}},
	"connect": {berth.StateRunning, true, func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error {
		return second(b.Connect(ctx, c, r))
	}},
	"shutdown":  {berth.StateRunning, true, func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error { return b.Shutdown(ctx, c, r) }},
	"terminate": {berth.StateRunning, true, func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error { return b.Terminate(ctx, c, r) }},
}

func second[T any](_ T, err error) error { return err }

// TestWhoMayDoWhatToAJob: owner, payer and administrators of the team and of the server may everything, keys for reading may look,
// and all others are told what they are told of a job that does not exist.
func TestWhoMayDoWhatToAJob(t *testing.T) {
	b := newBench(t)
	refs := map[berth.State]JobRef{
		berth.StateQueued: {Number: b.submit(t).Number}, berth.StateRunning: b.run(t, "sleep 1000"), berth.StateCompleted: b.run(t, "true"),
	}
	b.write(t, refs[berth.StateCompleted].Number, "")
	b.apply(t, refs[berth.StateCompleted].Number, berth.EventEnded)
	for name, use := range useCases {
		ref := refs[use.state]
		for who, caller := range map[string]berth.Caller{
			"owner": b.ada, "administrator": b.admin, "team's administrator": b.tess, "payer": b.paul,
		} {
			if err := use.use(t.Context(), b, caller, ref); err != nil {
				t.Errorf("%s by the %s: %v", name, who, err)
			}
		}
		for who, caller := range map[string]berth.Caller{"owner": b.reader, "administrator": b.readerRoot} {
			switch err := use.use(t.Context(), b, caller, ref); {
			case use.acts:
				wantError(t, err, berth.Forbidden, "This key may only read")
			case err != nil:
				t.Errorf("%s by the %s with a key for reading: %v", name, who, err)
			}
		}
		bobReads := b.bob
		bobReads.ReadOnly = true
		for who, caller := range map[string]berth.Caller{"stranger": b.bob, "member": b.mia, "stranger with a key for reading": bobReads} {
			err, missing := use.use(t.Context(), b, caller, ref), use.use(t.Context(), b, caller, JobRef{Number: 999})
			wantError(t, err, berth.NotFound, "Not found")
			wantSame(t, name+" by a "+who+" and of a job that does not exist", err, missing)
		}
		if t.Failed() {
			t.Fatalf("use case %s", name)
		}
	}
}

// TestTheNameOfAStrangersJobIsNotToBeGuessed: with its number and a name there is the same answer for the right name and a wrong one.
func TestTheNameOfAStrangersJobIsNotToBeGuessed(t *testing.T) {
	b := newBench(t)
	job := b.submit(t)
	wrong, right := JobRef{Number: job.Number, Name: "wrong"}, JobRef{Number: job.Number, Name: job.Name}
	_, err := b.Job(t.Context(), b.ada, wrong)
	wantError(t, err, berth.Invalid, "Bad Request")
	for name, use := range useCases {
		for _, caller := range []berth.Caller{b.bob, b.mia} {
			missing := use.use(t.Context(), b, caller, JobRef{Number: 999, Name: job.Name})
			wantSame(t, name+" with a wrong name", use.use(t.Context(), b, caller, wrong), missing)
			wantSame(t, name+" with the right name", use.use(t.Context(), b, caller, right), missing)
		}
	}
}

// wantSame checks that two refusals look alike.
func wantSame(t *testing.T, what string, a, b error) {
	t.Helper()
	first, ok := errors.AsType[*berth.Error](a)
	second, both := errors.AsType[*berth.Error](b)
	if !ok || !both || first.Kind != second.Kind || first.Public() != second.Public() {
		t.Errorf("%s: %v and %v", what, a, b)
	}
}

// TestWhoMayAdministrate: administrators, unless their key is for reading.
func TestWhoMayAdministrate(t *testing.T) {
	b := newBench(t)
	yes := true
	for name, use := range map[string]func(berth.Caller) error{
		"add user": func(c berth.Caller) error {
			_, _, err := b.AddUser(t.Context(), c, UserRequest{Name: "new"})
			return err
		},
		"change user": func(c berth.Caller) error {
			return second(b.ChangeUser(t.Context(), c, "mia", berth.UserChange{Billing: &yes}))
		},
		"add key":    func(c berth.Caller) error { return second(b.AddKey(t.Context(), c, "mia", KeyRequest{})) },
		"revoke key": func(c berth.Caller) error { return b.RevokeKey(t.Context(), c, "mia", "mia") },
		"add team":   func(c berth.Caller) error { return b.AddTeam(t.Context(), c, berth.Team{Name: "blue", Payer: "bob"}) },
		"change team": func(c berth.Caller) error {
			return b.ChangeTeam(t.Context(), c, berth.Team{Name: "red", Payer: "paul"})
		},
		"remove team":    func(c berth.Caller) error { return b.RemoveTeam(t.Context(), c, "blue") },
		"set machine":    func(c berth.Caller) error { return b.SetMachine(t.Context(), c, machineType("m1")) },
		"remove machine": func(c berth.Caller) error { return b.RemoveMachine(t.Context(), c, "n1") },
		"set queue": func(c berth.Caller) error {
			return b.SetQueue(t.Context(), c, berth.Queue{Name: "q", Machine: "n0", Size: 1})
		},
		"remove queue": func(c berth.Caller) error { return b.RemoveQueue(t.Context(), c, "gone") },
		"set variable": func(c berth.Caller) error { return b.SetVariable(t.Context(), c, "mia", "A", "1") },
	} {
		for _, caller := range []berth.Caller{b.ada, b.bob, b.tess, b.paul} {
			wantError(t, use(caller), berth.Forbidden, "Only an administrator may do this")
		}
		wantError(t, use(b.readerRoot), berth.Forbidden, "This key may only read")
		byToken := b.admin
		byToken.Job = 1
		wantError(t, use(byToken), berth.Forbidden, "A job's token may not do this")
		if name == "remove team" || name == "remove queue" {
			continue // there may be none yet
		}
		if err := use(b.admin); err != nil {
			t.Errorf("%s by an administrator: %v", name, err)
		}
		if act := b.lastRecord(t).Act; act.By != "root" || act.From != "192.0.2.7" || act.Subject == "" {
			t.Errorf("%s is recorded as %+v", name, act)
		}
	}
}

func TestReadersSubmitNothing(t *testing.T) {
	b := newBench(t)
	_, err := b.Batch(t.Context(), b.reader, request())
	wantError(t, err, berth.Forbidden, "This key may only read")
	_, err = b.ImportImage(t.Context(), b.readerRoot, strings.NewReader(""), ImportRequest{Name: "x"}, nil)
	wantError(t, err, berth.Forbidden, "This key may only read")
	_, err = b.AddKey(t.Context(), b.reader, "ada", KeyRequest{})
	wantError(t, err, berth.Forbidden, "This key may only read")
	app := b.addApp(t, b.ada, "mine", simpleAppDef)
	_, err = b.SubmitApplication(t.Context(), b.reader, appRequest("mine"))
	wantError(t, err, berth.Forbidden, "This key may only read")
	_, err = b.AddApplication(t.Context(), b.reader, ApplicationRequest{ID: "new", Image: "local/x", AppDef: []byte(app.AppDef)})
	wantError(t, err, berth.Forbidden, "This key may only read")
	err = b.RemoveApplication(t.Context(), b.reader, "mine")
	wantError(t, err, berth.Forbidden, "This key may only read")
	err = b.SetVariable(t.Context(), b.reader, "ada", "A", "1")
	wantError(t, err, berth.Forbidden, "This key may only read")
}

// TestJobsOfATeam: who leads a team lists its jobs, an administrator all, others their own.
func TestJobsOfATeam(t *testing.T) {
	b := newBench(t)
	for _, caller := range []berth.Caller{b.ada, b.mia, b.bob} {
		b.submitBy(t, caller)
	}
	for name, test := range map[string]struct {
		caller berth.Caller
		want   int
	}{
		"payer": {b.paul, 2}, "team's administrator": {b.tess, 2}, "administrator": {b.admin, 3}, "member": {b.mia, 1}, "no team": {b.bob, 1},
	} {
		jobs, err := listed(b.Jobs(t.Context(), test.caller, JobsFilter{Team: true}))
		if err != nil || len(jobs) != test.want {
			t.Errorf("%s: %d jobs, %v; want %d", name, len(jobs), err, test.want)
		}
	}
}
