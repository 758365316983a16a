package sftpd

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/vault"
)

// access lets ada in with the keys "key" and "read", which may only read, as long as they are there.
type access struct {
	mu   sync.Mutex
	keys map[string]bool // whether it may only read
	// revoked is closed when a key is, and replaced.
	revoked chan struct{}
	dirs    vault.Directories
}

func (a *access) Authenticate(_ context.Context, username, apikey, from string) (berth.Caller, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	readOnly, found := a.keys[apikey]
	if !found || username != "ada" {
		return berth.Caller{}, berth.Errorf(berth.Unauthenticated, "Unauthorized")
	}
	return berth.Caller{User: berth.User{Name: username}, ReadOnly: readOnly, KeyID: apikey, From: from}, nil
}

func (a *access) UntilLoggedOut(ctx context.Context, caller berth.Caller) {
	for {
		a.mu.Lock()
		_, found := a.keys[caller.KeyID]
		revoked := a.revoked
		a.mu.Unlock()
		if !found {
			return
		}
		select {
		case <-revoked:
		case <-ctx.Done():
			return
		}
	}
}

func (a *access) vault(name string) berth.Vault {
	return berth.Vault{Name: name, Owner: "ada", Kind: berth.VaultFile, Path: a.dirs.FilePath("ada", name)}
}

func (a *access) FileVaults(context.Context, berth.Caller) ([]berth.Vault, error) {
	return []berth.Vault{a.vault("data"), a.vault("other")}, nil
}

func (a *access) VaultOf(_ context.Context, caller berth.Caller, name string, change bool) (berth.Vault, error) {
	switch {
	case caller.ReadOnly && change:
		return berth.Vault{}, berth.Errorf(berth.Forbidden, "This key may only read")
	case name == "data" || name == "other":
		return a.vault(name), nil
	}
	return berth.Vault{}, berth.Errorf(berth.NotFound, "Vault not found")
}

// forget ends a key before anybody is told.
func (a *access) forget(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.keys, key)
}

func (a *access) revoke(key string) {
	a.forget(key)
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.revoked)
	a.revoked = make(chan struct{})
}

// bench is a server that runs until the end of the test.
type bench struct {
	access  *access
	address string
	hostKey ssh.PublicKey
}

// open opens file vaults.
func open(dirs vault.Directories) func(context.Context, berth.Vault, bool) (*vault.Tree, error) {
	return func(_ context.Context, v berth.Vault, _ bool) (*vault.Tree, error) { return dirs.Open(v) }
}

func newBench(t *testing.T, change ...func(*Config)) *bench {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	a := &access{keys: map[string]bool{"key": false, "read": true}, revoked: make(chan struct{}), dirs: vault.Directories{Files: t.TempDir()}}
	cfg := Config{Access: a, Open: open(a.dirs), HostKey: signer, Log: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(&cfg)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- New(cfg).Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return &bench{access: a, address: listener.Addr().String(), hostKey: signer.PublicKey()}
}

// dial logs in.
func (b *bench) dial(t *testing.T, user, key string) (*ssh.Client, error) {
	t.Helper()
	conn, err := ssh.Dial("tcp", b.address, &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.Password(key)}, HostKeyCallback: ssh.FixedHostKey(b.hostKey), Timeout: 30 * time.Second,
	})
	if err == nil {
		t.Cleanup(func() { _ = conn.Close() })
	}
	return conn, err
}

func (b *bench) client(t *testing.T, key string) *sftp.Client {
	t.Helper()
	conn, err := b.dial(t, "ada", key)
	if err != nil {
		t.Fatal(err)
	}
	client, err := sftp.NewClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func put(c *sftp.Client, path, text string) error {
	file, err := c.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, strings.NewReader(text))
	return errors.Join(err, file.Close())
}

func get(c *sftp.Client, path string) (string, error) {
	file, err := c.Open(path)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(file)
	return string(text), errors.Join(err, file.Close())
}

func list(t *testing.T, c *sftp.Client, path string) []string {
	t.Helper()
	infos, err := c.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, info := range infos {
		names = append(names, info.Name())
	}
	slices.Sort(names)
	return names
}

