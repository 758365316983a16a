// Package sshclient is the ssh client of a job's nodes: for images that bring none, the programs ssh, scp and sftp in as much of
// OpenSSH's form as starters of parallel programs and scripts need, and for the agent the question whether a node answers.
package sshclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// Dial connects to an ssh server and logs in. The context bounds that, and means nothing for the client that is returned.
func Dial(ctx context.Context, address string, cfg *ssh.ClientConfig) (*ssh.Client, error) {
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	conn, channels, requests, err := ssh.NewClientConn(raw, address, cfg)
	if !stop() {
		err = errors.Join(err, ctx.Err())
	}
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return ssh.NewClient(conn, channels, requests), nil
}

// account returns the name and the home directory of whoever runs this, as the container's accounts have them.
func account() (name, home string, err error) {
	who, err := user.LookupId(strconv.Itoa(os.Getuid()))
	if err != nil {
		return "", "", err
	}
	return who.Username, who.HomeDir, nil
}

// connect logs in as the options say, with the user's key, at a server that the user's known_hosts know.
func connect(ctx context.Context, o options) (*ssh.Client, error) {
	name, home, err := account()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(home, ".ssh")
	identity := filepath.Join(dir, "id_ed25519")
	if o.identity != "" {
		identity = o.identity
	}
	text, err := os.ReadFile(identity)
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", identity, err)
	}
	known, err := knownhosts.New(filepath.Join(dir, "known_hosts"))
	if err != nil {
		return nil, err
	}
	if o.user != "" {
		name = o.user
	}
	return Dial(ctx, net.JoinHostPort(o.host, strconv.Itoa(o.port)), &ssh.ClientConfig{
		User: name, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: known,
	})
}
