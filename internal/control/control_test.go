package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
