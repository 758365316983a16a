package berth

import "time"

// Record is one entry of the server's log: what happened to a job, or what somebody did to an account, a machine type or an image.
// The log is written in the same transaction as what it tells of.
type Record struct {
	// ID grows with every record and is never given out twice. A record with a greater one was stored later.
	ID int64
	// Number is the job, 0 when no job is concerned; then Act is set.
	Number int64
	// Version and State are those of the job after the event.
	Version int64
	State   State
	// Event is what happened to the job. Its At, By and From are those of an Act too.
	Event Event
	// Act is what was done when no job is concerned.
	Act Act
}

// ActKind says what somebody did that concerns no job.
type ActKind string

// The acts.
const (
	ActUserAdded      ActKind = "user-added"
	ActUserChanged    ActKind = "user-changed"
	ActKeyAdded       ActKind = "key-added"
	ActKeyRevoked     ActKind = "key-revoked"
	ActSSHKeyAdded    ActKind = "ssh-key-added"
	ActSSHKeyRemoved  ActKind = "ssh-key-removed"
	ActTeamAdded      ActKind = "team-added"
	ActTeamChanged    ActKind = "team-changed"
	ActTeamRemoved    ActKind = "team-removed"
	ActMachineSet     ActKind = "machine-set"
	ActMachineRemoved ActKind = "machine-removed"
	ActImageImported  ActKind = "image-imported"
	ActImagePulled    ActKind = "image-pulled"
	ActImageRemoved   ActKind = "image-removed"
	ActAppAdded       ActKind = "application-added"
	ActAppChanged     ActKind = "application-changed"
	ActAppRemoved     ActKind = "application-removed"
	ActQueueSet       ActKind = "queue-set"
	ActQueueRemoved   ActKind = "queue-removed"
	ActVariableSet    ActKind = "variable-set"
	ActVaultAdded     ActKind = "vault-added"
	ActVaultChanged   ActKind = "vault-changed"
	ActVaultRemoved   ActKind = "vault-removed"
	// ActKeptWished has the number of the job as its subject, and the wish for its kept data as its detail.
	ActKeptWished ActKind = "kept-data"
	// ActBackup has no subject.
	ActBackup ActKind = "backup-made"
	// ActShellOpened has the number of the job as its subject.
	ActShellOpened ActKind = "shell-opened"
)

// Act is something that somebody did and that concerns no job.
type Act struct {
	Kind ActKind
	// At is when, UTC; By is the user, or ByServer; From is the network address of the request, empty when there was none.
	At       time.Time
	By, From string
	// Subject is what it was done to: a user, a team, a machine type, an image. Detail is a sentence for people, may be empty.
	Subject, Detail string
}

// ByServer is the By of an Act of the server itself: the first start, and administration beside the API. No user can have it.
const ByServer = "server itself"
