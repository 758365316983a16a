package sshd_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/berth-hpc/berth/internal/sshd"
)

// patience is for tests that hang; none should come near it.
const patience = 30 * time.Second

// server is an ssh server that runs.
type server struct {
	t       *testing.T
	home    string
	address string
	hostKey ssh.PublicKey
	// user is a key that may log in.
	user ssh.Signer
}

func newSigner(t *testing.T) (signer ssh.Signer, text []byte) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	block, err := ssh.MarshalPrivateKey(private, "test")
	must(t, err)
	signer, err = ssh.NewSignerFromKey(private)
	must(t, err)
	return signer, pem.EncodeToMemory(block)
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// start starts a server for the user nimbix.
func start(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, home: t.TempDir()}
	s.user, _ = newSigner(t)
	host, hostKey := newSigner(t)
	s.hostKey = host.PublicKey()
	s.authorize(string(ssh.MarshalAuthorizedKey(s.user.PublicKey())))
	text, err := json.Marshal(sshd.Config{
		Address: "127.0.0.1:0", User: "nimbix", HostKey: hostKey, Home: s.home, Shell: "/bin/sh", Environ: []string{"FROM_JOB=yes", "PATH=/usr/bin:/bin"},
	})
	must(t, err)
	cfg, err := sshd.ReadConfig(bytes.NewReader(text))
	must(t, err)
	listener, err := cfg.Listen()
	must(t, err)
	served := make(chan error, 1)
	go func() { served <- sshd.Serve(cfg, listener) }()
	t.Cleanup(func() {
		_ = listener.Close()
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Errorf("the server ended: %v", err)
		}
	})
	s.address = listener.Addr().String()
	return s
}

// authorize sets the user's authorized_keys.
func (s *server) authorize(text string) {
	s.t.Helper()
	must(s.t, os.MkdirAll(filepath.Join(s.home, ".ssh"), 0o700), os.WriteFile(filepath.Join(s.home, ".ssh/authorized_keys"), []byte(text), 0o600))
}

func (s *server) dial(user string, auth ...ssh.AuthMethod) (*ssh.Client, error) {
	client, err := ssh.Dial("tcp", s.address, &ssh.ClientConfig{
		User: user, Auth: auth, HostKeyCallback: ssh.FixedHostKey(s.hostKey), Timeout: patience,
	})
	if err == nil {
		hanging := time.AfterFunc(2*patience, func() { _ = client.Close() })
		s.t.Cleanup(func() { hanging.Stop(); _ = client.Close() })
	}
	return client, err
}

// client logs in as the user.
func (s *server) client() *ssh.Client {
	s.t.Helper()
	client, err := s.dial("nimbix", ssh.PublicKeys(s.user))
	must(s.t, err)
	return client
}

func (s *server) session() *ssh.Session {
	s.t.Helper()
	session, err := s.client().NewSession()
	must(s.t, err)
	return session
}

func TestWhoGetsIn(t *testing.T) {
	t.Parallel()
	s := start(t)
	stranger, _ := newSigner(t)
	strangers := string(ssh.MarshalAuthorizedKey(stranger.PublicKey()))
	own := string(ssh.MarshalAuthorizedKey(s.user.PublicKey()))
	password := ssh.Password("secret")
	questions := ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
		return make([]string, len(questions)), nil
	})
	for name, test := range map[string]struct {
		user string
		auth []ssh.AuthMethod
		in   bool
	}{
		"the user":           {"nimbix", []ssh.AuthMethod{ssh.PublicKeys(s.user)}, true},
		"one of two keys":    {"nimbix", []ssh.AuthMethod{ssh.PublicKeys(stranger, s.user)}, true},
		"another key":        {"nimbix", []ssh.AuthMethod{ssh.PublicKeys(stranger)}, false},
		"another user":       {"ada", []ssh.AuthMethod{ssh.PublicKeys(s.user)}, false},
		"root":               {"root", []ssh.AuthMethod{ssh.PublicKeys(s.user)}, false},
		"nobody":             {"", []ssh.AuthMethod{ssh.PublicKeys(s.user)}, false},
		"no key":             {"nimbix", nil, false},
		"a password":         {"nimbix", []ssh.AuthMethod{password, questions}, false},
		"a key nobody holds": {"nimbix", []ssh.AuthMethod{ssh.PublicKeys(impostor{s.user, stranger})}, false},
	} {
		if _, err := s.dial(test.user, test.auth...); (err == nil) != test.in {
			t.Errorf("%s: %v; want to get in: %v", name, err, test.in)
		}
	}
	for name, test := range map[string]struct {
		text string
		in   bool
	}{
		"further keys":     {"# mine\n\n" + own + strangers, true},
		"rubbish before":   {"ssh-ed25519 AAAA\nrubbish\n" + strangers, true},
		"the key has gone": {own, false},
		"with options":     {`command="true" ` + strangers, false},
		"no keys":          {"", false},
		"commented out":    {"#" + strangers, false},
	} {
		s.authorize(test.text)
		if _, err := s.dial("nimbix", ssh.PublicKeys(stranger)); (err == nil) != test.in {
			t.Errorf("%s: %v; want to get in: %v", name, err, test.in)
		}
	}
	must(t, os.Remove(filepath.Join(s.home, ".ssh/authorized_keys")))
	if _, err := s.dial("nimbix", ssh.PublicKeys(s.user)); err == nil {
		t.Error("without authorized_keys somebody gets in")
	}
}

