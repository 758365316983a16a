package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

const (
	vaultsPath = "/v1/vaults"
	keptPath   = "/v1/kept"
)

// Vault is what jobs find at /data.
type Vault struct {
	// Name is what submissions name; NAME@OWNER for a vault of somebody else.
	Name  string `json:"name"`
	Owner string `json:"owner"`
	// Kind is ephemeral, file, object, block or block-array.
	Kind string `json:"kind"`
	// Default says that the caller's submissions get it that name none.
	Default bool `json:"default"`
	// Team may use it too, as Share says: none, read or write.
	Team  string `json:"team"`
	Share string `json:"share"`
	Bucket
	Volume
	// Encrypted block vaults need the password in every submission.
	Encrypted bool `json:"encrypted,omitempty"`
}

// Volume is the filesystem of a block vault.
type Volume struct {
	// Size is in bytes and never changes.
	Size int64 `json:"size,omitempty"`
	// Images is over how many images it is striped; for a new array 0 is 2.
	Images int `json:"images,omitempty"`
}

// Bucket is where the objects of a vault are.
type Bucket struct {
	// Endpoint is the address of the S3 store.
	Endpoint string `json:"endpoint,omitempty"`
	// Bucket may be empty: then each submission names one.
	Bucket string `json:"bucket,omitempty"`
	// Prefix is what the keys of all objects of the vault begin with.
	Prefix string `json:"prefix,omitempty"`
	Region string `json:"region,omitempty"`
	// PathStyle puts the bucket into the path of addresses and not into the name of the host.
	PathStyle bool `json:"path_style,omitempty"`
}

// BucketKeys are the credentials for a bucket. The server shows them to nobody.
type BucketKeys struct {
	AccessKey string `json:"access_key,omitempty"`
	SecretKey string `json:"secret_key,omitempty"`
}

// NewVault is a request for a vault.
type NewVault struct {
	// Owner is whose it is, the caller when it is empty. Others are for administrators.
	Owner string `json:"owner,omitempty"`
	Name  string `json:"name"`
	// Kind is object, block or block-array, or for administrators file. Whether others may make block vaults is a setting of the server.
	Kind    string `json:"kind"`
	Share   string `json:"share,omitempty"`
	Default bool   `json:"default,omitempty"`
	Bucket
	BucketKeys
	Volume
	// Password makes a block vault an encrypted one. Nobody has it but who chose it.
	Password string `json:"password,omitempty"`
}

// VaultChange is what changes of a vault; nil fields stay as they are.
type VaultChange struct {
	Share   *string `json:"share,omitempty"`
	Default *bool   `json:"default,omitempty"`
	*BucketKeys
}

// KeptData is data of an ended job that could not be copied back to its vault. The server keeps it until it is saved or dropped.
type KeptData struct {
	// Number is the job's, Owner the job's owner.
	Number int64  `json:"number"`
	Owner  string `json:"owner"`
	// Wish is save or drop while that is being done.
	Wish string `json:"wish"`
	// Detail says what is missing in the vault, and why.
	Detail string `json:"detail"`
}

// oneVault is how the server answers one.
type oneVault struct {
	Vault Vault `json:"vault"`
}

// Vaults lists the caller's vaults and those that the team shares; with an owner, for administrators, those of that user.
func (c *Client) Vaults(ctx context.Context, owner string) ([]Vault, error) {
	query := url.Values{}
	if owner != "" {
		query.Set("owner", owner)
	}
	var answer struct {
		Vaults []Vault `json:"vaults"`
	}
	_, err := c.get(ctx, vaultsPath, query, &answer)
	return answer.Vaults, err
}

// Vault returns one vault.
func (c *Client) Vault(ctx context.Context, name string) (Vault, error) {
	var answer oneVault
	_, err := c.decode(ctx, call{method: http.MethodGet, path: vaultsPath, under: []string{name}}, &answer)
	return answer.Vault, err
}

// AddVault makes a vault. It is never repeated.
func (c *Client) AddVault(ctx context.Context, vault NewVault) (Vault, error) {
	var answer oneVault
	_, err := c.send(ctx, call{method: http.MethodPost, path: vaultsPath}, vault, &answer)
	return answer.Vault, err
}

// ChangeVault changes a vault and returns it as it is then.
func (c *Client) ChangeVault(ctx context.Context, name string, change VaultChange) (Vault, error) {
	var answer oneVault
	_, err := c.send(ctx, call{method: http.MethodPatch, path: vaultsPath, under: []string{name}}, change, &answer)
	return answer.Vault, err
}

// RemoveVault removes a vault that no job needs; with data also what it has on the server. Objects stay in their bucket.
func (c *Client) RemoveVault(ctx context.Context, name string, data bool) error {
	query := url.Values{}
	if data {
		query.Set("data", "true")
	}
	_, err := c.do(ctx, call{method: http.MethodDelete, path: vaultsPath, under: []string{name}, query: query})
	return err
}

// ChangeVaultPassword gives an encrypted vault another password. Jobs that wait with the old one are refused when they are to start.
// When it fails without an answer of the server, the vault has the one or the other.
func (c *Client) ChangeVaultPassword(ctx context.Context, name, password, changed string) error {
	body := struct {
		Password string `json:"password"`
		New      string `json:"new_password"`
	}{password, changed}
	var answer struct{}
	_, err := c.send(ctx, call{method: http.MethodPost, path: vaultsPath, under: []string{name, "password"}}, body, &answer)
	return err
}

// RepairVault has the filesystem of a block vault checked and repaired that was not closed properly, which takes minutes for a large one.
func (c *Client) RepairVault(ctx context.Context, name string) error {
	_, err := c.do(ctx, call{method: http.MethodPost, path: vaultsPath, under: []string{name, "repair"}})
	return err
}

// Kept lists the data that could not be copied back, of the caller's jobs or, for administrators, of everybody's.
func (c *Client) Kept(ctx context.Context, everybody bool) ([]KeptData, error) {
	query := url.Values{}
	if everybody {
		query.Set("all", "true")
	}
	var answer struct {
		Kept []KeptData `json:"kept"`
	}
	_, err := c.get(ctx, keptPath, query, &answer)
	return answer.Kept, err
}

// SaveKept has the server try again to copy the data of a job to its vault. Kept tells what came of it: what was saved is gone there.
func (c *Client) SaveKept(ctx context.Context, number int64) error {
	return c.wishKept(ctx, http.MethodPost, number)
}

// DropKept has the server delete the data of a job.
func (c *Client) DropKept(ctx context.Context, number int64) error {
	return c.wishKept(ctx, http.MethodDelete, number)
}

func (c *Client) wishKept(ctx context.Context, method string, number int64) error {
	_, err := c.do(ctx, call{method: method, path: keptPath, under: []string{strconv.FormatInt(number, 10)}})
	return err
}
