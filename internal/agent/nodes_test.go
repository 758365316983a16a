package agent_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// clusters numbers the jobs of this process that have a network.
var clusters atomic.Int32

// cluster is a job of two nodes on a network of their own. The first runs the command.
type cluster struct {
	t     *testing.T
	nodes []*bundle
}

// newCluster returns two nodes that are joined by a cable, in network namespaces that end with the test.
func newCluster(t *testing.T, script string, with ...func(*bundle)) *cluster {
	t.Helper()
	c := &cluster{t: t}
	number := clusters.Add(1)
	keys := &agentapi.SSH{Key: newKey(t), HostKey: newKey(t)}
	peers := []agentapi.Node{{Name: "job-1", Address: "10.99.0.1", Cores: 1}, {Name: "job-2", Address: "10.99.0.2", Cores: 2}}
	for _, peer := range peers {
		b := newBundle(t, script)
		namespace := fmt.Sprintf("berth-agent-%d-%d-%s", os.Getpid(), number, peer.Name)
		ip(t, "netns", "add", namespace)
		t.Cleanup(func() { ip(t, "netns", "del", namespace) })
		ip(t, "-n", namespace, "link", "set", "lo", "up")
		b.network = "/run/netns/" + namespace
		b.spec.Hostname, b.spec.SSH = peer.Name, keys
		b.spec.Nodes = nil
		for _, node := range peers {
			b.spec.Nodes = append(b.spec.Nodes, agentapi.Node{Name: node.Name, Cores: node.Cores})
		}
		text, err := json.Marshal(peers)
		must(t, err, os.WriteFile(filepath.Join(b.dir, agentapi.PeersFile), text, 0o600))
		for _, change := range append([]func(*bundle){withTerminals}, with...) {
			change(b)
		}
		c.nodes = append(c.nodes, b)
	}
	first, second := filepath.Base(c.nodes[0].network), filepath.Base(c.nodes[1].network)
	ip(t, "-n", first, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", second)
	for i, namespace := range []string{first, second} {
		ip(t, "-n", namespace, "addr", "add", peers[i].Address+"/24", "dev", "eth0")
		ip(t, "-n", namespace, "link", "set", "eth0", "up")
	}
	return c
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if text, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, text)
	}
}

// newKey returns a private key in the format of OpenSSH.
func newKey(t *testing.T) []byte {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	block, err := ssh.MarshalPrivateKey(private, "test")
	must(t, err)
	return pem.EncodeToMemory(block)
}

// run runs the job to its end.
func (c *cluster) run() result {
	c.t.Helper()
	worker := c.nodes[1].start()
	got := c.nodes[0].run()
	worker.signal("KILL")
	_ = worker.cmd.Wait()
	return got
}

// TestNodes: names and addresses are the same everywhere, and the agent's own client gets from node to node.
func TestNodes(t *testing.T) {
	t.Parallel()
	const look = `hostname; cat /etc/JARVICE/nodes /etc/JARVICE/cores /var/JARVICE/c/hosts /etc/hosts; env | grep "JARVICE_MPI_P\|^JOB_P"; id; pwd; umask`
	got := newCluster(t, "look() { "+look+"; }\nlook > here; ssh job-2 '"+look+`' > there; diff here there; cat there
ssh localhost hostname; ssh job-1 hostname; ssh -x -o BatchMode=yes -q -l nimbix -p 2222 10.99.0.2 hostname
ssh job-2 'echo out; echo err >&2; exit 7' 2> err; echo $?; cat err
ssh job-2 'kill -9 $$'; echo $?
ssh nimbix@job-2 nonsense; echo $?
echo typed | ssh -T job-2 cat
ssh -n job-2 cat
ssh -tt job-2 'tty; exit 4'; echo $?
ssh -l root job-2 true; echo $?
ssh job-2 "ls -ld .ssh | cut -c1-10; ls -l .ssh | cut -c1-10,42-; cat /proc/\$PPID/comm; grep -c Uid.*505 /proc/\$PPID/status"
`).run()
	want := `--- here
+++ there
@@ -1,4 +1,4 @@
-job-1
+job-2
 job-1
 job-2
 job-1
job-2
job-1
job-2
job-1
job-2
job-2
10.99.0.1 job-1
10.99.0.2 job-2
127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
10.99.0.1	job-1
10.99.0.2	job-2
JOB_PRIVATEIP=10.99.0.1
JARVICE_MPI_PROVIDER=tcp
JOB_PUBLICIP=
uid=505(nimbix) gid=505(nimbix)
/home/nimbix
0022
`
	if diff := cmp.Diff(want, got.output); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("", got.init); diff != "" {
		t.Errorf("INIT lines (-want +got):\n%s", diff)
	}
}

// withDebian gives a node the programs of this machine, which it cannot change.
func withDebian(b *bundle) {
	must(b.t, os.Chmod(filepath.Join(b.root, "tmp"), os.ModeSticky|0o777), os.MkdirAll(filepath.Join(b.root, "opt/JARVICE"), 0o755), os.Symlink("/usr", filepath.Join(b.root, "opt/JARVICE/openmpi")),
		os.RemoveAll(filepath.Join(b.root, "bin")), os.RemoveAll(filepath.Join(b.root, "etc")))
	for _, dir := range []string{"bin", "lib", "lib64", "sbin"} {
		must(b.t, os.Symlink("usr/"+dir, filepath.Join(b.root, dir)))
	}
	for _, dir := range []string{"/usr", "/etc/alternatives", "/etc/openmpi", "/etc/ssh", "/etc/mpich"} {
		if _, err := os.Stat(dir); err == nil {
			b.extra = append(b.extra, map[string]any{"destination": dir, "type": "bind", "source": dir, "options": []string{"bind", "ro"}})
		}
	}
	b.extra = append(b.extra, map[string]any{"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": []string{"mode=1777"}})
}

func TestMPIX(t *testing.T) {
	got := newCluster(t, `cat ~/.ssh/config; ssh job-2 'echo from $SSH_CONNECTION; hostname'; env | grep 'MPI'; ls -l /opt/JARVICE
time mpirun --hostfile /etc/JARVICE/nodes hostname
echo; mpirun --hostfile /etc/JARVICE/cores hostname
echo N; mpirun -N 2 --hostfile /etc/JARVICE/nodes hostname
echo prefix;LD_LIBRARY_PATH=/opt/JARVICE/openmpi/lib:/opt/JARVICE/lib /opt/JARVICE/openmpi/bin/mpirun -x PATH -x LD_LIBRARY_PATH -N 2 --hostfile /etc/JARVICE/nodes hostname
echo mpich; time mpiexec.mpich -f /etc/JARVICE/nodes -n 4 hostname
echo hi > f; scp -q f job-2:g && ssh job-2 cat g; ssh -tt job-2 tty; ssh root@job-2 true; ssh job-2 'kill -9 $$'; echo $?; echo "ls -l" | sftp job-2
ssh -L 9999:localhost:2222 -f -N job-2; ls -la ~/.ssh; cat ~/.ssh/known_hosts
`, withDebian).run()
	t.Logf("%s\n%s", got.init, got.output)
}
