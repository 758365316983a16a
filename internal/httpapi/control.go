package httpapi

import (
	"context"
	"io"
	"iter"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/control"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/screenshot"
)

// Control is what the handlers need of the use cases; FromService makes one of a *control.Service.
type Control interface {
	Jobs
	JobControl
	JobPages
	JobWatch
	Outputs
	Machines
	Images
	Applications
	Queues
	Users
	Keys
	SSHKeys
	Teams
	Variables
	VaultRecords
	KeptData
	Reports
	Vaults
	Backup(ctx context.Context, caller berth.Caller, to io.Writer, outputs bool) error
}

// Jobs makes, shows and ends jobs.
type Jobs interface {
	Batch(ctx context.Context, caller berth.Caller, req control.BatchRequest) (berth.Job, error)
	SubmitApplication(ctx context.Context, caller berth.Caller, req control.BatchRequest) (berth.Job, error)
	Job(ctx context.Context, caller berth.Caller, ref control.JobRef) (berth.Job, error)
	Jobs(ctx context.Context, caller berth.Caller, filter control.JobsFilter) iter.Seq2[berth.Job, error]
	Wait(ctx context.Context, caller berth.Caller, ref control.JobRef) (berth.Job, error)
}

// JobControl acts on jobs.
type JobControl interface {
	Shutdown(ctx context.Context, caller berth.Caller, ref control.JobRef) error
	Terminate(ctx context.Context, caller berth.Caller, ref control.JobRef) error
	Signal(ctx context.Context, caller berth.Caller, ref control.JobRef, signal int) (control.Signaled, error)
	Action(ctx context.Context, caller berth.Caller, ref control.JobRef, name string) error
}

// JobPages leads people into running jobs.
type JobPages interface {
	Info(ctx context.Context, caller berth.Caller, ref control.JobRef) (control.JobInfo, error)
	Connect(ctx context.Context, caller berth.Caller, ref control.JobRef) (control.Connection, error)
	WebPage(ctx context.Context, visitor control.Visitor, number int64, port int) (control.WebPage, error)
	Enter(ctx context.Context, visitor control.Visitor, number int64) (session string, err error)
	OpenShell(ctx context.Context, visitor control.Visitor, number int64, size agentapi.TerminalSize) (*agentapi.Terminal, error)
	UntilRevoked(ctx context.Context, caller berth.Caller, number int64)
	Screenshot(ctx context.Context, caller berth.Caller, ref control.JobRef, want screenshot.Size) ([]byte, error)
}

// JobWatch tells what jobs do, and of what happened.
type JobWatch interface {
	Metrics(ctx context.Context, caller berth.Caller, ref control.JobRef) (control.JobMetrics, error)
	Explain(ctx context.Context, caller berth.Caller, ref control.JobRef) (control.Explanation, error)
	Events(ctx context.Context, caller berth.Caller, filter control.EventsFilter) (EventStream, error)
	Audit(ctx context.Context, caller berth.Caller, filter control.AuditFilter) ([]berth.Record, error)
}

// EventStream gives out what happens to jobs.
type EventStream interface {
	// Next returns at least one record, or the error of ctx; then it can be called again, and nothing is lost.
	Next(ctx context.Context) ([]berth.Record, error)
	// Last is the ID of the last record that was given out, or behind which the stream begins.
	Last() int64
	Close()
}

// Outputs reads what jobs wrote.
type Outputs interface {
	Tail(ctx context.Context, caller berth.Caller, ref control.JobRef, lines int) (io.ReadCloser, error)
	Output(ctx context.Context, caller berth.Caller, ref control.JobRef, lines int) (io.ReadCloser, error)
	OpenOutput(ctx context.Context, caller berth.Caller, ref control.JobRef, offset int64, follow bool) (io.ReadCloser, error)
}

// Machines manages machine types, and tells whether the server can work.
type Machines interface {
	Machines(ctx context.Context, caller berth.Caller, name, vault string) ([]berth.Machine, error)
	SetMachine(ctx context.Context, caller berth.Caller, machine berth.Machine) error
	RemoveMachine(ctx context.Context, caller berth.Caller, name string) error
	Ready(ctx context.Context) error
}

// Images manages the local image store.
type Images interface {
	Images(ctx context.Context, caller berth.Caller) ([]engine.Image, error)
	ImportImage(ctx context.Context, caller berth.Caller, archive io.Reader, req control.ImportRequest,
		progress engine.Progress) ([]engine.Image, error)
	PullImage(ctx context.Context, caller berth.Caller, name, pullSecret string, progress engine.Progress) (engine.Image, error)
	RemoveImage(ctx context.Context, caller berth.Caller, name string) error
}

