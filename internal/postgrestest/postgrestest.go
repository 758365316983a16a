// Package postgrestest starts a real PostgreSQL server for tests, from the programs of Debian's package postgresql.
package postgrestest

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// Server is a PostgreSQL server that the first use starts. The zero value is ready; it is safe for concurrent use until Stop.
type Server struct {
	once      sync.Once
	err       error
	dir       string
	admin     *sql.DB
	server    *exec.Cmd
	databases atomic.Int64
	read      chan struct{} // closed at the end of the server's messages
}

// Database makes an empty database and returns its DSN. The first call starts the server.
func (p *Server) Database(ctx context.Context) (dsn string, err error) {
	p.once.Do(func() { p.err = p.launch() }) //nolint:contextcheck // the server outlives the test that starts it
	if p.err != nil {
		return "", p.err
	}
	name := "test" + strconv.FormatInt(p.databases.Add(1), 10)
	if _, err := p.admin.ExecContext(ctx, "CREATE DATABASE "+name); err != nil {
		return "", err
	}
	query := url.Values{"host": {p.dir}, "user": {"berth"}}
	return (&url.URL{Scheme: "postgres", Path: "/" + name, RawQuery: query.Encode()}).String(), nil
}

func (p *Server) launch() (err error) {
	credential, err := postgresCredential()
	if err != nil {
		return err
	}
	// Not below the directory of a test: the other user must reach it, and the path of a socket has at most 107 bytes.
	if p.dir, err = os.MkdirTemp("/tmp", "berth-pg-"); err != nil {
		return err
	}
	if credential != nil {
		if err := os.Chown(p.dir, int(credential.Uid), int(credential.Gid)); err != nil {
			return err
		}
	}
	data := filepath.Join(p.dir, "data")
	initdb, err := p.command(credential, "initdb", "-D", data, "-U", "berth", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	if err != nil {
		return err
	}
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	p.server, err = p.command(credential, "postgres", "-D", data, "-k", p.dir, "-c", "listen_addresses=", "-c", "fsync=off",
		"-c", "shared_buffers=16MB", "-c", "max_connections=200", "-c", "lc_messages=C", "-c", "deadlock_timeout=50ms")
	if err != nil {
		return err
	}
	if err := p.serve(); err != nil {
		return err
	}
	p.admin, err = sql.Open("pgx", "host="+p.dir+" user=berth dbname=postgres")
	return err
}

// serve starts the server and returns when it takes connections.
func (p *Server) serve() error {
	messages, err := p.server.StderrPipe()
	if err != nil {
		return err
	}
	if err := p.server.Start(); err != nil {
		return err
	}
	p.read = make(chan struct{})
	ready := make(chan bool, 1)
	var said strings.Builder
	go func() {
		defer close(p.read)
		lines := bufio.NewScanner(messages)
		for lines.Scan() {
			if strings.Contains(lines.Text(), "ready to accept connections") {
				ready <- true
				break
			}
			said.WriteString(lines.Text() + "\n")
		}
		close(ready)
		_, _ = io.Copy(io.Discard, messages)
	}()
	if !<-ready {
		return fmt.Errorf("PostgreSQL has ended: %s", said.String())
	}
	return nil
}

// Stop ends the server and removes what it kept. It does nothing when it was never used.
func (p *Server) Stop() error {
	var err error
	if p.admin != nil {
		err = p.admin.Close()
	}
	if p.server != nil && p.server.Process != nil {
		err = errors.Join(err, p.server.Process.Signal(syscall.SIGINT)) // a fast shutdown
		<-p.read
		err = errors.Join(err, p.server.Wait())
	}
	if p.dir != "" {
		err = errors.Join(err, os.RemoveAll(p.dir))
	}
	return err
}

// command is a program of PostgreSQL, which dies with the tests.
func (p *Server) command(credential *syscall.Credential, name string, args ...string) (*exec.Cmd, error) {
	path, err := postgresProgram(name)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.Background(), path, args...) // not of a test: it outlives the test that starts it
	cmd.Dir = p.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "HOME=" + p.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential, Pdeathsig: syscall.SIGINT}
	return cmd, nil
}

func postgresProgram(name string) (string, error) {
	paths, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil {
		return "", err
	}
	if len(paths) > 0 {
		return paths[len(paths)-1], nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("these tests need PostgreSQL: install the Debian package postgresql: %w", err)
	}
	return path, nil
}

// postgresCredential is another user than root, whom PostgreSQL refuses; nil when the tests do not run as root.
func postgresCredential() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // no other user is needed
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}
