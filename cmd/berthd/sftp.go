package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"github.com/berth-hpc/berth/internal/control"
	"github.com/berth-hpc/berth/internal/sftpd"
	"github.com/berth-hpc/berth/internal/wholefile"
)

// hostKeyFile is what clients of SFTP know the server by.
const hostKeyFile = "ssh_host_key"

// sftp returns what serves the files of vaults by SFTP until its context ends; it returns at once when that is not wanted.
func (s *server) sftp(ctx context.Context, service *control.Service) (serve func(context.Context) error, err error) {
	if s.cfg.SFTPListen == "" {
		return func(context.Context) error { return nil }, nil
	}
	key, err := hostKey(filepath.Join(s.cfg.Data, hostKeyFile))
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.SFTPListen)
	if err != nil {
		return nil, fmt.Errorf("listen for sftp: %w", err)
	}
	s.log.Info("serving sftp", "address", listener.Addr().String(), "host_key", ssh.FingerprintSHA256(key.PublicKey()))
	server := sftpd.New(sftpd.Config{Access: service, Open: s.openVault, HostKey: key, Log: s.log})
	return func(ctx context.Context) error { return server.Serve(ctx, listener) }, nil
}

// hostKey returns the key in a file, which is made when it is not there.
func hostKey(path string) (ssh.Signer, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = newHostKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	key, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("host key %s: %w: restore the file, or delete it for another key", path, err)
	}
	return key, nil
}

func newHostKey(path string) ([]byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "berth")
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(block)
	return text, wholefile.Write(path, text, 0o600)
}
