package control

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/screenshot"
)

// tokenUse is a use case as a caller with the token of a job uses it; ref is a running job of the user.
type tokenUse func(ctx context.Context, b *bench, token berth.Caller, ref JobRef) error

// tokensMay are the use cases that tokens have, by their names.
var tokensMay = map[string]tokenUse{
	"Application": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return second(b.Application(ctx, c, "mine"))
	},
	"Applications": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return second(b.Applications(ctx, c, ApplicationsFilter{}))
	},
	"Batch": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return second(b.Batch(ctx, c, request()))
	},
	"Definition": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return second(b.Definition(ctx, c, berth.Application{ID: "mine"}))
	},
	"Events": func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error {
		stream, err := b.Events(ctx, c, EventsFilter{Number: r.Number})
		if err == nil {
			stream.Close()
		}
		return err
	},
	"Explain": func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error {
		return second(b.Explain(ctx, c, r))
	},
	"FileVaults": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return second(b.FileVaults(ctx, c))
	},
	"Images": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error { return second(b.Images(ctx, c)) },
	"Info":   func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error { return second(b.Info(ctx, c, r)) },
	"Job":    func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error { return second(b.Job(ctx, c, r)) },
	"Jobs": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return second(listed(b.Jobs(ctx, c, JobsFilter{})))
	},
	"Machines": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return second(b.Machines(ctx, c, "", ""))
	},
	"Metrics": func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error {
		return second(b.Metrics(ctx, c, r))
	},
	"OpenOutput": func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error {
		stream, err := b.OpenOutput(ctx, c, r, 0, false)
		if err == nil {
			err = stream.Close()
		}
		return err
	},
	"OpenVault": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return second(b.OpenVault(ctx, c, "data", true)) // a job of the token's user could have it, too
	},
	"Queues": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return second(b.Queues(ctx, c, ""))
	},
	"Screenshot": func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error {
		if _, err := b.Screenshot(ctx, c, r, screenshot.Size{}); berth.KindOf(err) != berth.Unsupported { // it shows nothing
			return err
		}
		return nil
	},
	"Shutdown": func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error { return b.Shutdown(ctx, c, r) }, // it stays for a while
	"Signal": func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error {
		const urgent = 23 // which nobody minds
		return second(b.Signal(ctx, c, r, urgent))
	},
	"SubmitApplication": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return second(b.SubmitApplication(ctx, c, appRequest("mine")))
	},
	"Tail": func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error {
		return second(b.Tail(ctx, c, r, 0))
	},
	"Teams": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error { return second(b.Teams(ctx, c)) },
	"Terminate": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		job, err := b.Batch(ctx, b.ada, request())
		if err != nil {
			return err
		}
		return b.Terminate(ctx, c, JobRef{Number: job.Number})
	},
	"Users": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error { return second(b.Users(ctx, c)) },
	"VaultOf": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return second(b.VaultOf(ctx, c, "data", true))
	},
	"KeptData": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return second(b.KeptData(ctx, c, false))
	},
	"Vault": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return second(b.Vault(ctx, c, "data"))
	},
	"Vaults": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return second(b.Vaults(ctx, c, ""))
	},
}

// tokensMayAtTheEnd are those of them that need a job which has ended.
var tokensMayAtTheEnd = map[string]tokenUse{
	"Output": func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error {
		return second(b.Output(ctx, c, r, 0))
	},
	"Wait": func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error { return second(b.Wait(ctx, c, r)) },
}

// tokensMayInTheirJob are those that a token has for its own job only.
var tokensMayInTheirJob = map[string]tokenUse{
	"Action": func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error {
		return b.Action(ctx, c, r, "hello")
	},
	"Connect": func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error {
		return second(b.Connect(ctx, c, r))
	},
	"Enter": func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error {
		return second(b.Enter(ctx, Visitor{Caller: c}, r.Number))
	},
	"OpenShell": func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error {
		terminal, err := b.OpenShell(ctx, Visitor{Caller: c}, r.Number, agentapi.TerminalSize{})
		if err == nil {
			err = terminal.Close()
		}
		return err
	},
	"WebPage": func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error {
		_, err := b.WebPage(ctx, Visitor{Caller: c}, r.Number, 0)
		if berth.KindOf(err) == berth.NotFound { // it may, and there is none
			return nil
		}
		return err
	},
}

