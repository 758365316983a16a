package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/output"
	"github.com/berth-hpc/berth/internal/store"
)

type imageStore = engine.Images

// localImages is an image store with one image.
type localImages struct {
	imageStore // what is not asked here
	have       string
	err        error
}

func (l localImages) Image(_ context.Context, ref string) (engine.Image, error) {
	switch {
	case l.err != nil:
		return engine.Image{}, l.err
	case ref != l.have:
		return engine.Image{}, engine.ErrNotFound
	}
	return engine.Image{Name: ref}, nil
}

// answers is a registry that always answers the same.
type answers struct{ err error }

func (a answers) Check(context.Context, string, string) error { return a.err }

type bench struct {
	*Service
	store *store.Store
	files *output.Files
	ada   berth.Caller
	bob   berth.Caller
	admin berth.Caller
}

const localImage = "docker.io/local/x:latest"

func newBench(t *testing.T, change ...func(*Config)) *bench {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	changes := &Changes{}
	st, err := store.Open(t.Context(), store.Config{
		DSN: "sqlite:" + filepath.Join(t.TempDir(), "berth.db"), Log: log,
		OnChange: func(job berth.Job, _ berth.Event) { changes.Publish(job.Number) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	b := &bench{store: st, files: output.New(t.TempDir(), log)}
	for name, caller := range map[string]*berth.Caller{"ada": &b.ada, "bob": &b.bob, "root": &b.admin} {
		caller.User = berth.User{Name: name, Billing: true, Admin: name == "root"}
		vaults := []berth.Vault{{Name: "data", Owner: name, Kind: berth.VaultFile, Path: "/vaults/" + name}}
		if err := st.CreateUser(t.Context(), caller.User, HashKey("key of "+name), vaults); err != nil {
			t.Fatal(err)
		}
	}
	err = st.SetMachines(t.Context(), []berth.Machine{
		{Name: "n0", Cores: 1, RAM: 1 << 30, ScaleMin: 1, ScaleMax: 1}, {Name: "n1", Cores: 2, RAM: 2 << 30, ScaleMin: 1, ScaleMax: 4},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Store: st, Images: localImages{have: localImage}, Checker: answers{errors.New("no registry")}, Outputs: b.files, Changes: changes,
		EngineReady: func(context.Context) error { return nil }, Log: log,
	}
	for _, f := range change {
		f(&cfg)
	}
	b.Service = New(cfg)
	return b
}

func request() BatchRequest {
	return BatchRequest{Submission: berth.Submission{
		Container: berth.Container{Image: "local/x", JobScript: "true"}, Machine: berth.MachineRequest{Type: "n0"},
	}}
}

func (b *bench) submit(t *testing.T) berth.Job {
	t.Helper()
	job, err := b.Batch(t.Context(), b.ada, request())
	if err != nil {
		t.Fatal(err)
	}
	return job
}

func (b *bench) apply(t *testing.T, number int64, kinds ...berth.EventKind) {
	t.Helper()
	for _, kind := range kinds {
		ev := berth.Event{Kind: kind, At: time.Now(), Attempt: "berth-1-x", Host: "h", Exit: berth.Exit{Known: true, Ran: true}}
		if _, err := b.store.Apply(t.Context(), number, ev); err != nil {
			t.Fatal(err)
		}
	}
}

// wantError checks an error's kind and public text.
func wantError(t *testing.T, err error, kind berth.Kind, text string) {
	t.Helper()
	var e *berth.Error
	if !errors.As(err, &e) || e.Kind != kind || !strings.HasPrefix(e.Public(), text) {
		t.Errorf("error %v (kind %s), want %s %q", err, berth.KindOf(err), kind, text)
	}
}

func TestBatchStoresAQueuedJob(t *testing.T) {
	b := newBench(t)
	req := request()
	req.PullSecret = "secret"
	req.Submission.Machine = berth.MachineRequest{Type: "n1", Nodes: 2}
	job, err := b.Batch(t.Context(), b.ada, req)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := b.store.Job(t.Context(), job.Number)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(job, stored); diff != "" {
		t.Errorf("answered and stored differ:\n%s", diff)
	}
	if !strings.HasSuffix(job.Name, "-jarvice-batch-ada_s1") || job.State != berth.StateQueued || job.Image != localImage {
		t.Errorf("job %+v", job)
	}
	if diff := cmp.Diff(berth.Capacity{Cores: 4, RAM: 4 << 30, Slots: 2}, job.Need); diff != "" {
		t.Error(diff)
	}
	if job.Submission.Vault.Name != berth.EphemeralVault {
		t.Errorf("vault %q, want the ephemeral one", job.Submission.Vault.Name)
	}
	if secret, err := b.store.PullSecret(t.Context(), job.Number); err != nil || secret != "secret" {
		t.Errorf("pull secret %q, %v", secret, err)
	}
}

func TestBatchRefuses(t *testing.T) {
	refused := fmt.Errorf("no such image: %w", engine.ErrRefused)
	tests := map[string]struct {
		change  func(*BatchRequest)
		service func(*Config)
		kind    berth.Kind
		text    string
	}{
		"no machine type":      {change: func(r *BatchRequest) { r.Submission.Machine.Type = "" }, kind: berth.Invalid, text: `Missing or Malformed API Syntax: machine.type: "" is not one of n0, n1`},
		"unknown machine type": {change: func(r *BatchRequest) { r.Submission.Machine.Type = "zz" }, kind: berth.Invalid, text: `Missing or Malformed API Syntax: machine.type: "zz" is not one of n0, n1`},
		"too many nodes":       {change: func(r *BatchRequest) { r.Submission.Machine.Nodes = 2 }, kind: berth.Invalid, text: "Missing or Malformed API Syntax: machine.nodes: 2 is not within 1 to 1"},
		"unknown vault":        {change: func(r *BatchRequest) { r.Submission.Vault.Name = "zz" }, kind: berth.Invalid, text: `Missing or Malformed API Syntax: vault.name: you have no vault "zz"`},
		"no image":             {change: func(r *BatchRequest) { r.Submission.Container.Image = "" }, kind: berth.Invalid, text: "Invalid container in request: container.image: "},
		"bad image":            {change: func(r *BatchRequest) { r.Submission.Container.Image = "a b" }, kind: berth.Invalid, text: "Invalid container in request: container.image: "},
		"no script":            {change: func(r *BatchRequest) { r.Submission.Container.JobScript = "" }, kind: berth.Invalid, text: "Missing or Malformed API Syntax: container.jobscript: "},
		"refused by the registry": {
			change: func(r *BatchRequest) { r.Submission.Container.Image = "other" }, service: func(c *Config) { c.Checker = answers{refused} },
			kind: berth.Invalid, text: "Container cannot create Application",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(c *Config) {
				if test.service != nil {
					test.service(c)
				}
			})
			req := request()
			test.change(&req)
			_, err := b.Batch(t.Context(), b.ada, req)
			wantError(t, err, test.kind, test.text)
			if jobs, err := b.Jobs(t.Context(), b.ada, JobsFilter{All: true}); err != nil || len(jobs) != 0 {
				t.Errorf("%d jobs are stored, %v", len(jobs), err)
			}
		})
	}
}

func TestNotKnowingIsNoRefusal(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"the registry does not answer":    func(c *Config) { c.Images = localImages{have: "another"} },
		"the image store does not answer": func(c *Config) { c.Images = localImages{err: errors.New("broken")} },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, change)
			if job := b.submit(t); job.Number == 0 {
				t.Error("the job was not stored")
			}
		})
	}
}

