package control

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/berth-hpc/berth"
)

// HashKey returns what is stored of an API key. Keys are random with at least 128 bits, so one round of SHA-256 is enough: there
// is nothing to guess, and a slow hash would cost every request.
func HashKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// NewKey returns a new API key: 32 characters of [0-9a-v], 160 random bits, safe in a URL without escapes.
func NewKey() string { return encodeKey(randomBytes(keyBytes)) }

const (
	keyBytes = 20
	// keyIDBytes makes 8 characters: unique among the keys of a server, and short enough to be typed.
	keyIDBytes = 5
)

// NewKeyID returns a new ID for an API key.
func NewKeyID() string { return encodeKey(randomBytes(keyIDBytes)) }

func encodeKey(random []byte) string {
	const alphabet = "0123456789abcdefghijklmnopqrstuv"
	key := make([]byte, 0, len(random)*8/5)
	var bits, have uint
	for _, b := range random {
		bits, have = bits<<8|uint(b), have+8
		for have >= 5 {
			have -= 5
			key = append(key, alphabet[bits>>have&31])
		}
	}
	return string(key)
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return b
}

// holder is who has a key.
type holder struct {
	user berth.User
	key  berth.Key
}

// may says whether the holder is let in under a username, which may be empty.
func (h holder) may(username string, now time.Time) bool {
	return !h.user.Disabled && !h.key.Expired(now) && (username == "" || username == h.user.Name)
}

func (h holder) caller(from string) berth.Caller {
	caller := berth.Caller{
		User: h.user, ReadOnly: h.key.ReadOnly, KeyID: h.key.ID, Expires: h.key.Expires, Job: h.key.Job, From: from,
	}
	if caller.Job != 0 {
		caller.User = byToken(caller.User)
	}
	return caller
}

// Authenticate returns who holds the key. An empty username is fine (a bearer key); another one than the key's is refused. from is
// the network address that the request came from. All refusals are alike: Unauthenticated "Unauthorized". Those who fail often wait
// for it, and are told LimitReached when too many wait; the holder of a right key never waits and is never locked out.
//
// A key is looked up by its hash and compared with nothing: how long that takes tells about hashes only, of which an attacker can
// choose none.
func (s *Service) Authenticate(ctx context.Context, username, apikey, from string) (berth.Caller, error) {
	unauthorized := &berth.Error{Kind: berth.Unauthenticated, Msg: "Unauthorized"}
	if apikey == "" {
		return berth.Caller{}, unauthorized
	}
	hash, now := HashKey(apikey), s.cfg.Now()
	h, err := s.holders.get(hash, now, func() (h holder, err error) {
		h.user, h.key, err = s.cfg.Store.UserByKey(ctx, hash)
		return h, err
	})
	switch {
	case err == nil && h.may(username, now):
		return h.caller(from), nil
	case err != nil && berth.KindOf(err) != berth.NotFound:
		return berth.Caller{}, &berth.Error{Kind: berth.Internal, Msg: "Unable to get user", Err: err}
	}
	if !s.logins.failed(ctx, now, username, from) {
		return berth.Caller{}, &berth.Error{Kind: berth.LimitReached, Msg: "Too many failed logins"}
	}
	return berth.Caller{}, unauthorized
}
