// Package control holds the use cases of the server: what a caller may ask for, whether they may, and what it means. It knows
// neither HTTP nor SQL nor containers; httpapi calls it, and it calls the store, the engine's image store and the output files.
package control

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/store"
	"github.com/berth-hpc/berth/internal/usage"
)

// Store is what the use cases need of the store.
type Store interface {
	JobReader
	JobWriter
	UserStore
	KeyStore
	TeamStore
	MachineStore
	ApplicationStore
	LogStore
	VaultStore
	KeptStore
}

// JobReader reads jobs.
type JobReader interface {
	Job(ctx context.Context, number int64) (berth.Job, error)
	JobByName(ctx context.Context, name string) (berth.Job, error)
	Jobs(ctx context.Context, filter store.Filter) ([]berth.Job, error)
}

// JobWriter makes and changes jobs.
type JobWriter interface {
	CreateJob(ctx context.Context, job store.NewJob) (berth.Job, bool, error)
	JobByIdempotencyKey(ctx context.Context, owner string, key store.Idempotency) (berth.Job, bool, error)
	Apply(ctx context.Context, number int64, ev berth.Event) (berth.Job, error)
	Run(ctx context.Context, number int64) (berth.Run, bool, error)
	Output(ctx context.Context, number int64) (store.Output, error)
}

// UserStore keeps accounts.
type UserStore interface {
	User(ctx context.Context, name string) (berth.User, error)
	Users(ctx context.Context, team string) ([]berth.User, error)
	CreateUser(ctx context.Context, user store.NewUser, act berth.Act) error
	ChangeUser(ctx context.Context, name string, change berth.UserChange, act berth.Act) (berth.User, error)
}

// KeyStore keeps API keys by their hashes, and public keys for ssh.
type KeyStore interface {
	UserByKey(ctx context.Context, hash string) (berth.User, berth.Key, error)
	UserByKeyID(ctx context.Context, id string) (berth.User, berth.Key, error)
	Keys(ctx context.Context, user string) ([]berth.Key, error)
	AddKey(ctx context.Context, key berth.Key, hash string, act berth.Act) error
	RevokeKey(ctx context.Context, user, id string, act berth.Act) error
	SSHKeys(ctx context.Context, user string) ([]berth.SSHKey, error)
	AddSSHKey(ctx context.Context, key berth.SSHKey, limit int, act berth.Act) error
	RemoveSSHKey(ctx context.Context, user, fingerprint string, act berth.Act) error
}

// TeamStore keeps teams.
type TeamStore interface {
	Team(ctx context.Context, name string) (berth.Team, error)
	Teams(ctx context.Context) ([]berth.Team, error)
	CreateTeam(ctx context.Context, team berth.Team, act berth.Act) error
	ChangeTeam(ctx context.Context, team berth.Team, act berth.Act) error
	RemoveTeam(ctx context.Context, name string, act berth.Act) error
}

// MachineStore keeps machine types.
type MachineStore interface {
	Machines(ctx context.Context) ([]berth.Machine, error)
	SetMachine(ctx context.Context, machine berth.Machine, act berth.Act) error
	RemoveMachine(ctx context.Context, name string, act berth.Act) error
}

// ApplicationStore keeps the catalogue, and what accounts have set for the applications in it.
type ApplicationStore interface {
	Application(ctx context.Context, id string) (berth.Application, error)
	Applications(ctx context.Context, user berth.User) ([]berth.Application, error)
	CreateApplication(ctx context.Context, app berth.Application, limit int, act berth.Act) error
	ChangeApplication(ctx context.Context, app berth.Application, guard store.ApplicationGuard, act berth.Act) error
	RemoveApplication(ctx context.Context, id string, act berth.Act) error
	Queue(ctx context.Context, name string) (berth.Queue, error)
	Queues(ctx context.Context) ([]berth.Queue, error)
	SetQueue(ctx context.Context, queue berth.Queue, act berth.Act) error
	RemoveQueue(ctx context.Context, name string, act berth.Act) error
	Variables(ctx context.Context, user string) (map[string]string, error)
	SetVariable(ctx context.Context, user, key, value string, act berth.Act) error
}

