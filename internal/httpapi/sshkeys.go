package httpapi

import (
	"time"

	"github.com/berth-hpc/berth"
)

// sshKeyAnswer is a public key of a user.
type sshKeyAnswer struct {
	Fingerprint string    `json:"fingerprint"`
	Key         string    `json:"key"`
	Comment     string    `json:"comment"`
	Added       time.Time `json:"added"`
}

func newSSHKeyAnswer(k berth.SSHKey) sshKeyAnswer {
	return sshKeyAnswer{Fingerprint: k.Fingerprint, Key: k.Line, Comment: k.Comment, Added: k.Added}
}

// sshKeys answers the caller's public keys.
func (s *server) sshKeys(c *call, caller berth.Caller, _ params) error {
	keys, err := s.control.SSHKeys(c.r.Context(), caller)
	if err != nil {
		return err
	}
	return c.writeJSON(struct {
		Keys []sshKeyAnswer `json:"keys"`
	}{each(keys, newSSHKeyAnswer)})
}

// addSSHKey registers a public key of the caller.
func (s *server) addSSHKey(c *call, caller berth.Caller, _ params) error {
	d, m, err := c.readMembers("key")
	if err != nil {
		return err
	}
	if kindOf(m["key"]) == kindNull {
		d.problem("key", "nothing was sent, a text is required")
	}
	line := d.anyText("key", m["key"])
	if err := d.err(); err != nil {
		return err
	}
	key, err := s.control.AddSSHKey(c.r.Context(), caller, line)
	if err != nil {
		return err
	}
	return c.writeJSON(struct {
		Key sshKeyAnswer `json:"key"`
	}{newSSHKeyAnswer(key)})
}

// removeSSHKey forgets a public key of the caller. Its fingerprint may have slashes, and so is a parameter.
func (s *server) removeSSHKey(c *call, caller berth.Caller, p params) error {
	if p.text("fingerprint") == "" {
		return &berth.Error{Kind: berth.Invalid, Msg: msgMissing, Detail: "fingerprint"}
	}
	if err := s.control.RemoveSSHKey(c.r.Context(), caller, p.text("fingerprint")); err != nil {
		return err
	}
	return c.writeJSON(statusAnswer{Status: "removed"})
}