// impostor shows a key and signs with another.
type impostor struct{ shown, held ssh.Signer }

func (i impostor) PublicKey() ssh.PublicKey { return i.shown.PublicKey() }
func (i impostor) Sign(random io.Reader, data []byte) (*ssh.Signature, error) {
	return i.held.Sign(random, data)
}

// TestEnds: what a command answers is what the client is told.
func TestEnds(t *testing.T) {
	t.Parallel()
	s := start(t)
	for command, want := range map[string]struct {
		code           int
		signal         string
		stdout, stderr string
	}{
		"true":                            {},
		"echo a; echo b >&2; exit 7":      {code: 7, stdout: "a\n", stderr: "b\n"},
		"kill -9 $$":                      {signal: "KILL", code: 128 + 9},
		"nonsense":                        {code: 127, stderr: "/bin/sh: 1: nonsense: not found\n"},
		"pwd; echo $FROM_JOB":             {stdout: s.home + "\nyes\n"},
		"cat":                             {stdout: "typed"},
		"exec >&- 2>&-; exit 3":           {code: 3},
		"head -c 3000000 /dev/zero|wc -c": {stdout: "3000000\n"},
	} {
		session := s.session()
		var stdout, stderr bytes.Buffer
		session.Stdout, session.Stderr = &stdout, &stderr
		in, err := session.StdinPipe()
		must(t, err, session.Start(command))
		_, _ = io.WriteString(in, "typed") // most have gone before they are told
		_ = in.Close()
		err = session.Wait()
		exit, failed := errors.AsType[*ssh.ExitError](err)
		if err != nil && !failed {
			t.Errorf("%s: %v", command, err)
			continue
		}
		code, signal := 0, ""
		if failed {
			code, signal = exit.ExitStatus(), exit.Signal()
		}
		if code != want.code || signal != want.signal || stdout.String() != want.stdout || stderr.String() != want.stderr {
			t.Errorf("%s: code %d, signal %q, stdout %q, stderr %q; want %+v", command, code, signal, stdout.String(), stderr.String(), want)
		}
	}
}

// TestBigOutput goes through the window of a channel many times.
func TestBigOutput(t *testing.T) {
	t.Parallel()
	text, err := start(t).session().Output("head -c 20000000 /dev/zero")
	if err != nil || len(text) != 20000000 {
		t.Errorf("%d bytes, %v; want all", len(text), err)
	}
}

func TestEnvironmentOfClients(t *testing.T) {
	t.Parallel()
	session := start(t).session()
	if err := errors.Join(session.Setenv("LC_ALL", "C"), session.Setenv("LANG", "C.UTF-8")); err != nil {
		t.Error(err)
	}
	if session.Setenv("LD_PRELOAD", "/tmp/x") == nil {
		t.Error("the client may set LD_PRELOAD")
	}
	text, err := session.Output("echo $LC_ALL $LANG $LD_PRELOAD; set -- $SSH_CONNECTION; echo $1 $3 $#")
	if want := "C C.UTF-8\n127.0.0.1 127.0.0.1 4\n"; err != nil || string(text) != want {
		t.Errorf("output %q, %v; want %q", text, err, want)
	}
}

// TestTerminal: a login shell on a terminal whose size changes, and which hangs up when the client goes.
func TestTerminal(t *testing.T) {
	t.Parallel()
	s := start(t)
	client := s.client()
	session, err := client.NewSession()
	must(t, err)
	in, err := session.StdinPipe()
	must(t, err)
	out, err := session.StdoutPipe()
	must(t, err)
	must(t, session.RequestPty("vt100", 33, 99, nil), session.Shell())
	// What is echoed has the sums and not their results.
	write := func(text string) { _, err := io.WriteString(in, text+"\n"); must(t, err) }
	write("echo $((1+1))=$TERM:$(stty size):$0; tty | grep -c $SSH_TTY; echo $((3+3))=set")
	await(t, out, "2=vt100:33 99:-sh")
	await(t, out, "6=set")
	must(t, session.WindowChange(44, 88))
	write(`until [ "$(stty size)" = "44 88" ]; do sleep 0.1; done; echo $((4+4))=so`) // what is typed may overtake the change
	await(t, out, "8=so")
}

