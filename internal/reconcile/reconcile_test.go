package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/fake"
	"github.com/berth-hpc/berth/internal/output"
	"github.com/berth-hpc/berth/internal/store"
	"github.com/berth-hpc/berth/internal/vault"
	"github.com/berth-hpc/berth/internal/volume"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	localImage  = "docker.io/local/busybox:latest"
	remoteImage = "docker.io/library/busybox:latest"
)

// bench is a reconciler with the real store and files, and the fake engine.
type bench struct {
	*Reconciler
	store   *store.Store
	engine  *fake.Engine
	files   *output.Files
	vaults  vault.Directories
	volumes *fakeVolumes
	changes chan berth.Job
	tick    time.Duration
	// ahead is by how much the time of the jobs is ahead.
	ahead atomic.Int64
	names int
}

func newBench(t *testing.T) *bench {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	b := &bench{
		files:   output.New(filepath.Join(t.TempDir(), "jobs"), log),
		vaults:  vault.Directories{Files: t.TempDir(), Scratch: filepath.Join(t.TempDir(), "scratch")},
		volumes: &fakeVolumes{dir: t.TempDir(), attached: make(map[string]volume.Request)},
		changes: make(chan berth.Job, 1000),
		tick:    time.Hour,
	}
	b.engine = fake.New(fake.Config{
		Host: "host", Capacity: berth.Capacity{Cores: 4, RAM: 4 << 30, Slots: 4},
		Images: []string{localImage}, Registry: []string{remoteImage}, Now: b.now,
	})
	t.Cleanup(b.engine.Close)
	st, err := store.Open(t.Context(), store.Config{
		DSN: "sqlite:" + filepath.Join(t.TempDir(), "berth.db"), Log: log,
		OnChange: func(job berth.Job, record berth.Record) {
			b.Notify(job, record.Event)
			b.changes <- job
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	b.store = st
	if err := st.CreateUser(t.Context(), store.NewUser{User: berth.User{Name: "ada"}}, berth.Act{Kind: berth.ActUserAdded, By: berth.ByServer}); err != nil {
		t.Fatal(err)
	}
	b.renew()
	return b
}

// renew is a restarted server: a new reconciler on what is there.
func (b *bench) renew() {
	b.Reconciler = New(Config{
		Store: b.store, Engine: b.engine, Images: b.engine, Vaults: b.vaults, Volumes: b.volumes, Unseal: b.unseal, Dir: b.files.Dir, Grace: 100 * time.Millisecond,
		CheckScratch: func() error { return errors.New("no quotas") },
		Now:          b.now, Tick: b.tick, Log: slog.New(slog.DiscardHandler),
	})
}

func (b *bench) now() time.Time { return time.Now().Add(time.Duration(b.ahead.Load())) }

// run runs the reconciler until the returned function is called.
func (b *bench) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// place stores a job that runs a script and has its resources.
func (b *bench) place(t *testing.T, script string, change ...func(*berth.Job)) berth.Job {
	t.Helper()
	b.names++
	job := berth.Job{
		Name: fmt.Sprintf("20260101000000-%05d-x-ada_s1", b.names), Owner: "ada", Payer: "ada", Image: localImage, Submitted: time.Now(),
		Need: berth.Capacity{Cores: 1, RAM: 1 << 28, Slots: 1},
		Submission: berth.Submission{
			Container: berth.Container{Image: localImage, JobScript: script}, Vault: berth.VaultRequest{Name: berth.EphemeralVault},
		},
	}
	for _, f := range change {
		f(&job)
	}
	job, _, err := b.store.CreateJob(t.Context(), store.NewJob{Job: job})
	if err != nil {
		t.Fatal(err)
	}
	return b.apply(t, job.Number, berth.Event{Kind: berth.EventPlaced, Attempt: berth.NewAttempt(job.Number, "x"), Hosts: []string{"host"}})
}

func (b *bench) apply(t *testing.T, number int64, ev berth.Event) berth.Job {
	t.Helper()
	ev.At = b.now()
	job, err := b.store.Apply(t.Context(), number, ev)
	if err != nil {
		t.Fatal(err)
	}
	return job
}

// until waits for a change after which a job is as wanted.
func (b *bench) until(t *testing.T, number int64, wanted func(berth.Job) bool) berth.Job {
	t.Helper()
	if job, err := b.store.Job(t.Context(), number); err == nil && wanted(job) {
		return job
	}
	for {
		select {
		case job := <-b.changes:
			if job.Number == number && wanted(job) {
				return job
			}
		case <-time.After(time.Minute):
			job, err := b.store.Job(t.Context(), number)
			t.Fatalf("the job did not become as wanted: %+v, %v", job, err)
		}
	}
}

func ended(job berth.Job) bool { return job.State.Final() }

func in(state berth.State) func(berth.Job) bool {
	return func(job berth.Job) bool { return job.State == state }
}

// checkClean waits until nothing of an ended job is left but its output, and checks that the engine was used as promised.
func (b *bench) checkClean(t *testing.T, job berth.Job) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		left := b.left(t, job)
		if left == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("left behind: %s", left)
		}
		time.Sleep(time.Millisecond) // nothing tells when cleaning is done
	}
	if violations := b.engine.Violations(); len(violations) > 0 {
		t.Errorf("the engine was misused: %v", violations)
	}
}

