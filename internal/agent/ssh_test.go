package agent

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// newKey returns a private key in the format of OpenSSH, and its public half as a line of authorized_keys.
func newKey(t *testing.T) (private []byte, public string) {
	t.Helper()
	half, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := ssh.NewPublicKey(half)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block), string(ssh.MarshalAuthorizedKey(encoded))
}

// newSSHSetup has a job of two nodes whose user has a home.
func newSSHSetup(t *testing.T) (s *testSetup, userKey, hostKey string) {
	t.Helper()
	s = newSetup(t)
	s.home = "/home/nimbix"
	s.spec.SSH = &agentapi.SSH{Authorized: []string{"ssh-ed25519 AAAA of the user"}}
	s.spec.Nodes = []agentapi.Node{{Name: "n1", Address: "10.0.0.1", Cores: 2}, {Name: "n2", Address: "10.0.0.2", Cores: 2}}
	s.spec.SSH.Key, userKey = newKey(t)
	s.spec.SSH.HostKey, hostKey = newKey(t)
	return s, userKey, hostKey
}

// TestWriteSSH: what the image has in the home stays, except keys that let somebody in.
func TestWriteSSH(t *testing.T) {
	t.Parallel()
	s, userKey, hostKey := newSSHSetup(t)
	s.put("/home/nimbix/.ssh/config", "Port 22\nHost x\n    User y\n")
	s.put("/home/nimbix/.ssh/known_hosts", "github.com ssh-ed25519 AAAA\n")
	s.put("/home/nimbix/.ssh/authorized_keys", "ssh-ed25519 AAAA of whoever made the image\n")
	keys, err := parseKeys(s.spec.SSH)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.writeSSH(keys); err != nil {
		t.Fatal(err)
	}
	s.want("/home/nimbix/.ssh/authorized_keys", userKey+"ssh-ed25519 AAAA of the user\n")
	s.want("/home/nimbix/.ssh/id_ed25519.pub", userKey)
	s.want("/home/nimbix/.ssh/id_ed25519", string(s.spec.SSH.Key))
	s.want("/home/nimbix/.ssh/known_hosts", "[localhost]:2222,[n1]:2222,[n2]:2222,[127.0.0.1]:2222,[::1]:2222,[10.0.0.1]:2222,[10.0.0.2]:2222 "+
		hostKey+"github.com ssh-ed25519 AAAA\n")
	s.want("/home/nimbix/.ssh/config", `Host localhost n1 n2 127.0.0.1 ::1 10.0.0.1 10.0.0.2
    Port 2222
    IdentityFile ~/.ssh/id_ed25519
    UserKnownHostsFile ~/.ssh/known_hosts
    StrictHostKeyChecking no

Host *
Port 22
Host x
    User y
`)
}

func TestBadSSHKeys(t *testing.T) {
	t.Parallel()
	key, _ := newKey(t)
	for _, keys := range []agentapi.SSH{{}, {Key: key}, {HostKey: key}, {Key: []byte("x"), HostKey: key}} {
		if _, err := parseKeys(&keys); err == nil {
			t.Errorf("%q is accepted", keys)
		}
	}
}

