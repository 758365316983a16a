package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-hpc/berth/client"
	"github.com/berth-hpc/berth/internal/berthdtest"
	"github.com/berth-hpc/berth/internal/engine/containerd/private"
)

var (
	crashes = flag.Int("crashes", 200, "how often the crash run kills the server")
	seed    = flag.Uint64("seed", 1, "seed of the crash run")
)

// crashPoints are the places between two durable steps. The run arms each of them in turn, between kills at random moments.
var crashPoints = []string{
	"store.commit.before", "store.commit.after",
	"scheduler.store.before", "scheduler.store.after",
	"reconcile.start.before", "engine.recorded", "engine.made", "reconcile.start.after",
	"reconcile.started.before", "reconcile.started.after",
	"reconcile.stop.before", "reconcile.stop.after",
	"reconcile.ended.before", "reconcile.ended.after",
	"reconcile.removed", "control.ordered",
	"volume.claimed", "volume.mounted", "volume.unmounted",
}

// nextEndsWithin is far above what the jobs of the crash run take to end, one after the other; it only makes a hanging one tell what is known of
// it.
const nextEndsWithin = 10 * time.Minute

// expectation is what must be true of one job of the crash run.
type expectation struct {
	key    string
	number int64
	code   int
	lines  int
	// ended says that somebody asked for the end of the job and got a 200: stopped or terminated.
	ended bool
	// app says that it is a job of an application and not of a bare container.
	app bool
	// block says that it writes to the block vault, which one job at a time has.
	block bool
	// waits says that the job waits a while for a signal; signaled that one was sent and answered with 200.
	waits, signaled bool
}

// The exit codes of a job that waits for a signal: it came, or not.
const (
	codeSignaled = 42
	codeWaited   = 43
)

// TestCrashRun kills the server many times while jobs are submitted, started, running, stopped and ending. Afterwards every job
// that was acknowledged has ended, once, as it should; it ran once; and its output is complete.
func TestCrashRun(t *testing.T) { runCrashes(t, *crashes, 1, "--network", "none") }

// TestCrashRunOfNodes does the same with jobs of several nodes, which reach each other. Each takes several times as long.
func TestCrashRunOfNodes(t *testing.T) { runCrashes(t, *crashes/6, 2, "--network", "bridge") }

func runCrashes(t *testing.T, crashes, nodes int, flags ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("the crash run takes minutes")
	}
	s := &berthdtest.Server{
		Bin: bin, Data: filepath.Join(t.TempDir(), "data"), Flags: append([]string{"--cores", "4", "--tick", "1s"}, flags...),
	}
	t.Cleanup(func() {
		if err := s.Down(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	importBusybox(t, s)
	addShell(t, s)
	addBlockVault(t, s)
	run := &crashRun{server: s, nodes: nodes, random: rand.New(rand.NewPCG(*seed, 0))}
	for i := range crashes {
		run.cycle(t, i)
	}
	s.Env = nil
	s.Kill()
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	run.verify(t)
}

func clientOf(t *testing.T, s *berthdtest.Server) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: s.URL, Username: s.Vars["BERTH_USER"], APIKey: s.Vars["BERTH_APIKEY"]})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type crashRun struct {
	server *berthdtest.Server
	// nodes is how many each job has.
	nodes  int
	random *rand.Rand
	jobs   []*expectation
}

// cycle sends work, lets the server die in the middle of it, and starts it again.
func (r *crashRun) cycle(t *testing.T, i int) {
	t.Helper()
	armed := i%2 == 1
	r.server.Env = nil
	if armed {
		point := crashPoints[i/2%len(crashPoints)]
		r.server.Env = []string{fmt.Sprintf("BERTH_CRASHPOINT=%s:%d", point, 1+r.random.IntN(4))}
	}
	r.server.Kill()
	if err := r.server.Start(t.Context()); err != nil {
		if armed && errors.Is(err, berthdtest.ErrNotReady) {
			return // the point lay in the start itself
		}
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(50+r.random.IntN(700))*time.Millisecond)
	defer cancel()
	var wait sync.WaitGroup
	for range 3 {
		job := &expectation{key: fmt.Sprintf("key%d", len(r.jobs)), code: r.random.IntN(3), lines: 1 + r.random.IntN(500)}
		r.jobs = append(r.jobs, job)
		then := r.random.IntN(7)
		job.waits = then == thenSignal
		job.app = r.random.IntN(3) == 0
		job.block = !job.waits && r.random.IntN(10) == 0
		wait.Go(func() { r.submit(ctx, t, job, then) })
	}
	wait.Wait()
	if armed {
		_ = r.server.Crashed(ctx) // or it is killed at the deadline
	} else {
		<-ctx.Done()
	}
}

