// Package sshd is the ssh server of a job's node. It runs as the job's user and not as root, so that it needs no privilege and can do
// nothing that the user cannot. It lets that user in and nobody else, by the keys in the user's authorized_keys.
package sshd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// loginTime is how long a client may take to log in, and maxLogins how many may be about it at a time. More are turned away.
	loginTime = 30 * time.Second
	maxLogins = 128
	// acceptPause is how long the server waits when it has no file descriptor for a client.
	acceptPause = 50 * time.Millisecond
	// dialTime is how long a forwarded connection may take to be made.
	dialTime = 30 * time.Second
)

// Config is what the server is told. Everything is required.
type Config struct {
	// Address is where it listens, such as ":2222".
	Address string `json:"address"`
	// User is the name that clients log in with. The server runs as that user.
	User string `json:"user"`
	// HostKey is the server's private key in the format of OpenSSH.
	HostKey []byte `json:"host_key"`
	// Home is the user's home directory, where sessions begin and .ssh/authorized_keys is, and Shell the login shell.
	Home  string `json:"home"`
	Shell string `json:"shell"`
	// Environ is what sessions find in their environment.
	Environ []string `json:"environ"`
}

// ReadConfig reads a Config as JSON.
func ReadConfig(from io.Reader) (Config, error) {
	var cfg Config
	if err := json.NewDecoder(from).Decode(&cfg); err != nil {
		return cfg, fmt.Errorf("configuration of the ssh server: %w", err)
	}
	return cfg, nil
}

// Listen returns where clients connect.
func (cfg Config) Listen() (net.Listener, error) {
	return net.Listen("tcp", cfg.Address) //nolint:noctx // nothing to wait for
}

// Serve serves the clients of a listener until that is closed. Sessions still run then.
func Serve(cfg Config, listener net.Listener) error {
	hostKey, err := ssh.ParsePrivateKey(cfg.HostKey)
	if err != nil {
		return fmt.Errorf("host key: %w", err)
	}
	s := &server{cfg: cfg}
	s.ssh = ssh.ServerConfig{ServerVersion: "SSH-2.0-berth", PublicKeyCallback: s.authorize}
	s.ssh.AddHostKey(hostKey)
	return s.serve(listener)
}

type server struct {
	cfg Config
	ssh ssh.ServerConfig
	// logins are the clients that have not logged in yet.
	logins atomic.Int32
}

func (s *server) serve(listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		switch {
		case err == nil && s.logins.Add(1) <= maxLogins:
			go s.handle(conn)
		case err == nil:
			s.logins.Add(-1)
			_ = conn.Close()
		case errors.Is(err, net.ErrClosed):
			return err
		default: // the client has gone again, or there are too many files open
			time.Sleep(acceptPause)
		}
	}
}

// handle serves a client until it goes.
func (s *server) handle(raw net.Conn) {
	_ = raw.SetDeadline(time.Now().Add(loginTime))
	conn, channels, requests, err := ssh.NewServerConn(raw, &s.ssh)
	s.logins.Add(-1)
	if err != nil {
		_ = raw.Close()
		return
	}
	defer func() { _ = conn.Close() }()
	_ = raw.SetDeadline(time.Time{})
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		switch offered.ChannelType() {
		case "session":
			if channel, requests, err := offered.Accept(); err == nil {
				go s.newSession(conn, channel).serve(requests)
			}
		case "direct-tcpip":
			go forward(offered)
		default:
			_ = offered.Reject(ssh.UnknownChannelType, "there are sessions and forwarded connections only")
		}
	}
}

var errKey = errors.New("the key is not one of the user's")

// authorize lets the user in by a key of authorized_keys, which is read anew for each login: the job may add to it. Lines with options
// do not count, because the options would not be obeyed.
func (s *server) authorize(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	text, err := os.ReadFile(filepath.Join(s.cfg.Home, ".ssh", "authorized_keys"))
	if err != nil {
		return nil, err
	}
	if meta.User() == s.cfg.User && authorized(text, key) {
		return &ssh.Permissions{}, nil
	}
	return nil, errKey
}

// authorized says whether a key is in a file of authorized keys, without options.
func authorized(text []byte, key ssh.PublicKey) bool {
	for len(text) > 0 {
		known, _, options, rest, err := ssh.ParseAuthorizedKey(text)
		if err != nil { // no further key
			return false
		}
		if len(options) == 0 && string(known.Marshal()) == string(key.Marshal()) {
			return true
		}
		text = rest
	}
	return false
}

// forward connects a client with an address that this node reaches.
func forward(offered ssh.NewChannel) {
	var to struct {
		Host   string
		Port   uint32
		Origin string
		From   uint32
	}
	if err := ssh.Unmarshal(offered.ExtraData(), &to); err != nil {
		_ = offered.Reject(ssh.ConnectionFailed, "the address cannot be read")
		return
	}
	dialer := net.Dialer{Timeout: dialTime}
	conn, err := dialer.Dial("tcp", net.JoinHostPort(to.Host, strconv.FormatUint(uint64(to.Port), 10)))
	if err != nil {
		_ = offered.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	channel, requests, err := offered.Accept()
	if err != nil {
		_ = conn.Close()
		return
	}
	go ssh.DiscardRequests(requests)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(conn, channel)
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
	}()
	_, _ = io.Copy(channel, conn)
	_ = channel.CloseWrite()
	<-done
	_ = channel.Close()
	_ = conn.Close()
}
