package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

const sshKeysPath = "/v1/sshkeys"

// SSHKey is a public key with which a user gets into the own jobs by ssh.
type SSHKey struct {
	// Fingerprint names the key, as OpenSSH shows it: SHA256:…
	Fingerprint string `json:"fingerprint"`
	// Key is a line of authorized_keys without a comment.
	Key     string    `json:"key"`
	Comment string    `json:"comment"`
	Added   time.Time `json:"added,omitzero"`
}

// SSHKeys lists the caller's public keys, oldest first.
func (c *Client) SSHKeys(ctx context.Context) ([]SSHKey, error) {
	var answer struct {
		Keys []SSHKey `json:"keys"`
	}
	_, err := c.get(ctx, sshKeysPath, nil, &answer)
	return answer.Keys, err
}

// AddSSHKey registers a public key of the caller, a line as in a file id_*.pub: whoever has its private key gets into the caller's jobs
// that start from then on. A key that is there already is an Error with status 409.
func (c *Client) AddSSHKey(ctx context.Context, line string) (SSHKey, error) {
	body := struct {
		Key string `json:"key"`
	}{line}
	var answer struct {
		Key SSHKey `json:"key"`
	}
	_, err := c.send(ctx, call{method: http.MethodPost, path: sshKeysPath}, body, &answer)
	return answer.Key, err
}

// RemoveSSHKey forgets a public key of the caller. Jobs that run let it in until their end.
func (c *Client) RemoveSSHKey(ctx context.Context, fingerprint string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: sshKeysPath, query: url.Values{"fingerprint": {fingerprint}}})
	return err
}
