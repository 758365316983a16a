package control

import (
	"context"
	"strings"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/sshkey"
)

const (
	// maxSSHKeys is how many public keys a user may have, and maxSSHKey how long one may be, in bytes.
	maxSSHKeys = 50
	maxSSHKey  = 8 << 10
)

// errKeyEnds keeps who got a key for a time from staying longer by ssh.
var errKeyEnds = &berth.Error{
	Kind: berth.Forbidden, Msg: "An API key that expires may not do this", Detail: "add the key for ssh with an API key that does not",
}

// SSHKeys returns the caller's public keys, oldest first.
func (s *Service) SSHKeys(ctx context.Context, caller berth.Caller) ([]berth.SSHKey, error) {
	if caller.Job != 0 {
		return nil, errNotByToken
	}
	return s.cfg.Store.SSHKeys(ctx, caller.User.Name)
}

// AddSSHKey registers a public key of the caller, a line as in authorized_keys: whoever has its private key gets into the jobs that the
// caller has started from then on. Conflict when it is there already; LimitReached when there are too many.
func (s *Service) AddSSHKey(ctx context.Context, caller berth.Caller, line string) (berth.SSHKey, error) {
	if err := actsFor(caller, caller.User.Name); err != nil {
		return berth.SSHKey{}, err
	}
	if !caller.Expires.IsZero() && !caller.User.Admin {
		return berth.SSHKey{}, errKeyEnds
	}
	if len(line) > maxSSHKey {
		return berth.SSHKey{}, invalid("key", "it must have at most %d bytes", maxSSHKey)
	}
	public, err := sshkey.Parse([]byte(line))
	if err != nil {
		return berth.SSHKey{}, invalid("key", "%v", err)
	}
	if len(public.Comment) > maxLabel || !printable(public.Comment) {
		return berth.SSHKey{}, invalid("key", "its comment must have at most %d printable characters", maxLabel)
	}
	key := berth.SSHKey{
		User: caller.User.Name, Fingerprint: public.Fingerprint, Line: public.Line, Comment: public.Comment,
		Added: s.cfg.Now().UTC().Truncate(time.Microsecond),
	}
	detail := strings.TrimSpace(key.Fingerprint + " " + key.Comment)
	return key, s.cfg.Store.AddSSHKey(ctx, key, maxSSHKeys, s.act(caller, berth.ActSSHKeyAdded, key.User, detail))
}

// RemoveSSHKey forgets a public key of the caller. Jobs that run by then let it in until their end.
func (s *Service) RemoveSSHKey(ctx context.Context, caller berth.Caller, fingerprint string) error {
	user := caller.User.Name
	if err := actsFor(caller, user); err != nil {
		return err
	}
	err := s.cfg.Store.RemoveSSHKey(ctx, user, fingerprint, s.act(caller, berth.ActSSHKeyRemoved, user, fingerprint))
	return named(err, msgNoKey)
}