func (b *bench) left(t *testing.T, job berth.Job) string {
	t.Helper()
	if _, err := b.engine.Status(t.Context(), job.Attempt); !errors.Is(err, engine.ErrNotFound) {
		return fmt.Sprint("the attempt: ", err)
	}
	if _, attached := b.volumes.has(job.Attempt); attached {
		return "its volume"
	}
	for _, path := range []string{
		filepath.Join(b.vaults.Scratch, job.Attempt), filepath.Join(b.files.Dir(job.Number), agentapi.SpecFile),
		filepath.Join(b.files.Dir(job.Number), agentapi.ReportFile), filepath.Join(b.files.Dir(job.Number), manifestFile),
		filepath.Join(b.files.Dir(job.Number), agentapi.PeersFile),
	} {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			return path
		}
	}
	return ""
}

func TestLifeOfAJob(t *testing.T) {
	tests := map[string]struct {
		script string
		state  berth.State
		end    berth.End
	}{
		"success":           {"echo hello", berth.StateCompleted, berth.End{Reason: berth.EndExited}},
		"an exit code":      {"exit 3", berth.StateFailed, berth.End{Reason: berth.EndExited, ExitCode: 3}},
		"out of memory":     {"# fake: oom\nsleep 0", berth.StateFailed, berth.End{Reason: berth.EndOutOfMemory, ExitCode: 137, Signal: 9}},
		"an end not known":  {"# fake: unknown-exit\nexit 0", berth.StateFailed, berth.End{Reason: berth.EndLost, ExitCode: -1}},
		"an unclear start":  {"# fake: start-unknown\nexit 4", berth.StateFailed, berth.End{Reason: berth.EndExited, ExitCode: 4}},
		"a base64 script":   {"IyEvYmluL3NoCmV4aXQgNQo=", berth.StateFailed, berth.End{Reason: berth.EndExited, ExitCode: 5}},
		"much of an output": {"echo " + strings.Repeat("x", 1000), berth.StateCompleted, berth.End{Reason: berth.EndExited}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			defer b.run(t)()
			job := b.until(t, b.place(t, test.script).Number, ended)
			if diff := cmp.Diff(test.end, job.End); diff != "" || job.State != test.state {
				t.Errorf("state %s, want %s; end:\n%s", job.State, test.state, diff)
			}
			if text, err := os.ReadFile(filepath.Join(b.files.Dir(job.Number), agentapi.OutputFile)); err != nil || len(text) == 0 {
				t.Errorf("output %q, %v", text, err)
			}
			b.checkClean(t, job)
		})
	}
}

// TestALostExitEventIsFoundByTheTick: nothing tells of the end, so the slow tick must.
func TestALostExitEventIsFoundByTheTick(t *testing.T) {
	b := newBench(t)
	b.tick = 10 * time.Millisecond
	b.renew()
	defer b.run(t)()
	job := b.until(t, b.place(t, "# fake: lost-exit\nexit 7").Number, ended)
	if job.End.ExitCode != 7 {
		t.Errorf("end %+v, want exit code 7", job.End)
	}
	b.checkClean(t, job)
}

func TestAStartThatFailsIsTriedAgainUntilItsEndIsAsked(t *testing.T) {
	b := newBench(t)
	defer b.run(t)()
	job := b.place(t, "# fake: start-error\nexit 0")
	b.until(t, job.Number, func(j berth.Job) bool {
		return j.Wait == berth.WaitResources && strings.Contains(j.WaitDetail, "could not start the job")
	})
	b.apply(t, job.Number, berth.Event{Kind: berth.EventTerminateRequested, By: "ada"})
	job = b.until(t, job.Number, ended)
	if diff := cmp.Diff(berth.End{Reason: berth.EndCanceled, ExitCode: -1, By: "ada"}, job.End); diff != "" {
		t.Error(diff)
	}
	b.checkClean(t, job)
}

