package agent

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/sshclient"
	"github.com/berth-hpc/berth/internal/sshd"
)

// clientDir is where the agent's ssh client goes in images that have none: a directory of everybody's PATH.
const clientDir = "/usr/local/bin"

// serverWithin is how long the ssh server may take until clients can connect, and serverAgain how long after its end it is started again.
const (
	serverWithin = 30 * time.Second
	serverAgain  = time.Second
)

// sshKeys are those of a job.
type sshKeys struct {
	user ssh.Signer
	host ssh.PublicKey
}

func parseKeys(keys *agentapi.SSH) (sshKeys, error) {
	user, err := ssh.ParsePrivateKey(keys.Key)
	if err != nil {
		return sshKeys{}, fmt.Errorf("ssh key of the user: %w", err)
	}
	host, err := ssh.ParsePrivateKey(keys.HostKey)
	if err != nil {
		return sshKeys{}, fmt.Errorf("ssh key of the nodes: %w", err)
	}
	return sshKeys{user: user, host: host.PublicKey()}, nil
}

// writeSSH leaves what ssh needs in the user's home: OpenSSH's client and server, if the image has them, and the agent's own. Nobody
// gets in by keys that come with the image.
func (s *setup) writeSSH(keys sshKeys) error {
	dir := path.Join(s.home, ".ssh")
	public := ssh.MarshalAuthorizedKey(keys.user.PublicKey())
	var authorized strings.Builder
	authorized.Write(public)
	for _, line := range s.spec.SSH.Authorized {
		authorized.WriteString(strings.TrimSpace(line) + "\n")
	}
	hosts := append(s.hostNames(), s.hostAddresses()...)
	known, config := s.existing(path.Join(dir, "known_hosts"), ""), s.existing(path.Join(dir, "config"), "")
	for _, f := range []struct {
		name, text string
		mode       uint32
	}{
		{"id_ed25519", string(s.spec.SSH.Key), 0o600},
		{"id_ed25519.pub", string(public), 0o644},
		{"authorized_keys", authorized.String(), 0o600},
		{"known_hosts", knownhosts.Line(withPort(hosts), keys.host) + "\n" + known, 0o644},
		{"config", clientConfig(hosts, config), 0o600},
	} {
		if err := s.root.write(path.Join(dir, f.name), s.owned([]byte(f.text), f.mode)); err != nil {
			return err
		}
	}
	folder, err := s.root.mkdirAll(dir)
	if err != nil {
		return err
	}
	defer folder.close()
	return own(folder.fd, s.owned(nil, 0o700))
}

// hostNames are those by which this node reaches the nodes of the job, and hostAddresses their addresses.
func (s *setup) hostNames() []string {
	names := []string{"localhost"}
	for _, node := range s.spec.Nodes {
		names = append(names, node.Name)
	}
	return names
}

func (s *setup) hostAddresses() []string {
	addresses := []string{loopback, "::1"}
	for _, node := range s.spec.Nodes {
		if node.Address != "" {
			addresses = append(addresses, node.Address)
		}
	}
	return addresses
}

func withPort(hosts []string) []string {
	list := make([]string, 0, len(hosts))
	for _, host := range hosts {
		list = append(list, "["+host+"]:"+strconv.Itoa(agentapi.SSHPort))
	}
	return list
}

// clientConfig is OpenSSH's configuration with what it needs to reach the nodes. That goes first, because the first value counts, and
// is for the nodes only. Nobody else is on their network, and a server of the image's own, at another port, has a key of its own.
func clientConfig(hosts []string, before string) string {
	text := "Host " + strings.Join(hosts, " ") + "\n" +
		"    Port " + strconv.Itoa(agentapi.SSHPort) + "\n" +
		"    IdentityFile ~/.ssh/id_ed25519\n" +
		"    UserKnownHostsFile ~/.ssh/known_hosts\n" +
		"    StrictHostKeyChecking no\n"
	if before != "" {
		text += "\nHost *\n" + before
	}
	return text
}

// linkClients makes the agent's program the ssh client of an image that has none, and says whether it did.
func (s *setup) linkClients() (linked bool, err error) {
	dirs := strings.Split(s.path, ":")
	for _, program := range sshclient.Programs {
		if slices.ContainsFunc(dirs, func(dir string) bool { return s.root.exists(path.Join(dir, program)) }) {
			continue
		}
		if err := s.root.symlink(path.Join(clientDir, program), agentapi.Init); err != nil {
			return linked, err
		}
		linked = true
	}
	if linked { // the program is below it
		run, err := s.root.mkdirAll(path.Dir(agentapi.Init))
		if err != nil {
			return linked, err
		}
		run.close()
	}
	return linked, nil
}

// startSSH starts this node's ssh server and returns its process id when clients can connect. It ends with the container.
func (s *setup) startSSH(cmd command) (int, error) {
	ready, told, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer func() { _ = ready.Close() }()
	pid, err := s.forkSSH(cmd, told)
	_ = told.Close()
	if err != nil {
		return 0, err
	}
	if err := ready.SetReadDeadline(time.Now().Add(serverWithin)); err != nil {
		return 0, err
	}
	line, err := bufio.NewReader(ready).ReadString('\n')
	if line = strings.TrimSpace(line); line != agentapi.SSHReady {
		return 0, errors.Join(errors.New(line), err)
	}
	return pid, nil
}

// restartSSH starts this node's ssh server once more and waits for nothing.
func (s *setup) restartSSH(cmd command) (int, error) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = null.Close() }()
	return s.forkSSH(cmd, null)
}

// forkSSH starts this node's ssh server, which tells what becomes of it.
func (s *setup) forkSSH(cmd command, told *os.File) (int, error) {
	config, err := s.serverConfig(cmd.env)
	if err != nil {
		return 0, err
	}
	defer func() { _ = config.Close() }()
	cmd.argv = []string{agentapi.Init, agentapi.SSHServer}
	pid, err := cmd.fork([]int{int(config.Fd()), int(told.Fd()), unix.Stderr}, &syscall.SysProcAttr{Setpgid: true})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", agentapi.Init, err)
	}
	return pid, nil
}

// serverConfig returns a file that is nowhere, with what the server is told.
func (s *setup) serverConfig(environ []string) (*os.File, error) {
	text, err := json.Marshal(sshd.Config{
		Address: ":" + strconv.Itoa(agentapi.SSHPort), User: s.spec.User.Name, HostKey: s.spec.SSH.HostKey,
		Home: s.home, Shell: s.shell, Environ: environ,
	})
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("sshd", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	file := os.NewFile(uintptr(fd), "sshd")
	_, err = file.Write(text)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}
