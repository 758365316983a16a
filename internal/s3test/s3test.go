// Package s3test starts a real S3 server for tests and benchmarks: versitygw, from the tools of this module. It can be killed and
// started again at the same address, and be cut off in the middle of an answer.
package s3test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// The credentials of every server.
const (
	AccessKey = "access-key-of-the-test"
	SecretKey = "secret-key-of-the-test"
)

// readyWithin is far above what the server takes to start.
const readyWithin = time.Minute

// Server is an S3 server. Clients reach it at an address that stays when it is killed; then they are hung up on.
type Server struct {
	// URL is where it is.
	URL string

	program, dir string
	addresses    []string
	front        net.Listener
	process      *exec.Cmd
	// exited is closed when the process has ended, as exit says.
	exited  chan struct{}
	exit    error
	serving sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	// left is how many bytes it may still send before it is killed; negative is no limit.
	left atomic.Int64
	cut  chan struct{}
}

// New starts a server. root is that of this module; at the addresses it listens besides, without anything in between. Close ends it.
func New(ctx context.Context, root string, addresses ...string) (*Server, error) {
	// The first time this builds it; go keeps what it has built.
	find := exec.CommandContext(ctx, "go", "tool", "-modfile=tools/go.mod", "-n", "versitygw")
	find.Dir = root
	var problem strings.Builder
	find.Stderr = &problem
	out, err := find.Output()
	if err != nil {
		return nil, fmt.Errorf("build versitygw: %w: %s", err, problem.String())
	}
	// Not below the directory of a test: the path of a socket has at most 107 bytes.
	dir, err := os.MkdirTemp("/tmp", "berth-s3-")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"data", "meta"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return nil, err
		}
	}
	front, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{
		URL: "http://" + front.Addr().String(), program: strings.TrimSpace(string(out)), dir: dir, front: front,
		conns: make(map[net.Conn]bool), addresses: addresses,
	}
	s.left.Store(-1)
	s.serving.Go(s.accept)
	if err := s.Start(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) socket() string { return filepath.Join(s.dir, "socket") }

// Start starts the server after a Kill and returns when it answers.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.Remove(s.socket()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	args := []string{"--quiet", "--access", AccessKey, "--secret", SecretKey, "--port", s.socket()}
	for _, address := range s.addresses {
		args = append(args, "--port", address)
	}
	args = append(args, "posix", "--sidecar", filepath.Join(s.dir, "meta"), filepath.Join(s.dir, "data"))
	s.process = exec.Command(s.program, args...) //nolint:noctx // it outlives the call
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	s.process.Stdout, s.process.Stderr = log, log
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.process.Start(); err != nil {
		return err
	}
	s.exited, s.cut = make(chan struct{}), make(chan struct{})
	s.left.Store(-1)
	go func(process *exec.Cmd, exited chan struct{}) {
		s.exit = process.Wait()
		close(exited)
	}(s.process, s.exited)
	return s.awaitReady()
}

func (s *Server) awaitReady() error {
	for deadline := time.Now().Add(readyWithin); ; time.Sleep(10 * time.Millisecond) {
		conn, err := (&net.Dialer{}).DialContext(context.Background(), "unix", s.socket())
		if err == nil {
			return conn.Close()
		}
		select {
		case <-s.exited:
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return fmt.Errorf("versitygw ended: %w: %s", s.exit, log)
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("versitygw does not answer: %w", err)
		}
	}
}

// Kill ends the server with SIGKILL and hangs up on its clients. Its data stays.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kill()
}

func (s *Server) kill() {
	if s.process != nil {
		_ = s.process.Process.Kill()
		<-s.exited
		s.process = nil
	}
	for conn := range s.conns {
		_ = conn.Close()
	}
	clear(s.conns)
}

// KillAfter kills the server when it has sent or taken so many bytes from now on, and closes the channel that it returns then.
func (s *Server) KillAfter(bytes int64) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left.Store(bytes)
	return s.cut
}

// Close ends the server for good and deletes its data.
func (s *Server) Close() error {
	s.Kill()
	err := s.front.Close()
	s.serving.Wait()
	return errors.Join(err, os.RemoveAll(s.dir))
}

func (s *Server) accept() {
	for {
		conn, err := s.front.Accept()
		if err != nil {
			return
		}
		s.serving.Go(func() { s.serve(conn) })
	}
}

// serve connects a client to the server.
func (s *Server) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := (&net.Dialer{}).DialContext(context.Background(), "unix", s.socket())
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	s.mu.Lock()
	if s.process == nil {
		s.mu.Unlock()
		return
	}
	s.conns[client], s.conns[server] = true, true
	s.mu.Unlock()
	var pair sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		pair.Go(func() {
			s.pass(way[1], way[0])
			_ = client.Close()
			_ = server.Close()
		})
	}
	pair.Wait()
	s.mu.Lock()
	delete(s.conns, client)
	delete(s.conns, server)
	s.mu.Unlock()
}

// pass copies what one sends to the other, until the server is to be killed.
func (s *Server) pass(to io.Writer, from io.Reader) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if left := s.left.Load(); left >= 0 && s.left.Add(-int64(n)) < 0 {
				s.reached()
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// reached kills the server when its bytes are used up.
func (s *Server) reached() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return
	}
	s.kill()
	close(s.cut)
}

// Client returns a client of the server.
func (s *Server) Client() (*minio.Client, error) {
	return minio.New(strings.TrimPrefix(s.URL, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(AccessKey, SecretKey, ""), Region: "us-east-1", BucketLookup: minio.BucketLookupPath,
	})
}