func TestBillingSwitchedOff(t *testing.T) {
	b := newBench(t)
	b.ada.User.Billing = false
	_, err := b.Batch(t.Context(), b.ada, request())
	wantError(t, err, berth.Unauthenticated, "Account billing not active")
}

func TestNoSubmitStoresNothing(t *testing.T) {
	b := newBench(t)
	req := request()
	req.Submission.NoSubmit = true
	job, err := b.Batch(t.Context(), b.ada, req)
	if err != nil || job.Number != 0 || job.Name == "" {
		t.Errorf("job %+v, %v", job, err)
	}
	if jobs, err := b.Jobs(t.Context(), b.ada, JobsFilter{}); err != nil || len(jobs) != 0 {
		t.Errorf("%d jobs are stored, %v", len(jobs), err)
	}
}

func TestSameRequestSameJob(t *testing.T) {
	images := localImages{have: localImage}
	b := newBench(t, func(c *Config) { c.Images = &images })
	req := request()
	req.IdempotencyKey, req.RequestHash = "key", "hash"
	first, err := b.Batch(t.Context(), b.ada, req)
	if err != nil {
		t.Fatal(err)
	}
	images.have = "gone by now"
	again, err := b.Batch(t.Context(), b.ada, req)
	if err != nil || again.Number != first.Number {
		t.Errorf("the retry is job %d, %v; want %d", again.Number, err, first.Number)
	}
	req.RequestHash = "another"
	_, err = b.Batch(t.Context(), b.ada, req)
	if berth.KindOf(err) != berth.Conflict {
		t.Errorf("another request under the same key: %v, want a conflict", err)
	}
	other, err := b.Batch(t.Context(), b.bob, req)
	if err != nil || other.Number == first.Number {
		t.Errorf("another user's key: job %d, %v", other.Number, err)
	}
}

