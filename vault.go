package berth

// VaultKind says what backs the directory /data of a job.
type VaultKind string

// The kinds of vaults.
const (
	// VaultEphemeral is an empty directory that lives as long as its job.
	VaultEphemeral VaultKind = "ephemeral"
	// VaultFile is a directory of the server that outlives jobs and is shared between them.
	VaultFile VaultKind = "file"
)

// EphemeralVault is the name of the vault that every user has and that a submission without a vault gets.
const EphemeralVault = "ephemeral"

// Vault is what a job finds at /data.
type Vault struct {
	Name  string
	Owner string
	Kind  VaultKind
	// Path is the directory on the server; empty for an ephemeral vault.
	Path string
}