// TestLinkClients: the image's own clients stay what they are.
func TestLinkClients(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.path = "/usr/local/bin:/usr/bin"
	s.put("/usr/bin/ssh", "the image's")
	linked, err := s.linkClients()
	if err != nil || !linked {
		t.Fatalf("linked %v, %v; want some", linked, err)
	}
	for _, name := range []string{"scp", "sftp"} {
		if target, err := os.Readlink(filepath.Join(s.dir, "usr/local/bin", name)); target != agentapi.Init {
			t.Errorf("%s leads to %q, %v", name, target, err)
		}
	}
	if diff := cmp.Diff([]string{"scp", "sftp"}, names(t, filepath.Join(s.dir, "usr/local/bin"))); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	s.put("/usr/bin/scp", "")
	s.put("/usr/bin/sftp", "")
	if linked, err := s.linkClients(); err != nil || linked {
		t.Errorf("linked %v, %v; want nothing to do", linked, err)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, entry := range entries {
		list = append(list, entry.Name())
	}
	return list
}

// TestConfigureMPI: an Open MPI of the image is found where programs of the platform look for one; what is no Open MPI is not.
func TestConfigureMPI(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		programs []string
		target   string
	}{
		"Open MPI":  {[]string{"/usr/bin/mpirun", "/usr/bin/ompi_info"}, "/usr"},
		"elsewhere": {[]string{"/opt/x/bin/mpirun", "/opt/x/bin/ompi_info", "/usr/bin/mpirun"}, "/opt/x"},
		"MPICH":     {[]string{"/usr/bin/mpirun"}, ""},
		"none":      {nil, ""},
		"its own":   {[]string{"/usr/bin/mpirun", "/usr/bin/ompi_info", openMPI + "/bin/mpirun"}, openMPI},
	} {
		s := newSetup(t)
		s.path = "/opt/x/bin:/usr/bin"
		for _, program := range test.programs {
			s.put(program, "")
		}
		if err := s.configureMPI(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		env := strings.Join(s.environment([]string{"OMPI_MCA_hwloc_base_binding_policy=core"}), "\n")
		for _, variable := range []string{"OPENMPI_DIR=" + openMPI, "OMPI_MCA_orte_set_default_slots=1"} {
			if strings.Contains(env, variable) != (test.target != "") {
				t.Errorf("%s: environment\n%s\nhas, or has not, %s", name, env, variable)
			}
		}
		if !strings.Contains(env, "JARVICE_MPI_PROVIDER=tcp") || !strings.Contains(env, "OMPI_MCA_hwloc_base_binding_policy=core") {
			t.Errorf("%s: environment\n%s", name, env)
		}
		target, err := os.Readlink(filepath.Join(s.dir, openMPI))
		if want := strings.TrimPrefix(test.target, openMPI); target != want {
			t.Errorf("%s: the link leads to %q, %v; want %q", name, target, err, want)
		}
	}
}

func TestFabric(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.put(infiniband+"/uverbs0", "")
	if got := s.fabric(); got != "verbs" {
		t.Errorf("provider %s; want verbs where there is a device", got)
	}
}

// TestPeers: the addresses are those that the engine has written down.
func TestPeers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	spec := validSpec()
	spec.Nodes = append(spec.Nodes, agentapi.Node{Name: "n2", Cores: 1})
	spec.SSH = &agentapi.SSH{}
	write := func(name string, content any) {
		text, err := json.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(agentapi.SpecFile, spec)
	if _, err := readSpec(dir); err == nil || !strings.Contains(err.Error(), `node "n2" has no address`) {
		t.Errorf("without addresses: %v; want the node to be named", err)
	}
	write(agentapi.PeersFile, []agentapi.Node{{Name: "n2", Address: "10.0.0.2"}, {Name: "n1", Address: "10.0.0.1"}})
	got, err := readSpec(dir)
	want := []agentapi.Node{{Name: "n1", Address: "10.0.0.1", Cores: 1}, {Name: "n2", Address: "10.0.0.2", Cores: 1}}
	if diff := cmp.Diff(want, got.Nodes); err != nil || diff != "" {
		t.Errorf("nodes, %v (-want +got):\n%s", err, diff)
	}
	write(agentapi.PeersFile, "nonsense")
	if _, err := readSpec(dir); err == nil {
		t.Error("nonsense is accepted")
	}
}

// TestMissingNode: a node that does not answer in time is named.
func TestMissingNode(t *testing.T) {
	t.Parallel()
	s, _, _ := newSSHSetup(t)
	s.spec.Nodes = []agentapi.Node{{Name: "n2", Address: "127.0.0.1"}}
	s.spec.VerboseInit = true
	keys, err := parseKeys(s.spec.SSH)
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	a := &agent{cfg: Config{Log: t.Output()}, out: s.out}
	if err := a.awaitNodes(over, s.spec, keys); err == nil || !strings.Contains(err.Error(), "node n2 cannot be reached by ssh") {
		t.Errorf("error %v; want it to name the node", err)
	}
	if diff := cmp.Diff("INIT[1]: VERBOSE - Attempting ssh connection to n2.\n", s.said()); diff != "" {
		t.Errorf("INIT lines (-want +got):\n%s", diff)
	}
}