// tokensMayNot are the use cases that no token has.
var tokensMayNot = map[string]tokenUse{
	"AddApplication": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return second(b.AddApplication(ctx, c, ApplicationRequest{ID: "new", Image: "local/x", AppDef: []byte(simpleAppDef)}))
	},
	"AddKey": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return second(b.AddKey(ctx, c, "ada", KeyRequest{}))
	},
	"AddSSHKey": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return second(b.AddSSHKey(ctx, c, publicKey))
	},
	"AddTeam": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return b.AddTeam(ctx, c, berth.Team{Name: "x", Payer: "ada"})
	},
	"AddUser": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		_, _, err := b.AddUser(ctx, c, UserRequest{Name: "new"})
		return err
	},
	"Audit": func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error {
		return second(b.Audit(ctx, c, AuditFilter{Number: r.Number}))
	},
	"Backup": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return b.Backup(ctx, c, nil, false)
	},
	"Billing": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return b.Billing(ctx, c, BillingFilter{}, func(berth.Job) error { return nil })
	},
	"ChangeApplication": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return second(b.ChangeApplication(ctx, c, "mine", ApplicationChange{}))
	},
	"ChangeTeam": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return b.ChangeTeam(ctx, c, berth.Team{Name: "red"})
	},
	"ChangeUser": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return second(b.ChangeUser(ctx, c, "ada", berth.UserChange{}))
	},
	"ImportImage": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return second(b.ImportImage(ctx, c, strings.NewReader(""), ImportRequest{Name: "x"}, nil))
	},
	"Licence":  func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error { return second(b.Licence(ctx, c)) },
	"Projects": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error { return second(b.Projects(ctx, c)) },
	"PullImage": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return second(b.PullImage(ctx, c, "local/x", "", nil))
	},
	"RemoveApplication": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return b.RemoveApplication(ctx, c, "mine")
	},
	"RemoveImage": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return b.RemoveImage(ctx, c, "local/x")
	},
	"RemoveMachine": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return b.RemoveMachine(ctx, c, "n0")
	},
	"RemoveQueue": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error { return b.RemoveQueue(ctx, c, "q") },
	"RemoveSSHKey": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return b.RemoveSSHKey(ctx, c, "SHA256:x")
	},
	"RemoveTeam": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return b.RemoveTeam(ctx, c, "red")
	},
	"RevokeKey": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return b.RevokeKey(ctx, c, "ada", "ada")
	},
	"SetMachine": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return b.SetMachine(ctx, c, machineType("m1"))
	},
	"SetQueue": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return b.SetQueue(ctx, c, berth.Queue{Name: "q", Machine: "n0", Size: 1})
	},
	"SSHKeys": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error { return second(b.SSHKeys(ctx, c)) },
	"SetVariable": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return b.SetVariable(ctx, c, "ada", "A", "1")
	},
	"TeamUsers": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return second(b.TeamUsers(ctx, c))
	},
	"User": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		_, _, err := b.User(ctx, c, "ada")
		return err
	},
	"Variables": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return second(b.Variables(ctx, c, "ada"))
	},
	"AddVault": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return second(b.AddVault(ctx, c, bucketOf("v")))
	},
	"ChangeVault": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return second(b.ChangeVault(ctx, c, "data", VaultChange{}))
	},
	"ChangeVaultPassword": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return b.ChangeVaultPassword(ctx, c, "data", "old password", "new password")
	},
	"RepairVault": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return b.RepairVault(ctx, c, "data")
	},
	"RemoveVault": func(ctx context.Context, b *bench, c berth.Caller, _ JobRef) error {
		return b.RemoveVault(ctx, c, "data", false)
	},
	"WishKept": func(ctx context.Context, b *bench, c berth.Caller, r JobRef) error {
		return b.WishKept(ctx, c, r.Number, berth.KeptWishDrop)
	},
}

// nobodysUses have no caller, or only wait until one may not go on.
var nobodysUses = map[string]tokenUse{
	"AppDef": nil, "Authenticate": nil, "Ready": nil, "UntilLoggedOut": nil, "UntilRevoked": nil, "Validate": nil,
}

// TestWhatTokensMayDo: a job needs jobs. Whatever else the server has is refused, and what is new is in one of the tables.
func TestWhatTokensMayDo(t *testing.T) {
	for method := range reflect.TypeFor[*Service]().Methods() {
		tables := 0
		for _, table := range []map[string]tokenUse{tokensMay, tokensMayAtTheEnd, tokensMayInTheirJob, tokensMayNot, nobodysUses} {
			if _, ok := table[method.Name]; ok {
				tables++
			}
		}
		if tables != 1 {
			t.Errorf("%s is in %d tables of what tokens may do", method.Name, tables)
		}
	}
	b := newBench(t)
	b.cfg.Images = b.engine
	b.cfg.OpenVault = openNothing
	b.addApp(t, b.ada, "mine", simpleAppDef)
	own, other, ended := b.run(t, "sleep 1000"), b.run(t, "sleep 1000"), b.run(t, "true")
	b.write(t, ended.Number, "")
	b.apply(t, ended.Number, berth.EventEnded)
	token := b.ada
	token.Job = own.Number
	use := func(table map[string]tokenUse, ref JobRef, check func(name string, err error)) {
		for name, use := range table {
			check(name, use(t.Context(), b, token, ref))
		}
	}
	allowed := func(name string, err error) {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused := func(name string, err error) {
		if wantError(t, err, berth.Forbidden, "A job's token may not do this"); t.Failed() {
			t.Fatal(name)
		}
	}
	use(tokensMayNot, own, refused)
	use(tokensMayInTheirJob, other, refused)
	use(tokensMayInTheirJob, own, allowed)
	use(tokensMay, other, allowed)
	use(tokensMayAtTheEnd, ended, allowed)
}
