package berth

import "strings"

// VaultKind says what backs the directory /data of a job.
type VaultKind string

// The kinds of vaults.
const (
	// VaultEphemeral is an empty directory that lives as long as its job.
	VaultEphemeral VaultKind = "ephemeral"
	// VaultFile is a directory of the server that outlives jobs and is shared between them.
	VaultFile VaultKind = "file"
	// VaultObject is a bucket of an S3 store, or a part of one. What a job asks for is brought before its start, and what is new or
	// changed goes back after its end.
	VaultObject VaultKind = "object"
	// VaultBlock is a filesystem of a fixed size of its own, in an image on the server. One job at a time writes to it, or many read it.
	VaultBlock VaultKind = "block"
	// VaultBlockArray is one that is striped over several images, which may be on several disks.
	VaultBlockArray VaultKind = "block-array"
)

// Block says whether a vault of the kind is a filesystem of its own, which is attached to jobs.
func (k VaultKind) Block() bool { return k == VaultBlock || k == VaultBlockArray }

// EphemeralVault is the name of the vault that every user has. A submission that names none gets the user's default vault, which is
// this one until the user chooses another.
const EphemeralVault = "ephemeral"

// Vault is what a job finds at /data. It holds no credentials: the store keeps those apart.
type Vault struct {
	// Name is [A-Za-z0-9._-], unique for its owner.
	Name  string
	Owner string
	Kind  VaultKind
	// Path is the directory of a file vault on the server, or what a block vault is made of; empty for the other kinds.
	Path string
	// Default says that it is the vault of the owner's submissions that name none.
	Default bool
	// Team may use it too; with TeamReadOnly its members, but for the owner, may only read it.
	Team         string
	TeamReadOnly bool
	// Bucket says where an object vault is; zero for the other kinds.
	Bucket Bucket
	// Volume says what a block vault is; zero for the other kinds.
	Volume Volume
}

// Volume is what there is to know of the filesystem of a block vault.
type Volume struct {
	// Size is what was asked for, in bytes. Images are over how many images it is striped, 1 for a plain one.
	Size   int64
	Images int
	// Encrypted volumes need a password, which is nowhere on the server: every job brings it.
	Encrypted bool
}

// MaxVolume bounds the size of a volume, in bytes. A disk may say less.
const MaxVolume = 1 << 50

// Bucket is where the objects of a vault are.
type Bucket struct {
	// Endpoint is the address of the S3 store, http:// or https:// with a host and maybe a port.
	Endpoint string
	// Name is the bucket; empty when each submission names one.
	Name string `json:",omitempty"`
	// Prefix is what the keys of all objects of the vault begin with; empty is the whole bucket.
	Prefix string `json:",omitempty"`
	// Region may be empty: then the store is asked.
	Region string `json:",omitempty"`
	// PathStyle puts the bucket into the path of addresses and not into the name of the host.
	PathStyle bool `json:",omitempty"`
	// Trusted says that an administrator answers for the endpoint. Others are not connected to when they are on a private network:
	// the server may reach there what its users may not.
	Trusted bool `json:",omitempty"`
}

// Credentials are for an S3 store. They are never shown, logged or given to a job; both are empty for a bucket that needs none.
type Credentials struct {
	AccessKey, SecretKey string
}

// VaultName is what a user calls a vault: its name, and for the vault of somebody else name@owner.
func (v Vault) VaultName(user string) string {
	if v.Owner == user {
		return v.Name
	}
	return v.Name + "@" + v.Owner
}

// SplitVaultName returns the owner and the name of a vault that a user calls so.
func SplitVaultName(called, user string) (owner, name string) {
	if name, owner, found := strings.Cut(called, "@"); found {
		return owner, name
	}
	return user, called
}

// FullVaultName returns name@owner of a vault that a user calls so, whoever calls it.
func FullVaultName(called, user string) string {
	owner, name := SplitVaultName(called, user)
	return name + "@" + owner
}

// UsableBy says whether the jobs of a user may have the vault, and whether only to read.
func (v Vault) UsableBy(user, team string) (usable, readOnly bool) {
	switch {
	case v.Owner == user && user != "":
		return true, false
	case v.Team != "" && v.Team == team:
		return true, v.TeamReadOnly
	}
	return false, false
}

// Kept is data of an ended job that could not be copied back to its vault. The server keeps it until somebody wishes otherwise.
type Kept struct {
	// Number is the job's, Owner the job's owner.
	Number int64
	Owner  string
	Wish   KeptWish
	// Detail says what is missing in the vault, or why it could not be saved when that was last tried.
	Detail string
}

// KeptWish is what somebody wants to become of kept data.
type KeptWish string

// The wishes for kept data.
const (
	KeptWishNone KeptWish = ""
	// KeptWishSave tries to copy it back again.
	KeptWishSave KeptWish = "save"
	// KeptWishDrop deletes it.
	KeptWishDrop KeptWish = "drop"
)
