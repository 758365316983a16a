// Package seal keeps small secrets so that who has the database does not have them: the key is in a file beside it, and in no backup.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/berth-hpc/berth/internal/wholefile"
)

// keySize is that of AES-256, in bytes.
const keySize = 32

// ErrUnreadable says that a secret was sealed with another key or for another purpose, or is damaged.
var ErrUnreadable = errors.New("the secret was sealed by another server")

// Sealer seals secrets and opens them again. Safe for concurrent use.
type Sealer struct{ aead cipher.AEAD }

// Open returns a Sealer with the key of a file, which is made when it is not there.
func Open(path string) (*Sealer, error) {
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = makeKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("key for secrets: %w", err)
	}
	if len(key) != keySize {
		return nil, fmt.Errorf("key for secrets: %s has %d bytes and not %d: delete it; jobs that wait with a password are refused then",
			path, len(key), keySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("key for secrets: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("key for secrets: %w", err)
	}
	return &Sealer{aead}, nil
}

// makeKey makes the file of the key, which is there before anything is sealed with it.
func makeKey(path string) ([]byte, error) {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // it never fails
	return key, wholefile.Write(path, key, 0o600)
}

// Seal returns a secret as a text that only the same key opens again, and only for the same purpose. Two of the same secret differ.
func (s *Sealer) Seal(secret, purpose string) string {
	return base64.StdEncoding.EncodeToString(s.aead.Seal(nil, nil, []byte(secret), []byte(purpose))) //nolint:gosec // it makes its own nonce, at random
}

// Open returns the secret that was sealed for a purpose. The error wraps ErrUnreadable when it was not, or by another key.
func (s *Sealer) Open(sealed, purpose string) (string, error) {
	text, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	secret, err := s.aead.Open(nil, nil, text, []byte(purpose))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return string(secret), nil
}
