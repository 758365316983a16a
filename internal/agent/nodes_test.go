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
	const look = `cat /etc/JARVICE/nodes /etc/JARVICE/cores /var/JARVICE/c/hosts /etc/hosts; id; pwd; umask; echo $JOB_PRIVATEIP $JARVICE_MPI_PROVIDER`
	got := newCluster(t, "hostname; ssh job-2 hostname\n("+look+") > here; ssh job-2 '"+look+`' > there; diff here there; cat there
ssh localhost hostname; ssh -x -o BatchMode=yes -q -l nimbix -p 2222 10.99.0.2 hostname
ssh job-2 'echo out; echo err >&2; exit 7' 2> err; echo $?; cat err
ssh job-2 'kill -9 $$' 2> err; echo $?
ssh nimbix@job-2 nonsense 2> err; echo $?
echo typed | ssh -T job-2 cat; cat /bin/busybox | ssh job-2 true; echo $?
ssh -n job-2 cat
ssh -tt job-2 'tty; exit 4' < /dev/null | tr -d '\r'; ssh job-2 tty
ssh -l root job-2 true 2> err; echo $?; ssh -p 22 job-2 true 2> err; echo $?
ssh job-2 'stat -c "%a %U %n" .ssh .ssh/*; cat /proc/$PPID/comm; grep -c "Uid:.505.505.505.505" /proc/$PPID/status'
`).run()
	want := `job-1
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
uid=505(nimbix) gid=505(nimbix)
/home/nimbix
0022
10.99.0.1 tcp
job-1
job-2
out
7
err
255
127
typed
0
/dev/pts/0
not a tty
255
255
700 nimbix .ssh
600 nimbix .ssh/authorized_keys
600 nimbix .ssh/config
600 nimbix .ssh/id_ed25519
644 nimbix .ssh/id_ed25519.pub
644 nimbix .ssh/known_hosts
berth-init
1
`
	if diff := cmp.Diff(want, got.output); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	want = `INIT[1]: Reading keys...
INIT[1]: Injecting static ssh client.
INIT[1]: Starting SSHD server...
INIT[1]: Checking all nodes can be reached through ssh...
INIT[1]: SSH test success!
`
	if !strings.HasSuffix(got.init, want) {
		t.Errorf("INIT lines are\n%s; want them to end with\n%s", got.init, want)
	}
}

// TestKilledServers: the ssh servers belong to the job's user, who can kill them, and come back on every node.
func TestKilledServers(t *testing.T) {
	t.Parallel()
	got := newCluster(t, `for node in job-2 localhost; do ssh $node 'kill -9 $PPID' 2> err; echo $?; done
for node in job-2 localhost; do until ssh $node hostname 2> err; do sleep 0.1; done; done
ssh localhost 'kill -9 $PPID' 2> err; exit 3`).run()
	if diff := cmp.Diff("255\n255\njob-2\njob-1\n", got.output); diff != "" || got.report.ExitCode != 3 {
		t.Errorf("exit code %d; output (-want +got):\n%s", got.report.ExitCode, diff)
	}
}

// TestOneNodeDoesWithoutSSH: a job of one node does not fail because nobody can get in, and says so.
func TestOneNodeDoesWithoutSSH(t *testing.T) {
	t.Parallel()
	b := newBundle(t, "echo ran")
	b.spec.SSH = &agentapi.SSH{Key: []byte("no key")}
	got := b.run()
	if got.code != 0 || got.output != "ran\n" || !strings.Contains(got.init, "WARNING: ssh key of the user: ") {
		t.Errorf("exit code %d, output %q after\n%s", got.code, got.output, got.init)
	}
}

// TestFilesBetweenNodes uses the agent's own scp and sftp.
func TestFilesBetweenNodes(t *testing.T) {
	t.Parallel()
	got := newCluster(t, `mkdir -p tree/sub; echo one > tree/1; echo two > tree/sub/2; chmod 750 tree/1; head -c 1000000 /dev/zero > big
scp -q big job-2:/home/nimbix/copy && ssh job-2 'wc -c < copy'
scp -rp tree job-2: && ssh job-2 'stat -c %a tree/1; cat tree/1 tree/sub/2'
mkdir to; scp job-2:tree/1 job-2:tree/sub/2 to && cat to/1 to/2
scp job-2:tree/1 job-1:there && cat there
scp tree job-2:x 2> /dev/null; echo $?; scp job-2:none . 2> /dev/null; echo $?
sftp -b - job-2 <<END
cd tree
pwd
put big more
rename more less
get less back
mkdir d
rmdir d
rm 1
ls
bye
END
echo $?; cmp back big && echo same; echo cd none | sftp -b - job-2 2> /dev/null; echo $?
`).run()
	want := "1000000\n750\none\ntwo\none\ntwo\none\n1\n1\nRemote working directory: /home/nimbix/tree\nless\nsub\n0\nsame\n1\n"
	if diff := cmp.Diff(want, got.output); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
}

// withDebian gives a node the programs of this machine, which it cannot change.
func withDebian(b *bundle) {
	b.t.Helper()
	for _, program := range []string{"ssh", "mpirun"} {
		if _, err := exec.LookPath(program); err != nil {
			b.t.Fatalf("%v: scripts/packages test installs it", err)
		}
	}
	must(b.t, os.RemoveAll(filepath.Join(b.root, "bin")), os.Chmod(filepath.Join(b.root, "tmp"), os.ModeSticky|0o777))
	for _, dir := range []string{"bin", "lib", "lib64", "sbin"} {
		must(b.t, os.Symlink("usr/"+dir, filepath.Join(b.root, dir)))
	}
	for _, dir := range []string{"/usr", "/etc/alternatives", "/etc/openmpi"} {
		b.extra = append(b.extra, map[string]any{"destination": dir, "type": "bind", "source": dir, "options": []string{"bind", "ro"}})
	}
}

// TestDebianNodes: OpenSSH's client reaches the nodes by what the agent has configured, and so does Open MPI by it, which warns now and then
// that a program has begun before it had put it into a group.
func TestDebianNodes(t *testing.T) {
	t.Parallel()
	got := newCluster(t, `ssh job-2 'hostname; exit 3'; echo $?; ssh root@job-2 true 2> /dev/null; echo $?
ssh -i /etc/ssh/none -o IdentitiesOnly=yes -o IdentityFile=/none -F /dev/null -p 2222 -o StrictHostKeyChecking=no job-2 true 2> /dev/null; echo $?
ssh -o BatchMode=yes -tt job-2 tty 2> /dev/null < /dev/null | tr -d '\r'
echo hi > f; scp -q f job-2:g; echo 'rename g h' | sftp -q -b - job-2 > /dev/null; ssh 10.99.0.2 cat h
echo; mpirun --hostfile /etc/JARVICE/nodes hostname 2> /dev/null | sort
echo; mpirun --hostfile /etc/JARVICE/cores hostname 2> /dev/null | sort
echo; mpirun -N 1 --hostfile /etc/JARVICE/nodes sh -c 'exit 9' 2> /dev/null; echo $?
`, withDebian).run()
	want := "job-2\n3\n255\n255\n/dev/pts/0\nhi\n\njob-1\njob-2\n\njob-1\njob-2\njob-2\n\n9\n"
	if diff := cmp.Diff(want, got.output); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
}