// TestHangUp: what has a terminal is told when the client goes.
func TestHangUp(t *testing.T) {
	t.Parallel()
	s := start(t)
	name := filepath.Join(s.home, "gone")
	must(t, syscall.Mkfifo(name, 0o600))
	gone, err := os.OpenFile(name, os.O_RDWR|syscall.O_NONBLOCK, 0)
	must(t, err)
	defer func() { _ = gone.Close() }()
	client := s.client()
	session, err := client.NewSession()
	must(t, err)
	out, err := session.StdoutPipe()
	must(t, err, session.RequestPty("vt100", 24, 80, nil))
	must(t, session.Start("trap 'echo over > gone; exit' HUP; echo ready; while :; do sleep 0.1; done"))
	await(t, out, "ready")
	must(t, client.Close(), gone.SetReadDeadline(time.Now().Add(patience)))
	await(t, gone, "over")
}

// await reads until a text has come.
func await(t *testing.T, from io.Reader, text string) {
	t.Helper()
	var seen strings.Builder
	for buffer := make([]byte, 1); !strings.Contains(seen.String(), text); {
		n, err := from.Read(buffer)
		seen.Write(buffer[:n])
		if err != nil {
			t.Fatalf("%v before %q came: %q", err, text, seen.String())
		}
	}
}

func TestSignals(t *testing.T) {
	t.Parallel()
	session := start(t).session()
	out, err := session.StdoutPipe()
	must(t, err)
	must(t, session.Start("trap 'echo told; exit 5' TERM; echo ready; while :; do sleep 0.1; done"))
	await(t, out, "ready")
	must(t, session.Signal(ssh.SIGTERM))
	await(t, out, "told")
	if exit, ok := errors.AsType[*ssh.ExitError](session.Wait()); !ok || exit.ExitStatus() != 5 {
		t.Errorf("end %v; want code 5", exit)
	}
}

func TestForwarding(t *testing.T) {
	t.Parallel()
	s := start(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = listener.Close() }()
	served := make(chan struct{})
	go func() {
		defer close(served)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = io.Copy(conn, conn)
		_ = conn.Close()
	}()
	client := s.client()
	conn, err := client.Dial("tcp", listener.Addr().String())
	must(t, err)
	_, err = io.WriteString(conn, "there and back")
	must(t, err, conn.(interface{ CloseWrite() error }).CloseWrite())
	text, err := io.ReadAll(conn)
	if err != nil || string(text) != "there and back" {
		t.Errorf("%q, %v came back", text, err)
	}
	<-served
	if _, err := client.Dial("tcp", "127.0.0.1:1"); err == nil { // one just closed may be another test's by now
		t.Error("a connection to a closed port is there")
	}
	if _, err := client.Listen("tcp", "127.0.0.1:0"); err == nil {
		t.Error("a client may listen on the node")
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	s := start(t)
	client, err := sftp.NewClient(s.client())
	must(t, err)
	defer func() { _ = client.Close() }()
	file, err := client.Create("new")
	must(t, err)
	_, err = file.Write([]byte("text"))
	must(t, err, file.Close())
	text, err := os.ReadFile(filepath.Join(s.home, "new"))
	if err != nil || string(text) != "text" {
		t.Errorf("the file holds %q, %v", text, err)
	}
	if dir, err := client.Getwd(); err != nil || dir != s.home {
		t.Errorf("sessions begin in %q, %v; want the home", dir, err)
	}
}

// TestRefusals: a session runs one thing, and what there is none of is refused.
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := start(t)
	client := s.client()
	session, err := client.NewSession()
	must(t, err)
	if session.RequestSubsystem("netconf") == nil {
		t.Error("there is a subsystem netconf")
	}
	if ok, err := session.SendRequest("x11-req", true, nil); ok || err != nil {
		t.Errorf("X11: %v, %v; want a refusal", ok, err)
	}
	if ok, err := session.SendRequest("signal", true, ssh.Marshal(struct{ Name string }{"TERM"})); ok || err != nil {
		t.Errorf("a signal before the start: %v, %v; want a refusal", ok, err)
	}
	if ok, err := session.SendRequest("exec", true, []byte{1}); ok || err != nil {
		t.Errorf("no command: %v, %v; want a refusal", ok, err)
	}
	must(t, session.Start("cat"))
	if ok, err := session.SendRequest("shell", true, nil); ok || err != nil {
		t.Errorf("a second program: %v, %v; want a refusal", ok, err)
	}
	if _, _, err := client.OpenChannel("x11", nil); err == nil {
		t.Error("a client may open a channel x11")
	}
	if _, _, err := client.OpenChannel("direct-tcpip", []byte("?")); err == nil {
		t.Error("a client may forward nowhere")
	}
}

func TestBadHostKey(t *testing.T) {
	t.Parallel()
	if err := sshd.Serve(sshd.Config{HostKey: []byte("none")}, nil); err == nil {
		t.Error("it serves without a key")
	}
}
