package sftpd

import (
	"context"
	"errors"
	"sync/atomic"

	"golang.org/x/crypto/ssh"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/vault"
)

// login is who has logged in on a connection, and does what the client asks for.
type login struct {
	server *Server
	ctx    context.Context // of the connection
	from   string
	// user and key are what the client has sent, caller who that is. They are set before done is.
	user, key string
	caller    berth.Caller
	done      atomic.Bool
	// handles is how many files and directories the client has open.
	handles atomic.Int64
}

var errRefused = errors.New("refused")

// password checks the key of a user.
func (l *login) password(conn ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
	caller, err := l.server.cfg.Access.Authenticate(l.ctx, conn.User(), string(password), l.from)
	if err != nil || conn.User() == "" {
		return nil, errors.Join(errRefused, err)
	}
	l.user, l.key, l.caller = conn.User(), string(password), caller
	l.done.Store(true)
	return &ssh.Permissions{}, nil
}

// open opens the vault of a path, after another look at the key: it may have ended, and the connection has not yet.
func (l *login) open(at place, change bool) (*vault.Tree, error) {
	caller, err := l.again()
	if err != nil {
		return nil, err
	}
	v, err := l.server.cfg.Access.VaultOf(l.ctx, caller, at.vault, change)
	if err != nil {
		return nil, err
	}
	return l.server.cfg.Open(l.ctx, v, change)
}

func (l *login) again() (berth.Caller, error) {
	return l.server.cfg.Access.Authenticate(l.ctx, l.user, l.key, l.from)
}