func TestATakenNameIsReplaced(t *testing.T) {
	calls := 0
	b := newBench(t, func(c *Config) {
		c.Now = func() time.Time { return time.Unix(1, 0) }
		c.Random = func(n int) []byte {
			calls++
			return []byte(strings.Repeat(string(rune('a'+calls/3)), n)) // three submissions in a row draw the same
		}
	})
	seen := make(map[string]bool)
	for range 3 {
		if job := b.submit(t); seen[job.Name] {
			t.Errorf("name %s was given twice", job.Name)
		} else {
			seen[job.Name] = true
		}
	}
}

func TestAuthenticate(t *testing.T) {
	b := newBench(t)
	for name, test := range map[string]struct {
		username, key string
		ok            bool
	}{
		"name and key":        {"ada", "key of ada", true},
		"bearer key":          {"", "key of ada", true},
		"wrong key":           {"ada", "key of nobody", false},
		"another's key":       {"ada", "key of bob", false},
		"no key":              {"ada", "", false},
		"the hash of the key": {"ada", HashKey("key of ada"), false},
	} {
		t.Run(name, func(t *testing.T) {
			caller, err := b.Authenticate(t.Context(), test.username, test.key)
			if test.ok && (err != nil || caller.User.Name != "ada") {
				t.Errorf("caller %+v, %v", caller, err)
			}
			if !test.ok {
				wantError(t, err, berth.Unauthenticated, "Unauthorized")
			}
		})
	}
}

func TestNewKey(t *testing.T) {
	key := NewKey()
	if len(key) != 32 || strings.Trim(key, "0123456789abcdefghijklmnopqrstuv") != "" || key == NewKey() {
		t.Errorf("key %q", key)
	}
}

func TestOthersJobsDoNotExist(t *testing.T) {
	b := newBench(t)
	job := b.submit(t)
	ref := JobRef{Number: job.Number}
	for name, use := range map[string]func(berth.Caller) error{
		"job":       func(c berth.Caller) error { _, err := b.Job(t.Context(), c, ref); return err },
		"by name":   func(c berth.Caller) error { _, err := b.Job(t.Context(), c, JobRef{Name: job.Name}); return err },
		"tail":      func(c berth.Caller) error { _, err := b.Tail(t.Context(), c, ref, 0); return err },
		"output":    func(c berth.Caller) error { _, err := b.Output(t.Context(), c, ref, 0); return err },
		"follow":    func(c berth.Caller) error { _, err := b.OpenOutput(t.Context(), c, ref, 0, true); return err },
		"wait":      func(c berth.Caller) error { _, err := b.Wait(t.Context(), c, ref); return err },
		"shutdown":  func(c berth.Caller) error { return b.Shutdown(t.Context(), c, ref) },
		"terminate": func(c berth.Caller) error { return b.Terminate(t.Context(), c, ref) },
	} {
		wantError(t, use(b.bob), berth.NotFound, "Not found")
		if t.Failed() {
			t.Fatalf("%s by another user", name)
		}
	}
	if _, err := b.Job(t.Context(), b.admin, ref); err != nil {
		t.Errorf("an administrator: %v", err)
	}
	if jobs, err := b.Jobs(t.Context(), b.bob, JobsFilter{All: true, Team: true}); err != nil || len(jobs) != 0 {
		t.Errorf("bob sees %d jobs, %v", len(jobs), err)
	}
	if jobs, err := b.Jobs(t.Context(), b.admin, JobsFilter{Team: true}); err != nil || len(jobs) != 1 {
		t.Errorf("the administrator sees %d jobs, %v", len(jobs), err)
	}
}

