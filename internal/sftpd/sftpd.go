// Package sftpd serves the files of vaults by SFTP: a user's vaults are the directories at the top. Users log in with their names, and
// with an API key for a password.
package sftpd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/vault"
)

// Limits of connections.
const (
	// DefaultMaxConnections is how many there are at a time, those that have not logged in yet included.
	DefaultMaxConnections = 256
	// DefaultIdle is how long one may stand still.
	DefaultIdle = 10 * time.Minute
	// loginWithin is how long logging in may take: three tries, each of which is held back for up to five seconds.
	loginWithin = time.Minute
	maxTries    = 3
	// maxChannels is how many sessions one connection may have.
	maxChannels = 8
	// maxHandles is how many open files and directories.
	maxHandles = 128
	// sharePart is the part of the connections that one user may have, and one address before it has logged in: one of so many.
	sharePart = 8
)

// Access says who may do what; *control.Service has it.
type Access interface {
	Authenticate(ctx context.Context, username, apikey, from string) (berth.Caller, error)
	// FileVaults returns the vaults of the caller that have files.
	FileVaults(ctx context.Context, caller berth.Caller) ([]berth.Vault, error)
	// VaultOf returns a vault that the caller may read or, with change, write to.
	VaultOf(ctx context.Context, caller berth.Caller, name string, change bool) (berth.Vault, error)
	// UntilLoggedOut returns when the caller's key has ended or its user has other rights, and with ctx.
	UntilLoggedOut(ctx context.Context, caller berth.Caller)
}

// Config is what a Server is made of. All is required, unless it says otherwise.
type Config struct {
	Access Access
	// Open opens the files of a vault, to change them if it is told so.
	Open func(ctx context.Context, v berth.Vault, change bool) (*vault.Tree, error)
	// HostKey is what clients know the server by.
	HostKey ssh.Signer
	// MaxConnections and Idle are limits; 0 is the default.
	MaxConnections int
	Idle           time.Duration
	Log            *slog.Logger
}

// Server serves the files of vaults. One Serve runs at a time.
type Server struct {
	cfg    Config
	places chan struct{} // holds a value for each connection
	// users have logged in, addresses not yet.
	users, addresses shares
}

// shares counts who has how many connections.
type shares struct {
	mu    sync.Mutex
	taken map[string]int
	most  int
}

// take is false for who has all already.
func (s *shares) take(who string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[who] >= s.most {
		return false
	}
	s.taken[who]++
	return true
}

func (s *shares) give(who string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[who]--; s.taken[who] == 0 {
		delete(s.taken, who)
	}
}

// New returns a Server. It starts nothing.
func New(cfg Config) *Server {
	cfg.Idle = cmp.Or(cfg.Idle, DefaultIdle)
	cfg.MaxConnections = cmp.Or(cfg.MaxConnections, DefaultMaxConnections)
	most := max(1, cfg.MaxConnections/sharePart)
	return &Server{
		cfg: cfg, places: make(chan struct{}, cfg.MaxConnections),
		users: shares{taken: make(map[string]int), most: most}, addresses: shares{taken: make(map[string]int), most: most},
	}
}