// VaultStore keeps vaults.
type VaultStore interface {
	Vault(ctx context.Context, owner, name string) (berth.Vault, error)
	Vaults(ctx context.Context, owner string) ([]berth.Vault, error)
	TeamVaults(ctx context.Context, team, but string) ([]berth.Vault, error)
	DefaultVault(ctx context.Context, owner string) (string, error)
	CreateVault(ctx context.Context, v berth.Vault, c berth.Credentials, limits store.VaultLimits, act berth.Act) error
	ChangeVault(ctx context.Context, v berth.Vault, c *berth.Credentials, act berth.Act) error
	RemoveVault(ctx context.Context, owner, name string, act berth.Act) error
	VaultAllowed(ctx context.Context, v berth.Vault, limits store.VaultLimits) error
	VaultUnused(ctx context.Context, owner, name string) error
}

// KeptStore keeps what is known of data that could not be copied back.
type KeptStore interface {
	AllKept(ctx context.Context, owner string) ([]berth.Kept, error)
	WishKept(ctx context.Context, number int64, wish berth.KeptWish, act berth.Act) error
}

// LogStore keeps what happened.
type LogStore interface {
	Events(ctx context.Context, number, after int64, limit int) ([]berth.Record, error)
	Records(ctx context.Context, filter store.RecordFilter) ([]berth.Record, error)
	LastRecord(ctx context.Context) (int64, error)
	Audit(ctx context.Context, filter store.AuditFilter) ([]berth.Record, error)
	Record(ctx context.Context, act berth.Act) error
}

// ImageChecker asks a registry whether an image is there for the pull secret. Its error wraps engine.ErrRefused when the
// registry answers definitely no; any other error means that it is not known.
type ImageChecker interface {
	Check(ctx context.Context, ref, pullSecret string) error
}

// Outputs reads the output files of jobs.
type Outputs interface {
	// Tail returns the last lines of a job's output as it is now, all of it for 0. A job without output has an empty one.
	Tail(number int64, lines int) (io.ReadCloser, error)
	// Open returns the output from the offset on. With done not nil it goes on until done is closed and everything written before
	// was read; otherwise it ends at the present end.
	Open(ctx context.Context, number, offset int64, done <-chan struct{}) (io.ReadCloser, error)
	// Has says whether a job has an output, be it empty, or may have one.
	Has(number int64) bool
}

// Forecaster says why a queued job waits.
type Forecaster interface {
	Forecast(ctx context.Context, job berth.Job) (berth.Forecast, error)
}

// Usage knows what running jobs use.
type Usage interface {
	// Usage returns the last sample of a job. ok is false before the first one and after the job's end.
	Usage(number int64) (samples []usage.Sample, ok bool)
}

// Config is what a Service is made of. Everything is required unless it says otherwise.
type Config struct {
	Store   Store
	Images  engine.Images
	Checker ImageChecker
	Outputs Outputs
	// Agents reaches the agents of running jobs.
	Agents     engine.Agents
	Usage      Usage
	Forecaster Forecaster
	// Vaults returns the vaults that a new user gets.
	Vaults func(user string) []berth.Vault
	// VaultDirs are the directories of file vaults.
	VaultDirs VaultDirs
	// Volumes are what block vaults are made of.
	Volumes Volumes
	// UserVolumes is what the block vaults of a user may have together, in bytes, that the user makes; with 0 only administrators make
	// some.
	UserVolumes int64
	// Seal seals what the store keeps for a purpose and should not know; *seal.Sealer has it.
	Seal func(secret, purpose string) string
	// ObjectEndpoints are addresses of S3 stores that users may have vaults in although they are on a private network.
	ObjectEndpoints []string
	// LookAtKept is told that somebody has wished something for the kept data of a job. It must not block.
	LookAtKept func(number int64)
	// OpenVault opens the files of a vault, to change them if it is told so.
	OpenVault func(ctx context.Context, v berth.Vault, change bool) (VaultFiles, error)
	// Backup writes a backup of the server; *backup.Maker has it.
	Backup func(ctx context.Context, to io.Writer, outputs bool) error
	// Changes tells of every stored change of a job.
	Changes *Changes
	// Now returns the time; nil is time.Now.
	Now func() time.Time
	// Random returns n random bytes; nil is crypto/rand.
	Random func(n int) []byte
	// CheckScratch says why the scratch of jobs cannot be bounded here, nil when it can.
	CheckScratch func() error
	// EngineReady returns nil when the engine answers.
	EngineReady func(context.Context) error
	// APIURL is where jobs reach this server; it ends in a slash.
	APIURL string
	// Sites says where browsers find the web pages of jobs; the zero value when they are not served.
	Sites Sites
	// ExpandSubmitted lets the shell of a job expand $ in submitted parameters too: users then run commands that the application does
	// not have.
	ExpandSubmitted bool
	// PublicAddresses are those that jobs can ask for. Optional.
	PublicAddresses []berth.PublicAddress
	Log             *slog.Logger
}

