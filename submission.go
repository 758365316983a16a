package berth

import (
	"encoding/json"
	"time"
)

// Submission is what a user asked for, checked and normalised, without secrets. It is kept with the job and shown to the
// user again. The store keeps it as JSON under these field names: rename none without a migration.
type Submission struct {
	// App and Command name an application of the catalogue and one of its commands, and Parameters what was sent for it, as JSON by
	// their keys. All are empty for a batch job.
	App        string                     `json:",omitempty"`
	Command    string                     `json:",omitempty"`
	Parameters map[string]json.RawMessage `json:",omitempty"`
	// HPC is the script of an HPC submission.
	HPC *HPC `json:",omitempty"`
	// AppPrice is the price of the application when it was submitted.
	AppPrice  float64 `json:",omitempty"`
	Container Container
	Machine   MachineRequest
	Vault     VaultRequest
	// Walltime limits the time from the start of the job; 0 is no limit.
	Walltime time.Duration
	// PublicIP asks for an address at which the job is reached from outside, and IPAddr for which one.
	PublicIP bool   `json:",omitempty"`
	IPAddr   string `json:",omitempty"`
	// Geometry is the size of the desktop of a graphical job, as sent.
	Geometry string `json:",omitempty"`
	Label    string `json:",omitempty"`
	Project  string `json:",omitempty"`
	Priority string `json:",omitempty"`
	Queue    string `json:",omitempty"`
	Licenses string `json:",omitempty"`
	// Identity replaces the user nimbix inside the job.
	Identity *Identity `json:",omitempty"`
	// SSHPublicKey is the key of the job's user for ssh, as a line of authorized_keys, when it was asked for.
	SSHPublicKey string `json:",omitempty"`
	// NoSubmit asks for the answer of the checks only; nothing is stored.
	NoSubmit bool `json:",omitempty"`
}

// HPC is a job script as the front ends of batch systems send it.
type HPC struct {
	// Queue is the queue that it was sent to.
	Queue string
	// EnvConfig is shell text that goes before the script, Shell what runs the script, Script the script as base64.
	EnvConfig, Shell, Script string
	// Envs are exported before the start. Kept with the job, those that are not of the batch system have asterisks for values.
	Envs map[string]string `json:",omitempty"`
	// Umask is that of the script; 0 is not set.
	Umask int `json:",omitempty"`
	// Resources are mc_name, mc_cores and mc_ram, as they were sent.
	Resources map[string]string `json:",omitempty"`
}

// HPCCommand is what an HPC submission names as its command.
const HPCCommand = "HpcJob"

// Container says which image a batch job runs and what runs in it.
type Container struct {
	// Image is the reference as it was sent; Job.Image holds the normalised one.
	Image string
	// JobScript is as it was sent: one shell line, a script of several lines, or base64 of one of them.
	JobScript   string `json:",omitempty"`
	Interactive bool   `json:",omitempty"`
}

// MaxNodes is the largest number of nodes of a job, whatever its machine type says.
const MaxNodes = 10_000

// MachineRequest is the machine type and the number of nodes of it.
type MachineRequest struct {
	Type  string
	Nodes int
}

// VaultRequest names the vault that the job finds at /data. Its password, when it has one, is kept elsewhere.
type VaultRequest struct {
	// Name is the vault's, name@owner for one that a team shares.
	Name string
	// Kind is that of the vault when the job was accepted. It is empty for jobs of times without block vaults.
	Kind     VaultKind `json:",omitempty"`
	ReadOnly bool      `json:",omitempty"`
	// Force has the filesystem of a block vault checked and repaired that was not closed properly.
	Force bool `json:",omitempty"`
	// Objects are the keys of objects, and beginnings of keys, that are brought from an object vault; Bucket is where from, when the
	// vault does not say it.
	Objects []string `json:",omitempty"`
	Bucket  string   `json:",omitempty"`
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