// Applications manages the catalogue, which is open to callers without a name in part, and checks AppDefs.
type Applications interface {
	Validate(ctx context.Context, appdef []byte) error
	Applications(ctx context.Context, caller berth.Caller, filter control.ApplicationsFilter) ([]berth.Application, error)
	Application(ctx context.Context, caller berth.Caller, id string) (berth.Application, error)
	Definition(ctx context.Context, caller berth.Caller, app berth.Application) (control.Definition, error)
	AddApplication(ctx context.Context, caller berth.Caller, req control.ApplicationRequest) (berth.Application, error)
	ChangeApplication(ctx context.Context, caller berth.Caller, id string, change control.ApplicationChange) (berth.Application, error)
	RemoveApplication(ctx context.Context, caller berth.Caller, id string) error
}

// Queues manages queues.
type Queues interface {
	Queues(ctx context.Context, caller berth.Caller, name string) ([]berth.Queue, error)
	SetQueue(ctx context.Context, caller berth.Caller, queue berth.Queue) error
	RemoveQueue(ctx context.Context, caller berth.Caller, name string) error
}

// Users manages accounts.
type Users interface {
	Users(ctx context.Context, caller berth.Caller) ([]berth.User, error)
	TeamUsers(ctx context.Context, caller berth.Caller) ([]berth.User, error)
	User(ctx context.Context, caller berth.Caller, name string) (berth.User, []berth.Key, error)
	AddUser(ctx context.Context, caller berth.Caller, req control.UserRequest) (berth.User, control.NewAPIKey, error)
	ChangeUser(ctx context.Context, caller berth.Caller, name string, change berth.UserChange) (berth.User, error)
}

// Keys tells who asks, and manages the keys that tell it.
type Keys interface {
	Authenticate(ctx context.Context, username, apikey, from string) (berth.Caller, error)
	AddKey(ctx context.Context, caller berth.Caller, user string, req control.KeyRequest) (control.NewAPIKey, error)
	RevokeKey(ctx context.Context, caller berth.Caller, user, id string) error
}

// SSHKeys manages the public keys with which callers get into their jobs.
type SSHKeys interface {
	SSHKeys(ctx context.Context, caller berth.Caller) ([]berth.SSHKey, error)
	AddSSHKey(ctx context.Context, caller berth.Caller, line string) (berth.SSHKey, error)
	RemoveSSHKey(ctx context.Context, caller berth.Caller, fingerprint string) error
}

// Teams manages teams.
type Teams interface {
	Teams(ctx context.Context, caller berth.Caller) ([]berth.Team, error)
	AddTeam(ctx context.Context, caller berth.Caller, team berth.Team) error
	ChangeTeam(ctx context.Context, caller berth.Caller, team berth.Team) error
	RemoveTeam(ctx context.Context, caller berth.Caller, name string) error
}

// Variables manages the variables of accounts that applications may see.
type Variables interface {
	Variables(ctx context.Context, caller berth.Caller, user string) (map[string]string, error)
	SetVariable(ctx context.Context, caller berth.Caller, user, name, value string) error
}

// VaultRecords manages vaults.
type VaultRecords interface {
	Vaults(ctx context.Context, caller berth.Caller, owner string) ([]berth.Vault, error)
	Vault(ctx context.Context, caller berth.Caller, called string) (berth.Vault, error)
	AddVault(ctx context.Context, caller berth.Caller, req control.VaultRequest) (berth.Vault, error)
	ChangeVault(ctx context.Context, caller berth.Caller, called string, change control.VaultChange) (berth.Vault, error)
	RemoveVault(ctx context.Context, caller berth.Caller, called string, data bool) error
	RepairVault(ctx context.Context, caller berth.Caller, called string) error
	ChangeVaultPassword(ctx context.Context, caller berth.Caller, called, password, changed string) error
}

// KeptData tells of data that could not be copied back.
type KeptData interface {
	KeptData(ctx context.Context, caller berth.Caller, everyone bool) ([]berth.Kept, error)
	WishKept(ctx context.Context, caller berth.Caller, number int64, wish berth.KeptWish) error
}

// Reports tells administrators what everybody did.
type Reports interface {
	Billing(ctx context.Context, caller berth.Caller, filter control.BillingFilter, visit func(berth.Job) error) error
	Projects(ctx context.Context, caller berth.Caller) (map[string][]string, error)
	Licence(ctx context.Context, caller berth.Caller) (string, error)
}

// Vaults reaches the files of vaults.
type Vaults interface {
	OpenVault(ctx context.Context, caller berth.Caller, name string, change bool) (control.VaultFiles, error)
}

// FromService returns the use cases of a service as the handlers take them.
func FromService(service *control.Service) Control { return fromService{service} }

type fromService struct{ *control.Service }

// Events is that of the service, whose stream has a type of its own.
func (s fromService) Events(ctx context.Context, caller berth.Caller, filter control.EventsFilter) (EventStream, error) {
	stream, err := s.Service.Events(ctx, caller, filter)
	if err != nil {
		return nil, err
	}
	return stream, nil
}
