package reconcile

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/fake"
	"github.com/berth-hpc/berth/internal/store"
)

func withNodes(n int) func(*berth.Job) {
	return func(job *berth.Job) { job.Submission.Machine.Nodes = n }
}

// TestSpecsOfNodes: every node finds its own specification, and what they share stays when the server is killed in between.
func TestSpecsOfNodes(t *testing.T) {
	b := newBench(t)
	job := b.place(t, "exit 0", withNodes(3))
	attempt, err := b.prepare(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	dir := b.files.Dir(job.Number)
	want := []engine.Worker{
		{Hostname: job.NodeName(1), Dir: filepath.Join(dir, "node-2")}, {Hostname: job.NodeName(2), Dir: filepath.Join(dir, "node-3")},
	}
	if diff := cmp.Diff(want, attempt.Workers); diff != "" || attempt.Dir != dir || attempt.Cores != job.Need.Cores {
		t.Errorf("attempt %+v; workers (-want +got):\n%s", attempt, diff)
	}
	first := readSpec(t, dir)
	if _, err := ssh.ParsePrivateKey(first.SSH.Key); err != nil {
		t.Error(err)
	}
	if len(first.Nodes) != 3 || string(first.SSH.Key) == string(first.SSH.HostKey) {
		t.Errorf("specification %+v", first)
	}
	b.renew()
	if _, err := b.prepare(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	for node, dir := range []string{dir, want[0].Dir, want[1].Dir} {
		expected := first
		expected.Hostname = job.NodeName(node)
		if diff := cmp.Diff(expected, readSpec(t, dir)); diff != "" {
			t.Errorf("node %d, after a restart (-first +now):\n%s", node, diff)
		}
	}
	if err := removeFiles(job, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(want[0].Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory of a node is left: %v", err)
	}
}

// TestFilesGoFirst: keys, passwords and what the nodes have told are gone before the engine forgets the attempt, after which nobody would
// look for them. The output stays, also the empty one of a job whose agent never wrote: it was not deleted.
func TestFilesGoFirst(t *testing.T) {
	b := newBench(t)
	job := b.place(t, "exit 0", withNodes(3))
	attempt, err := b.prepare(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(attempt.Workers[0].Dir, agentapi.SpecFile+".new") // what a server that was killed has written of it
	for _, dir := range []string{attempt.Dir, attempt.Workers[1].Dir} {
		for _, name := range []string{agentapi.ReportFile, agentapi.ReportFile + ".new", agentapi.PeersFile} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("{}"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(half, []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the engine does not answer")
	b.engine.Fail(fake.Remove, broken)
	if err := b.clean(t.Context(), job); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(attempt.Dir, "*"))
	if diff := cmp.Diff([]string{filepath.Join(attempt.Dir, agentapi.OutputFile)}, left); err != nil || diff != "" {
		t.Errorf("left behind, %v (-want +got):\n%s", err, diff)
	}
}

func TestOneNodeHasNoKeys(t *testing.T) {
	b := newBench(t)
	job := b.place(t, "exit 0")
	attempt, err := b.prepare(t.Context(), job)
	if err != nil || len(attempt.Workers) != 0 || len(attempt.Publish.Ports) != 0 {
		t.Errorf("attempt %+v, %v", attempt, err)
	}
	if spec := readSpec(t, attempt.Dir); spec.SSH != nil || spec.PublicAddress != "" {
		t.Errorf("specification %+v", spec)
	}
}

// TestKeysOfTheOwner: whoever registers public keys gets into every job by them, also into one of one node, and nobody else's do.
func TestKeysOfTheOwner(t *testing.T) {
	b := newBench(t)
	act := berth.Act{Kind: berth.ActUserAdded, By: berth.ByServer}
	if err := b.store.CreateUser(t.Context(), store.NewUser{User: berth.User{Name: "bob"}}, act); err != nil {
		t.Fatal(err)
	}
	for user, comment := range map[string]string{"ada": "laptop", "bob": ""} {
		key := berth.SSHKey{User: user, Fingerprint: "SHA256:" + user, Line: "ssh-ed25519 " + user, Comment: comment}
		if err := b.store.AddSSHKey(t.Context(), key, 1, act); err != nil {
			t.Fatal(err)
		}
	}
	for _, nodes := range []int{1, 2} {
		attempt, err := b.prepare(t.Context(), b.place(t, "exit 0", withNodes(nodes)))
		if err != nil {
			t.Fatal(err)
		}
		spec := readSpec(t, attempt.Dir)
		if spec.SSH == nil || len(spec.SSH.Key) == 0 || len(spec.SSH.HostKey) == 0 {
			t.Fatalf("%d nodes: keys %+v", nodes, spec.SSH)
		}
		if diff := cmp.Diff([]string{"ssh-ed25519 ada laptop"}, spec.SSH.Authorized); diff != "" {
			t.Errorf("%d nodes: let in are (-want +got):\n%s", nodes, diff)
		}
	}
	bobs, err := b.prepare(t.Context(), b.place(t, "exit 0", func(job *berth.Job) { job.Owner = "bob" }))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ssh-ed25519 bob"}, readSpec(t, bobs.Dir).SSH.Authorized); diff != "" {
		t.Errorf("let in are (-want +got):\n%s", diff)
	}
}

// TestKeysWhileAJobWaits: a key that was removed, or whose owner was disabled, before the job has started does not open it; what the job
// has of its own stays.
func TestKeysWhileAJobWaits(t *testing.T) {
	b := newBench(t)
	act := berth.Act{Kind: berth.ActSSHKeyAdded, By: "ada"}
	add := func(name string) {
		t.Helper()
		if err := b.store.AddSSHKey(t.Context(), berth.SSHKey{User: "ada", Fingerprint: name, Line: "ssh-ed25519 " + name}, 9, act); err != nil {
			t.Fatal(err)
		}
	}
	add("lost")
	job := b.place(t, "exit 0", withNodes(2))
	prepared := func() agentapi.SSH {
		t.Helper()
		attempt, err := b.prepare(t.Context(), job)
		if err != nil {
			t.Fatal(err)
		}
		return *readSpec(t, attempt.Dir).SSH
	}
	want := prepared()
	add("new")
	if err := b.store.RemoveSSHKey(t.Context(), "ada", "lost", act); err != nil {
		t.Fatal(err)
	}
	want.Authorized = []string{"ssh-ed25519 new"}
	if diff := cmp.Diff(want, prepared()); diff != "" {
		t.Errorf("after a key was changed for another (-want +got):\n%s", diff)
	}
	yes := true
	if _, err := b.store.ChangeUser(t.Context(), "ada", berth.UserChange{Disabled: &yes}, act); err != nil {
		t.Fatal(err)
	}
	want.Authorized = nil
	if diff := cmp.Diff(want, prepared()); diff != "" {
		t.Errorf("after the owner was disabled (-want +got):\n%s", diff)
	}
}

func readSpec(t *testing.T, dir string) agentapi.Spec {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, agentapi.SpecFile))
	if err != nil {
		t.Fatal(err)
	}
	var spec agentapi.Spec
	if err := json.Unmarshal(text, &spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

// TestPublicAddresses: an address is one job's at a time, as long as the job has not been cleaned up.
func TestPublicAddresses(t *testing.T) {
	b := newBench(t)
	b.cfg.PublicAddresses = []berth.PublicAddress{{Address: "192.0.2.1", Users: []string{"bob"}}, {Address: "192.0.2.2"}, {Address: "192.0.2.3"}}
	asks := func(address string) func(*berth.Job) {
		return func(job *berth.Job) { job.Submission.PublicIP, job.Submission.IPAddr = true, address }
	}
	var jobs []berth.Job
	for _, want := range []string{"192.0.2.2", "192.0.2.3"} {
		job := b.place(t, "exit 0", asks(""))
		b.preparePublic(t, job, want)
		b.preparePublic(t, job, want) // the same when it is asked again
		jobs = append(jobs, job)
	}
	if _, err := b.prepare(t.Context(), b.place(t, "exit 0", asks(""))); !errors.Is(err, errNoAddress) {
		t.Errorf("a third job: %v; want that it has to wait", err)
	}
	for _, address := range []string{"192.0.2.2", "192.0.2.1", "192.0.2.9"} {
		if _, err := b.prepare(t.Context(), b.place(t, "exit 0", asks(address))); !errors.Is(err, engine.ErrRefused) {
			t.Errorf("%s: %v; want a refusal", address, err)
		}
	}
	if err := b.clean(t.Context(), jobs[0]); err != nil {
		t.Fatal(err)
	}
	attempt, err := b.prepare(t.Context(), b.place(t, "exit 0", asks("192.0.2.2")))
	if err != nil || attempt.Publish.Address != "192.0.2.2" {
		t.Errorf("after the end of the job that had it: %q, %v", attempt.Publish.Address, err)
	}
}

func (b *bench) preparePublic(t *testing.T, job berth.Job, want string) {
	t.Helper()
	attempt, err := b.prepare(t.Context(), job)
	if err != nil || attempt.Publish.Address != want {
		t.Fatalf("it got %q, %v; want %q", attempt.Publish.Address, err, want)
	}
	if ssh := (engine.Port{Protocol: "tcp", Number: 2222, Host: 22}); attempt.Publish.Ports[0] != ssh || len(attempt.Publish.Ports) != 9 {
		t.Errorf("ports %+v", attempt.Publish.Ports)
	}
	if spec := readSpec(t, attempt.Dir); spec.PublicAddress != want || spec.SSH == nil {
		t.Errorf("specification %+v", spec)
	}
}

// TestAJobWaitsForAnAddress and says so; it goes on when another one ends.
func TestAJobWaitsForAnAddress(t *testing.T) {
	b := newBench(t)
	b.cfg.PublicAddresses = []berth.PublicAddress{{Address: "192.0.2.2"}}
	public := func(job *berth.Job) { job.Submission.PublicIP = true }
	first := b.place(t, "sleep 1000", public)
	defer b.run(t)()
	b.until(t, first.Number, in(berth.StateRunning))
	second := b.place(t, "exit 0", public)
	b.Notify(second, berth.Event{Kind: berth.EventPlaced})
	b.until(t, second.Number, func(job berth.Job) bool { return job.WaitDetail == errNoAddress.Error() })
	b.apply(t, first.Number, berth.Event{Kind: berth.EventTerminateRequested, By: "ada"})
	if job := b.until(t, second.Number, ended); job.State != berth.StateCompleted {
		t.Errorf("it is %s: %+v", job.State, job.End)
	}
}

func TestPublishedPorts(t *testing.T) {
	got := publish("192.0.2.2", []berth.Port{
		{Number: 22, Protocol: "tcp"}, {Number: 53, Protocol: "udp"}, {Number: 53, Protocol: "udp"}, {Number: 9, Protocol: "sctp"},
	})
	want := engine.Publish{Address: "192.0.2.2", Ports: []engine.Port{
		{Protocol: "tcp", Number: 2222, Host: 22}, {Protocol: "udp", Number: 53},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