func TestEndsThatSomebodyAskedFor(t *testing.T) {
	tests := map[string]struct {
		script string
		kind   berth.EventKind
		by     string
		state  berth.State
		reason berth.EndReason
	}{
		"graceful":  {"trap 'exit 0' TERM\nsleep 1000", berth.EventStopRequested, "ada", berth.StateCompleted, berth.EndShutdown},
		"stubborn":  {"trap '' TERM\nsleep 1000", berth.EventStopRequested, "ada", berth.StateFailed, berth.EndShutdown},
		"terminate": {"sleep 1000", berth.EventTerminateRequested, "ada", berth.StateTerminated, berth.EndTerminated},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			defer b.run(t)()
			job := b.place(t, test.script)
			b.until(t, job.Number, in(berth.StateRunning))
			b.apply(t, job.Number, berth.Event{Kind: test.kind, By: test.by})
			job = b.until(t, job.Number, ended)
			if job.State != test.state || job.End.Reason != test.reason || job.End.By != test.by {
				t.Errorf("state %s, end %+v", job.State, job.End)
			}
			b.checkClean(t, job)
		})
	}
}

func TestTerminateAfterAStubbornShutdown(t *testing.T) {
	b := newBench(t)
	b.cfg.Grace = time.Hour
	defer b.run(t)()
	job := b.place(t, "trap '' TERM\nsleep 1000")
	b.until(t, job.Number, in(berth.StateRunning))
	b.apply(t, job.Number, berth.Event{Kind: berth.EventStopRequested, By: "ada"})
	b.until(t, job.Number, in(berth.StateStopping))
	b.apply(t, job.Number, berth.Event{Kind: berth.EventTerminateRequested, By: "bob"})
	job = b.until(t, job.Number, ended)
	if job.State != berth.StateTerminated || job.End.By != "bob" {
		t.Errorf("state %s, end %+v", job.State, job.End)
	}
}

func TestWalltime(t *testing.T) {
	b := newBench(t)
	defer b.run(t)()
	job := b.place(t, "sleep 1000", func(j *berth.Job) { j.Submission.Walltime = 50 * time.Millisecond })
	job = b.until(t, job.Number, ended)
	if job.State != berth.StateTerminated || job.End.Reason != berth.EndWalltime {
		t.Errorf("state %s, end %+v", job.State, job.End)
	}
	if job.Walltime() < 50*time.Millisecond {
		t.Errorf("ended after %s", job.Walltime())
	}
}

func TestPull(t *testing.T) {
	remote := func(j *berth.Job) { j.Image = remoteImage }
	t.Run("from the registry", func(t *testing.T) {
		b := newBench(t)
		defer b.run(t)()
		job := b.place(t, "exit 0", remote)
		b.until(t, job.Number, func(j berth.Job) bool { return j.Wait == berth.WaitImage && j.WaitDetail != "" })
		if job = b.until(t, job.Number, ended); job.State != berth.StateCompleted {
			t.Errorf("state %s, end %+v", job.State, job.End)
		}
		b.checkClean(t, job)
	})
	t.Run("refused", func(t *testing.T) {
		b := newBench(t)
		defer b.run(t)()
		job := b.place(t, "exit 0", func(j *berth.Job) { j.Image = "docker.io/library/nothing:latest" })
		job = b.until(t, job.Number, ended)
		if job.State != berth.StateCanceled || job.End.Reason != berth.EndRefused || job.End.Detail == "" {
			t.Errorf("state %s, end %+v", job.State, job.End)
		}
		b.checkClean(t, job)
	})
}

// silentRegistry does not answer for some pulls.
type silentRegistry struct {
	*fake.Engine
	pulls int
}

func (s *silentRegistry) Pull(ctx context.Context, ref string, credentials engine.Credentials, progress engine.Progress) error {
	if s.pulls--; s.pulls >= 0 {
		return errors.New("no answer")
	}
	return s.Engine.Pull(ctx, ref, credentials, progress)
}

// TestARegistryThatDoesNotAnswerIsToldOnce, however often it is asked.
func TestARegistryThatDoesNotAnswerIsToldOnce(t *testing.T) {
	b := newBench(t)
	b.cfg.Images = &silentRegistry{b.engine, 3}
	defer b.run(t)()
	job := b.place(t, "exit 0", func(j *berth.Job) { j.Image = remoteImage })
	var told []string
	for !ended(job) { // not by until, which may look ahead of the changes
		select {
		case job = <-b.changes:
		case <-time.After(time.Minute):
			t.Fatalf("the job does not end: %+v", job)
		}
		if job.Wait == berth.WaitImage {
			told = append(told, job.WaitDetail)
		}
	}
	want := []string{
		"Pulling busybox:latest",
		"The registry of busybox:latest does not answer as it should; trying again",
		"Pulling busybox:latest: 0.1 of 0.1 MB",
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Error(diff)
	}
	b.checkClean(t, job)
}
