package berth

import "time"

// Submission is what a user asked for, checked and normalised, without secrets. It is kept with the job and shown to the
// user again. The store keeps it as JSON under these field names: rename none without a migration.
type Submission struct {
	Container Container
	Machine   MachineRequest
	Vault     VaultRequest
	// Walltime limits the time from the start of the job; 0 is no limit.
	Walltime time.Duration
	// Geometry is the size of the desktop of a graphical job, as sent.
	Geometry string `json:",omitempty"`
	Label    string `json:",omitempty"`
	Project  string `json:",omitempty"`
	Priority string `json:",omitempty"`
	Queue    string `json:",omitempty"`
	Licenses string `json:",omitempty"`
	// Identity replaces the user nimbix inside the job.
	Identity *Identity `json:",omitempty"`
	// NoSubmit asks for the answer of the checks only; nothing is stored.
	NoSubmit bool `json:",omitempty"`
}

// Container says which image a batch job runs and what runs in it.
type Container struct {
	// Image is the reference as it was sent; Job.Image holds the normalised one.
	Image string
	// JobScript is as it was sent: one shell line, a script of several lines, or base64 of one of them.
	JobScript   string `json:",omitempty"`
	Interactive bool   `json:",omitempty"`
}

// MachineRequest is the machine type and the number of nodes of it.
type MachineRequest struct {
	Type  string
	Nodes int
}

// VaultRequest names the vault that the job finds at /data.
type VaultRequest struct {
	Name     string
	ReadOnly bool `json:",omitempty"`
	Force    bool `json:",omitempty"`
}

// Identity is the user that the job's command runs as, inside the job.
type Identity struct {
	Username string
	Group    string
	UID      int
	GID      int
}

// DefaultIdentity is who a job runs as when neither its application nor its submission says otherwise.
var DefaultIdentity = Identity{Username: "nimbix", Group: "nimbix", UID: 505, GID: 505}

// BatchApplication and BatchCommand are what a job of a bare container shows as its application and command.
const (
	BatchApplication = "jarvice-batch"
	BatchCommand     = "Batch"
)