// JobRef names a job by its name or its number. Naming none is Invalid "No job specified"; naming two different ones is Invalid
// "Bad Request".
type JobRef struct {
	Name   string
	Number int64
}

// BatchRequest is a submission, of a batch job or of an application.
type BatchRequest struct {
	Submission berth.Submission
	// PullSecret is for the registry: base64 of a Docker auths JSON. It is kept until the job ends and never shown.
	PullSecret string
	// VaultPassword is that of an encrypted vault. It is kept, sealed, until the job has started or ended, and never shown.
	VaultPassword string
	// GenSSHKey asks for a key of the job's own for ssh, whose public part is Submission.SSHPublicKey of the job.
	GenSSHKey bool
	// IdempotencyKey makes a retry safe; empty is none. RequestHash tells two requests with one key apart.
	IdempotencyKey string
	RequestHash    string
}

// JobsFilter selects jobs of a listing.
type JobsFilter struct {
	// Ended lists only ended jobs, All both; neither lists those that have not ended.
	Ended, All bool
	// Label selects by label: a part of it, or all of it with LabelExact.
	Label      string
	LabelExact bool
	// Team lists the jobs of everybody whose jobs the caller may see.
	Team bool
}

// ImportRequest says what an archive is.
type ImportRequest struct {
	// Name is the reference that the image gets; may be empty for an archive that names its images.
	Name string
	// Rootfs says that the archive is a plain root filesystem.
	Rootfs bool
}

// Service carries out the use cases. It is safe for concurrent use.
type Service struct {
	cfg          Config
	logins       logins
	turns        turns
	holders      cache[string, holder]
	machineTypes cache[struct{}, []berth.Machine]
	// walking holds a value while somebody walks, see walk; reporting while somebody reads all jobs; volumes while somebody makes a block
	// vault.
	walking   chan struct{}
	reporting chan struct{}
	volumes   chan struct{}
	local     cache[string, engine.Image]
	catalogue cache[string, berth.Application]
	appdefs   appdefs
	// defaults are the names of the default vaults by user.
	defaults cache[string, string]
	webs     cache[string, webAddress]
	// reading has a place for each AppDef that is read for a listing, pulls for each image that is pulled for an application, shots for each
	// picture of a desktop.
	reading, pulls, shots chan struct{}
}

// New returns a Service. It starts nothing.
func New(cfg Config) *Service {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = randomBytes
	}
	s := &Service{
		cfg: cfg, walking: make(chan struct{}, 1), reporting: make(chan struct{}, 1), volumes: make(chan struct{}, 1),
		reading: make(chan struct{}, maxReading), pulls: make(chan struct{}, maxPulls),
		shots: make(chan struct{}, shotsAtOnce),
	}
	s.catalogue.weigh = func(app berth.Application) int { return len(app.AppDef) }
	// A token is refused when its job has ended, and not a moment later: it is looked up every time.
	s.holders.pass = func(h holder) bool { return h.key.Job != 0 }
	return s
}
