// Package sshkey makes keys for ssh, and reads public ones.
package sshkey

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Pair is a private key in the format of OpenSSH, and its public key as a line of authorized_keys without a line end.
type Pair struct {
	Private []byte
	Public  string
}

// New makes a pair of keys. The comment is in both.
func New(comment string) (Pair, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("ssh key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, comment)
	if err != nil {
		return Pair{}, fmt.Errorf("ssh key: %w", err)
	}
	known, err := ssh.NewPublicKey(public)
	if err != nil {
		return Pair{}, fmt.Errorf("ssh key: %w", err)
	}
	line := strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(known)), "\n") + " " + comment
	return Pair{Private: pem.EncodeToMemory(block), Public: line}, nil
}

// ErrPublic is that of Parse. What wraps it is a text for people.
var ErrPublic = errors.New("it is no public key")

// Public is a public key. Line is as it stands in authorized_keys, without a comment and a line end; Fingerprint as OpenSSH shows it.
type Public struct {
	Line, Comment, Fingerprint string
}

// Parse reads one public key as it is in a file id_*.pub. Lines without a key are passed over. Every error wraps ErrPublic.
func Parse(text []byte) (Public, error) {
	key, comment, options, rest, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return Public{}, fmt.Errorf("%w; it looks like: ssh-ed25519 AAAA… NAME", ErrPublic)
	}
	if len(options) > 0 {
		return Public{}, fmt.Errorf("%w alone: options such as %q would not be obeyed, leave them out", ErrPublic, options[0])
	}
	if _, ok := key.(*ssh.Certificate); ok {
		return Public{}, fmt.Errorf("%w but a certificate; send the key that it is for", ErrPublic)
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return Public{}, fmt.Errorf("%w alone: there is more than one line", ErrPublic)
	}
	line := strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(key)), "\n")
	return Public{Line: line, Comment: comment, Fingerprint: ssh.FingerprintSHA256(key)}, nil
}
