package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
)

// Submission is a request to run a job. Fields that are nil or empty are not sent, and the server's defaults hold.
type Submission struct {
	// App is the ID of an application of the catalogue, whose command Application names. A submission without one has a Container.
	App         string          `json:"app,omitempty"`
	Container   *Container      `json:"container,omitempty"`
	Machine     *MachineRequest `json:"machine,omitempty"`
	Vault       *VaultRequest   `json:"vault,omitempty"`
	Application *Application    `json:"application,omitempty"`
	Identity    *Identity       `json:"identity,omitempty"`
	Label       string          `json:"job_label,omitempty"`
	Project     string          `json:"job_project,omitempty"`
	// GenSSHKey asks for a key of the job's own for ssh, see Submitted.SSHPublicKey.
	GenSSHKey bool `json:"gen_sshkey,omitempty"`

	// IdempotencyKey makes two submissions one: the server answers the second with the job of the first, for 24 hours. Empty: a
	// random one, so that only the client's own repetitions are the same.
	IdempotencyKey string `json:"-"`
}

// Container says which image runs and what runs in it.
type Container struct {
	// Image is a reference such as local/tools:latest or registry.example.org/team/tool:1.
	Image string `json:"image"`
	// JobScript is one line for the shell, a script of several lines, or base64 of one of them; see EncodeScript.
	JobScript string `json:"jobscript,omitempty"`
	// PullSecret is base64 of a Docker "auths" JSON for the image's registry.
	PullSecret string `json:"pullsecret,omitempty"`
}

// MachineRequest is a machine type and how many nodes of it.
type MachineRequest struct {
	Type  string `json:"type"`
	Nodes int    `json:"nodes,omitempty"`
}

// VaultRequest names the vault that the job finds at /data.
type VaultRequest struct {
	// Name is the vault's, NAME@OWNER for one that the team shares.
	Name     string `json:"name"`
	ReadOnly bool   `json:"readonly,omitempty"`
	// Force has the filesystem of a block vault checked and repaired that was not closed properly.
	Force bool `json:"force,omitempty"`
	// Password is that of an encrypted block vault.
	Password string `json:"password,omitempty"`
	// Objects are the keys of objects, and beginnings of keys, that are brought from an object vault before the job starts; Bucket is
	// where from, when the vault does not say it.
	Objects []string `json:"objects,omitempty"`
	Bucket  string   `json:"bucket,omitempty"`
}

// Application says what to run of an application, and holds the settings of the run.
type Application struct {
	// Command is the key of one of the application's commands.
	Command string `json:"command,omitempty"`
	// Parameters are the values for the command by the keys of its AppDef: texts, numbers and booleans. The content of an uploaded
	// file is its base64.
	Parameters map[string]any `json:"parameters,omitempty"`
	// Geometry is the size of the desktop, such as 1280x720.
	Geometry string `json:"geometry,omitempty"`
	// Walltime limits the run, as HH:MM:SS.
	Walltime string `json:"walltime,omitempty"`
	// NoSubmit asks for the answer of the checks only: no job is made, and the answer's number is 0.
	NoSubmit bool `json:"nosubmit,omitempty"`
}

// Identity is the user that the command runs as, inside the job.
type Identity struct {
	Username string `json:"username"`
	Group    string `json:"group,omitempty"`
	UID      int    `json:"uid"`
	GID      int    `json:"gid"`
}

// Submitted is an accepted job. When a method returns it, the job is on the server's disk.
type Submitted struct {
	Number int64  `json:"number"`
	Name   string `json:"name"`
	// SSHPublicKey is that of the job's user, as a line of authorized_keys, for a submission that asked for one.
	SSHPublicKey string `json:"ssh_public_key"`
	// Raw is the server's answer.
	Raw json.RawMessage `json:"-"`
}

// Batch submits a job that runs a script in an image. It is repeated safely after a lost answer.
func (c *Client) Batch(ctx context.Context, submission Submission) (Submitted, error) {
	return c.submit(ctx, "/jarvice/batch", submission, submission.IdempotencyKey)
}

// Submit submits a job that runs a command of an application; with a container it is the same as Batch. It is repeated safely after
// a lost answer.
func (c *Client) Submit(ctx context.Context, submission Submission) (Submitted, error) {
	return c.submit(ctx, "/jarvice/submit", submission, submission.IdempotencyKey)
}

// SubmitJSON sends a submission that somebody else wrote. Its credentials (the object "user") are replaced by the client's. The
// key works like Submission.IdempotencyKey.
func (c *Client) SubmitJSON(ctx context.Context, submission []byte, idempotencyKey string) (Submitted, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(submission, &fields); err != nil {
		return Submitted{}, fmt.Errorf("submission is no JSON object: %w", err)
	}
	if fields == nil {
		return Submitted{}, fmt.Errorf("submission is no JSON object but %s", submission)
	}
	delete(fields, "user")
	return c.submit(ctx, "/jarvice/submit", fields, idempotencyKey)
}

func (c *Client) submit(ctx context.Context, path string, submission any, key string) (Submitted, error) {
	body, err := json.Marshal(submission)
	if err != nil {
		return Submitted{}, fmt.Errorf("submission: %w", err)
	}
	if key == "" {
		key = rand.Text()
	}
	var answer Submitted
	raw, err := c.decode(ctx, call{method: http.MethodPost, path: path, body: body, key: key}, &answer)
	answer.Raw = raw
	return answer, err
}