func (r *crashRun) submission(job *expectation) client.Submission {
	end := fmt.Sprintf("sleep 0.%d; exit %d", job.lines%10, job.code)
	if job.waits {
		// Some shells tell of a program that a signal ended.
		end = fmt.Sprintf("exec 2>/dev/null; touch /data/"+job.key+printed+"; i=0; while [ $i -lt 60 ]; do sleep 0.05; i=$((i+1)); done; exit %d", codeWaited)
	}
	vault, show := "data", ""
	if job.block {
		vault, show = blockVault, "cat /data/"+job.key+"; "
	}
	script := fmt.Sprintf("trap 'exit %d' USR1; echo ran >> /data/%s\n%si=0; while [ $i -lt %d ]; do i=$((i+1)); echo line $i; done\n%s",
		codeSignaled, job.key, show, job.lines, end)
	submission := client.Submission{
		Machine: &client.MachineRequest{Type: "n0", Nodes: r.nodes}, Vault: &client.VaultRequest{Name: vault}, Label: job.key, IdempotencyKey: job.key,
	}
	if job.app {
		submission.App = "shell"
		submission.Application = &client.Application{Command: "Run", Parameters: map[string]any{"-c": script}}
	} else {
		submission.Container = &client.Container{Image: "local/busybox:latest", JobScript: script}
	}
	return submission
}

// What is done with a job after its submission; nothing for other numbers.
const (
	thenTerminate = iota
	thenShutdown
	thenSignal
)

// signalUser is SIGUSR1.
const signalUser = 10

// submit sends a job, and sometimes asks for its end right after. Errors are expected: the server may be dead.
func (r *crashRun) submit(ctx context.Context, t *testing.T, job *expectation, then int) {
	c := clientOf(t, r.server)
	receipt, err := c.Submit(ctx, r.submission(job))
	if err != nil {
		return
	}
	job.number = receipt.Number
	ref := client.Number(receipt.Number)
	switch then {
	case thenTerminate:
		job.ended = c.Terminate(ctx, ref) == nil
	case thenShutdown:
		job.ended = c.Shutdown(ctx, ref) == nil
	case thenSignal:
		job.signaled = r.signal(ctx, c, job)
	}
}

// printed ends the name of the file that tells that the job has written all its output: a signal ends it there and then.
const printed = ".printed"

// signal sends a signal as soon as the job waits for it, and says whether the server said that it arrived.
func (r *crashRun) signal(ctx context.Context, c *client.Client, job *expectation) bool {
	for ctx.Err() == nil {
		if _, err := os.Stat(r.ranFile(job) + printed); err == nil {
			_, err := c.Signal(ctx, client.Number(job.number), signalUser)
			return err == nil
		}
		time.Sleep(20 * time.Millisecond) // a file of the job tells, which nobody announces
	}
	return false
}

func (r *crashRun) ranFile(job *expectation) string {
	return filepath.Join(r.server.Data, "vaults", "admin", "data", job.key)
}

// verify sends every submission again, so that those whose answer was lost are known too, waits for all and checks each.
func (r *crashRun) verify(t *testing.T) {
	t.Helper()
	c := clientOf(t, r.server)
	seen := make(map[int64]string)
	for _, job := range r.jobs {
		receipt, err := c.Submit(t.Context(), r.submission(job))
		if err != nil {
			t.Fatal(err)
		}
		if job.number != 0 && job.number != receipt.Number {
			t.Errorf("%s was acknowledged as job %d and is job %d on a retry", job.key, job.number, receipt.Number)
		}
		if other, doubled := seen[receipt.Number]; doubled {
			t.Errorf("%s and %s are both job %d", job.key, other, receipt.Number)
		}
		job.number = receipt.Number
		seen[receipt.Number] = job.key
	}
	states, reported := make(map[string]int), 0
	for _, job := range r.jobs {
		ctx, cancel := context.WithTimeout(t.Context(), nextEndsWithin)
		ended, err := c.Wait(ctx, client.Number(job.number))
		cancel()
		if err != nil {
			t.Fatalf("job %d (%s) has not ended: %v\n%s\n%s", job.number, ended.Raw, err, r.logsOf(job.number), r.server.Goroutines())
		}
		states[ended.State]++
		if r.check(t, job, ended); t.Failed() && reported < 3 {
			reported++
			t.Logf("what is known of job %d (%s):\n%s", job.number, ended.Raw, r.logsOf(job.number))
		}
	}
	t.Logf("%d jobs after the crashes: %v", len(r.jobs), states)
	r.checkNothingLeft(t)
}