func TestJobReferences(t *testing.T) {
	b := newBench(t)
	first, second := b.submit(t), b.submit(t)
	if job, err := b.Job(t.Context(), b.ada, JobRef{Number: first.Number, Name: first.Name}); err != nil || job.Number != first.Number {
		t.Errorf("both of one job: %v", err)
	}
	_, err := b.Job(t.Context(), b.ada, JobRef{Number: first.Number, Name: second.Name})
	wantError(t, err, berth.Invalid, "Bad Request")
	_, err = b.Job(t.Context(), b.ada, JobRef{})
	wantError(t, err, berth.Invalid, "No job specified")
	_, err = b.Job(t.Context(), b.ada, JobRef{Number: 99})
	wantError(t, err, berth.NotFound, "Not found")
}

func TestWishes(t *testing.T) {
	b := newBench(t)
	queued := JobRef{Number: b.submit(t).Number}
	if err := b.Shutdown(t.Context(), b.ada, queued); err != nil {
		t.Fatal(err)
	}
	job, err := b.Job(t.Context(), b.ada, queued)
	if err != nil || job.State != berth.StateCanceled || job.End.By != "ada" {
		t.Errorf("a queued job after shutdown: %+v, %v", job, err)
	}
	wantError(t, b.Shutdown(t.Context(), b.ada, queued), berth.NotFound, "Running job is not found")
	wantError(t, b.Terminate(t.Context(), b.ada, queued), berth.NotFound, "Running job is not found")

	running := JobRef{Number: b.submit(t).Number}
	b.apply(t, running.Number, berth.EventPlaced, berth.EventStarted)
	for range 2 { // safe to repeat
		if err := b.Terminate(t.Context(), b.ada, running); err != nil {
			t.Fatal(err)
		}
	}
	job, err = b.Job(t.Context(), b.ada, running)
	if err != nil || job.State != berth.StateRunning || job.Wish != berth.WishTerminate {
		t.Errorf("a running job after terminate: %+v, %v", job, err)
	}
}