// Serve serves until ctx ends; then it closes all connections and waits for them. It closes the listener.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var connections sync.WaitGroup
	defer connections.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	for {
		conn, err := listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("sftp: %w", err)
		case err != nil:
			s.cfg.Log.WarnContext(ctx, "sftp connection not accepted", "error", err)
			pause(ctx, time.Second) // out of descriptors, for example
			continue
		}
		select {
		case s.places <- struct{}{}:
			connections.Go(func() {
				defer func() { <-s.places }()
				s.connection(ctx, conn)
			})
		default:
			_ = conn.Close() // clients say that it was closed, and may try again
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// connection serves one connection to its end.
func (s *Server) connection(ctx context.Context, conn net.Conn) {
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	from, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		from = conn.RemoteAddr().String()
	}
	login := &login{server: s, ctx: ctx, from: from}
	config := &ssh.ServerConfig{MaxAuthTries: maxTries, PasswordCallback: login.password}
	config.AddHostKey(s.cfg.HostKey)
	_ = conn.SetDeadline(time.Now().Add(loginWithin))
	if !s.addresses.take(from) {
		return
	}
	client, channels, requests, err := ssh.NewServerConn(&patientConn{Conn: conn, idle: s.cfg.Idle, login: login}, config)
	s.addresses.give(from)
	if err != nil {
		s.cfg.Log.DebugContext(ctx, "sftp connection ended before a login", "from", from, "error", err)
		return
	}
	user := login.caller.User.Name
	if !s.users.take(user) {
		s.cfg.Log.WarnContext(ctx, "sftp connection refused: the user has too many", "user", user, "from", from)
		_ = client.Close()
		return
	}
	defer s.users.give(user)
	s.cfg.Log.InfoContext(ctx, "sftp login", "user", user, "from", from)
	var sessions sync.WaitGroup
	defer sessions.Wait()
	defer func() { _ = client.Close() }()
	allowed, cancel := context.WithCancel(ctx)
	defer cancel()
	sessions.Go(func() {
		s.cfg.Access.UntilLoggedOut(allowed, login.caller)
		_ = client.Close() // and with it every open file
	})
	sessions.Go(func() { ssh.DiscardRequests(requests) })
	places := make(chan struct{}, maxChannels)
	for channel := range channels {
		select {
		case places <- struct{}{}:
			sessions.Go(func() {
				defer func() { <-places }()
				login.session(channel)
			})
		default:
			_ = channel.Reject(ssh.ResourceShortage, "too many sessions")
		}
	}
}

// patientConn is a connection that may not stand still after the login.
type patientConn struct {
	net.Conn
	idle  time.Duration
	login *login
}

func (c *patientConn) Read(p []byte) (int, error) {
	c.prolong()
	return c.Conn.Read(p)
}

func (c *patientConn) Write(p []byte) (int, error) {
	c.prolong()
	return c.Conn.Write(p)
}

func (c *patientConn) prolong() {
	if c.login.done.Load() {
		_ = c.SetDeadline(time.Now().Add(c.idle))
	}
}

// session serves one channel: the subsystem sftp and nothing else.
func (l *login) session(offer ssh.NewChannel) {
	if offer.ChannelType() != "session" {
		_ = offer.Reject(ssh.UnknownChannelType, "there are sessions only")
		return
	}
	channel, requests, err := offer.Accept()
	if err != nil {
		return
	}
	defer func() { _ = channel.Close() }()
	for request := range requests {
		var name struct{ Text string }
		files := request.Type == "subsystem" && ssh.Unmarshal(request.Payload, &name) == nil && name.Text == "sftp"
		command := request.Type == "shell" || request.Type == "exec"
		if request.WantReply {
			_ = request.Reply(files || command, nil)
		}
		switch {
		case files:
			l.serveFiles(channel, requests)
			return
		case command: // as if it ran: of one that is refused, clients show no reason
			_, _ = io.WriteString(channel.Stderr(), "This server has files only: use sftp\r\n")
			exited(channel, 1)
			return
		}
	}
}

func (l *login) serveFiles(channel ssh.Channel, requests <-chan *ssh.Request) {
	var rest sync.WaitGroup
	defer rest.Wait()
	defer func() { _ = channel.Close() }() // ends the requests
	rest.Go(func() { ssh.DiscardRequests(requests) })
	server := sftp.NewRequestServer(channel, sftp.Handlers{FileGet: l, FilePut: l, FileCmd: l, FileList: l})
	if err := server.Serve(); err != nil && !errors.Is(err, io.EOF) {
		l.server.cfg.Log.DebugContext(l.ctx, "sftp session broke off", "user", l.user, "error", err)
	}
	exited(channel, 0)
}

// exited tells the client how its session ended, before the channel is closed: without it scp says that it failed.
func exited(channel ssh.Channel, status uint32) {
	_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
}