func (r *crashRun) check(t *testing.T, job *expectation, ended client.Job) {
	t.Helper()
	ran := r.ran(t, job)
	if len(ran) > len("ran\n") {
		t.Errorf("job %d ran more than once: %q", job.number, ran)
	}
	switch ended.State {
	case "completed", "failed":
		code, want := job.exitCode(ended), "completed"
		if code != 0 {
			want = "failed"
		}
		natural := ended.End.Reason == "exited"
		if natural && (ended.State != want || ended.End.ExitCode != code || ran != "ran\n") {
			t.Errorf("job %d: %+v and %q, want exit code %d after one run", job.number, ended, ran, code)
		}
		if ended.End.Reason == "lost" || !natural && ended.End.By == "" {
			t.Errorf("job %d ended as %+v; nobody asked for that", job.number, ended.End)
		}
		if natural {
			r.checkOutput(t, job)
		}
	case "terminated", "canceled":
		if ended.End.By == "" {
			t.Errorf("job %d ended as %+v; nobody asked for that", job.number, ended.End)
		}
	default:
		t.Errorf("job %d is %s", job.number, ended.State)
	}
	if job.ended && ended.End.By == "" {
		t.Errorf("job %d was to end and the server said yes, but it ended as %+v", job.number, ended.End)
	}
}

// ran is what the job left each time that it ran.
func (r *crashRun) ran(t *testing.T, job *expectation) string {
	t.Helper()
	if job.block {
		return "ran\n" // its output tells, for nobody else sees the file
	}
	ran, err := os.ReadFile(r.ranFile(job))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(ran)
}

// exitCode is what the job had to end with by itself.
func (e *expectation) exitCode(ended client.Job) int {
	switch {
	case !e.waits:
		return e.code
	case !e.signaled && ended.End.ExitCode == codeWaited:
		return codeWaited // no signal was sent; or one came although its answer was lost
	default:
		return codeSignaled
	}
}

func (r *crashRun) checkOutput(t *testing.T, job *expectation) {
	t.Helper()
	got, err := clientOf(t, r.server).Output(t.Context(), client.Number(job.number), 0)
	if err != nil {
		t.Fatal(err)
	}
	_, own, found := strings.Cut(string(got), strings.Repeat("#", 79)+"\n")
	var want strings.Builder
	if job.block {
		fmt.Fprintln(&want, "ran")
	}
	for i := range job.lines {
		fmt.Fprintln(&want, "line", i+1)
	}
	if !found || own != want.String() {
		t.Errorf("job %d: output of %d bytes, want %d", job.number, len(own), want.Len())
	}
}

// checkNothingLeft: no container, scratch directory or process of an ended job is there.
func (r *crashRun) checkNothingLeft(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(berthdtest.ReadyWithin)
	for {
		left := r.left(t)
		if left == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("ended jobs left behind:\n%s", left)
			return
		}
		time.Sleep(100 * time.Millisecond) // cleaning follows the end; nothing tells when it is done
	}
}

func (r *crashRun) left(t *testing.T) string {
	t.Helper()
	scratch, err := filepath.Glob(filepath.Join(r.server.Data, "scratch", "*"))
	if err != nil {
		t.Fatal(err)
	}
	attached, err := filepath.Glob(filepath.Join(r.server.Data, "volumes", "*", "attached", "*"))
	if err != nil {
		t.Fatal(err)
	}
	shims, err := processes("containerd-shim-runc-v2 .* -id berth-.* -address " + private.StateDir(r.server.Data))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(append(scratch, attached...), "\n") + shims
}

// logsOf returns what the server and its containerd said of a job.
func (r *crashRun) logsOf(number int64) string {
	var lines strings.Builder
	for _, name := range []string{"berthd.log", "containerd/containerd.log"} {
		text, _ := os.ReadFile(filepath.Join(r.server.Data, name))
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, fmt.Sprintf("berth-%d-", number)) || strings.Contains(line, fmt.Sprintf("job=%d ", number)) {
				lines.WriteString(line)
			}
		}
	}
	return lines.String()
}