func (b *bench) write(t *testing.T, number int64, text string) {
	t.Helper()
	if err := os.MkdirAll(b.files.Dir(number), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.files.Dir(number), "output"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTailAndOutputByState(t *testing.T) {
	b := newBench(t)
	job := b.submit(t)
	ref := JobRef{Number: job.Number}
	_, err := b.Tail(t.Context(), b.ada, ref, 0)
	wantError(t, err, berth.NotFound, "Running job is not found")
	b.apply(t, job.Number, berth.EventPlaced, berth.EventStarted)
	b.write(t, job.Number, "one\ntwo\n")
	if got, err := b.Tail(t.Context(), b.ada, ref, 1); err != nil || string(got) != "two\n" {
		t.Errorf("tail %q, %v", got, err)
	}
	_, err = b.Output(t.Context(), b.ada, ref, 0)
	wantError(t, err, berth.NotFound, "Finished job is not found")
	b.apply(t, job.Number, berth.EventEnded)
	if got, err := b.Output(t.Context(), b.ada, ref, 0); err != nil || string(got) != "one\ntwo\n" {
		t.Errorf("output %q, %v", got, err)
	}
	_, err = b.Tail(t.Context(), b.ada, ref, 1)
	wantError(t, err, berth.NotFound, "Running job is not found")
}

// TestFollowFromBeforeTheStart opens the output of a queued job: the reader gets all of it and ends with the job.
func TestFollowFromBeforeTheStart(t *testing.T) {
	b := newBench(t)
	job := b.submit(t)
	r, err := b.OpenOutput(t.Context(), b.ada, JobRef{Number: job.Number}, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := make(chan string, 1)
	go func() {
		text, err := io.ReadAll(r)
		got <- fmt.Sprintf("%s %v", text, err)
	}()
	b.write(t, job.Number, "text")
	b.apply(t, job.Number, berth.EventPlaced, berth.EventStarted, berth.EventEnded)
	if text := <-got; text != "text <nil>" {
		t.Errorf("followed %q", text)
	}
}

func TestWait(t *testing.T) {
	b := newBench(t)
	job := b.submit(t)
	ended := make(chan berth.Job, 1)
	go func() {
		job, err := b.Wait(t.Context(), b.ada, JobRef{Number: job.Number})
		if err != nil {
			t.Error(err)
		}
		ended <- job
	}()
	b.apply(t, job.Number, berth.EventPlaced, berth.EventStarted, berth.EventEnded)
	if job := <-ended; job.State != berth.StateCompleted {
		t.Errorf("Wait returned a job that is %s", job.State)
	}
	other := b.submit(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if job, err := b.Wait(ctx, b.ada, JobRef{Number: other.Number}); err == nil && job.State != berth.StateQueued {
		t.Errorf("a Wait that ends early: %+v, %v", job, err)
	}
}

func TestJobsByState(t *testing.T) {
	b := newBench(t)
	queued, running, done, later := b.submit(t), b.submit(t), b.submit(t), b.submit(t)
	b.apply(t, running.Number, berth.EventPlaced, berth.EventStarted)
	b.apply(t, done.Number, berth.EventPlaced, berth.EventStarted, berth.EventEnded)
	b.apply(t, later.Number, berth.EventTerminateRequested)
	for name, test := range map[string]struct {
		filter JobsFilter
		want   []int64
	}{
		"by default what has not ended": {JobsFilter{}, []int64{queued.Number, running.Number}},
		"ended, newest first":           {JobsFilter{Ended: true}, []int64{later.Number, done.Number}},
		"all":                           {JobsFilter{All: true}, []int64{queued.Number, running.Number, later.Number, done.Number}},
	} {
		t.Run(name, func(t *testing.T) {
			jobs, err := b.Jobs(t.Context(), b.ada, test.filter)
			if err != nil {
				t.Fatal(err)
			}
			var got []int64
			for _, job := range jobs {
				got = append(got, job.Number)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestImagesAreTheAdministrators(t *testing.T) {
	b := newBench(t)
	_, err := b.ImportImage(t.Context(), b.ada, strings.NewReader(""), ImportRequest{Name: "x"}, nil)
	wantError(t, err, berth.Forbidden, "Only an administrator")
	wantError(t, b.RemoveImage(t.Context(), b.ada, "x"), berth.Forbidden, "Only an administrator")
	_, err = b.PullImage(t.Context(), b.ada, "x", "", nil)
	wantError(t, err, berth.Forbidden, "Only an administrator")
	_, err = b.ImportImage(t.Context(), b.admin, strings.NewReader(""), ImportRequest{Rootfs: true}, nil)
	wantError(t, err, berth.Invalid, "A root filesystem has no name of its own")
}

func TestMachines(t *testing.T) {
	b := newBench(t)
	for name, want := range map[string]int{"": 2, "all": 2, "n1": 1, "zz": 0} {
		if got, err := b.Machines(t.Context(), b.ada, name, "data"); err != nil || len(got) != want {
			t.Errorf("Machines(%q) = %d, %v; want %d", name, len(got), err, want)
		}
	}
	_, err := b.Machines(t.Context(), b.ada, "", "zz")
	wantError(t, err, berth.Invalid, "Invalid parameter(s)")
}