func TestFilesAreWrittenReadAndChanged(t *testing.T) {
	b := newBench(t)
	c := b.client(t, "key")
	large := strings.Repeat("0123456789abcdef", 1<<17)
	for step, err := range []error{
		c.Mkdir("/data/dir"), put(c, "/data/dir/large", large), put(c, "/data/a", "first and longer"), put(c, "/data/a", "second"),
		c.Rename("/data/a", "/data/b"), put(c, "/data/c", "c"), c.PosixRename("/data/c", "/data/b"), c.Truncate("/data/dir/large", 1<<20),
		c.Chmod("/data/b", 0o4750), c.Chtimes("/data/b", time.Unix(5, 0), time.Unix(7, 0)), c.MkdirAll("/other/x/y"), c.RemoveDirectory("/other/x/y"),
		put(c, "/data/gone", ""), c.Remove("/data/gone"),
	} {
		if err != nil {
			t.Errorf("step %d: %v", step, err)
		}
	}
	if text, err := get(c, "/data/dir/large"); err != nil || text != large[:1<<20] {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	if text, err := get(c, "/data/b"); err != nil || text != "c" {
		t.Errorf("%q, %v", text, err)
	}
	info, err := c.Stat("/data/b")
	if err != nil || info.Mode() != 0o750 || info.ModTime().Unix() != 7 || info.Size() != 1 {
		t.Errorf("%v, %v", info, err)
	}
	for path, want := range map[string][]string{"/": {"data", "other"}, "/data": {"b", "dir"}, "/data/dir": {"large"}, "/other/x": {}} {
		if diff := cmp.Diff(want, list(t, c, path)); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
}

// TestListingsTellModes: who copies a whole directory has the modes from there.
func TestListingsTellModes(t *testing.T) {
	b := newBench(t)
	c := b.client(t, "key")
	if err := errors.Join(put(c, "/data/run", ""), c.Chmod("/data/run", 0o750), put(c, "/data/file", ""), c.Mkdir("/data/dir")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", filepath.Join(b.access.vault("data").Path, "link")); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, dir := range []string{"/", "/data"} {
		infos, err := c.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range infos {
			got[info.Name()] = info.Mode().String()
		}
	}
	want := map[string]string{
		"data": "drwxr-xr-x", "other": "drwxr-xr-x", "dir": "drwxr-xr-x", "run": "-rwxr-x---", "file": "-rw-r--r--", "link": "Lrwxrwxrwx",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatIsRefused(t *testing.T) {
	b := newBench(t)
	c := b.client(t, "key")
	if err := errors.Join(put(c, "/data/file", "x"), c.Mkdir("/data/dir"), put(c, "/data/dir/x", "x")); err != nil {
		t.Fatal(err)
	}
	outside := t.TempDir()
	vaultDir := b.access.vault("data").Path
	for name, target := range map[string]string{"link": outside, "up": "../../..", "inside": "file"} {
		if err := os.Symlink(target, filepath.Join(vaultDir, name)); err != nil {
			t.Fatal(err)
		}
	}
	_, errOpen := c.Open("/data/none")
	_, errLink := c.ReadDir("/data/link")
	_, errVault := c.ReadDir("/nobodys")
	_, errRead := c.ReadLink("/data/link")
	for name, err := range map[string]error{
		"no file": errOpen, "link out": errLink, "no vault": errVault, "reading a link": errRead,
		"write through a link": put(c, "/data/link/x", "x"), "write above": put(c, "/data/up/x", "x"), "dots": put(c, "/data/../../x", "x"),
		"file at the top": put(c, "/x", "x"), "a vault": c.Mkdir("/new"), "remove a vault": c.RemoveDirectory("/data"),
		"rename a vault": c.Rename("/data", "/x"), "to another vault": c.Rename("/data/file", "/other/file"), "make a link": c.Symlink("/etc", "/data/l"),
		"a hard link": c.Link("/data/file", "/data/l"), "a full directory": c.RemoveDirectory("/data/dir"), "a file as a directory": c.RemoveDirectory("/data/file"),
		"rename over": c.Rename("/data/file", "/data/dir/x"), "what is ours": put(c, "/data/.berth-uploads/x", "x"),
		"size": c.Truncate("/data/file", -1),
	} {
		if err == nil {
			t.Errorf("%s is allowed", name)
		} else if strings.Contains(err.Error(), vaultDir) {
			t.Errorf("%s: %v tells where the vault is", name, err)
		}
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) != 0 {
		t.Errorf("outside there is %v, %v", left, err)
	}
	if text, err := get(c, "/data/inside"); err != nil || text != "x" {
		t.Errorf("a link that stays: %q, %v", text, err)
	}
	if info, err := c.Lstat("/data/inside"); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("%v, %v", info, err)
	}
}

// TestSessionsEndWell: a client that has sent all it has is told so; scp fails without.
func TestSessionsEndWell(t *testing.T) {
	b := newBench(t)
	conn, err := b.dial(t, "ada", "key")
	if err != nil {
		t.Fatal(err)
	}
	channel, requests, err := conn.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := channel.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"})); err != nil || !ok {
		t.Fatalf("%v, %v", ok, err)
	}
	if err := channel.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	var ends []string
	for request := range requests { // until the server closes the channel
		ends = append(ends, fmt.Sprintf("%s%v", request.Type, request.Payload))
	}
	if diff := cmp.Diff([]string{"exit-status[0 0 0 0]"}, ends); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestOnlyFiles: no shell, no commands, no forwarding.
func TestOnlyFiles(t *testing.T) {
	b := newBench(t)
	conn, err := b.dial(t, "ada", "key")
	if err != nil {
		t.Fatal(err)
	}
	session, err := conn.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := session.CombinedOutput("id")
	if code, ok := errors.AsType[*ssh.ExitError](err); !ok || code.ExitStatus() != 1 || string(out) != "This server has files only: use sftp\r\n" {
		t.Errorf("%q, %v", out, err)
	}
	if conn, err := conn.Dial("tcp", b.address); err == nil {
		_ = conn.Close()
		t.Error("a connection was forwarded")
	}
	if listener, err := conn.Listen("tcp", "127.0.0.1:0"); err == nil {
		_ = listener.Close()
		t.Error("a port was forwarded")
	}
}

// again dials until it is let in: the place of a connection that has ended is free a moment later.
func (b *bench) again(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := b.dial(t, "ada", "key"); err == nil {
			return
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestTooManyConnections(t *testing.T) {
	b := newBench(t, func(cfg *Config) { cfg.MaxConnections = 1 })
	first, err := b.dial(t, "ada", "key")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.dial(t, "ada", "key"); err == nil {
		t.Error("there are two connections")
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	b.again(t)
}

func TestIdleConnectionsEnd(t *testing.T) {
	b := newBench(t, func(cfg *Config) { cfg.MaxConnections, cfg.Idle = 1, 50*time.Millisecond })
	first, err := b.dial(t, "ada", "key")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Wait(); err == nil {
		t.Error("the connection ended as if the client had ended it")
	}
	b.again(t)
}
