package control

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"

	"github.com/berth-hpc/berth"
)

// HashKey returns what is stored of an API key. Keys are random with at least 128 bits, so one round of SHA-256 is enough: there
// is nothing to guess, and a slow hash would cost every request.
func HashKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// NewKey returns a new API key: 32 characters of [0-9a-v], 160 random bits, safe in a URL without escapes.
func NewKey() string { return encodeKey(randomBytes(20)) }

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

// Authenticate returns who holds the key. An empty username is fine (a bearer key); another one than the key's is refused. All
// refusals are alike: Unauthenticated "Unauthorized".
func (s *Service) Authenticate(ctx context.Context, username, apikey string) (berth.Caller, error) {
	unauthorized := &berth.Error{Kind: berth.Unauthenticated, Msg: "Unauthorized"}
	if apikey == "" {
		return berth.Caller{}, unauthorized
	}
	hash := HashKey(apikey)
	user, err := s.users.get(hash, s.cfg.Now(), func() (berth.User, error) { return s.cfg.Store.UserByKey(ctx, hash) })
	switch {
	case berth.KindOf(err) == berth.NotFound:
		return berth.Caller{}, unauthorized
	case err != nil:
		return berth.Caller{}, &berth.Error{Kind: berth.Internal, Msg: "Unable to get user", Err: err}
	case user.Disabled, username != "" && username != user.Name:
		return berth.Caller{}, unauthorized
	}
	return berth.Caller{User: user}, nil
}
