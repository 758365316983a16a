// Package sshkey makes keys for ssh.
package sshkey

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
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
