package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/engine"
)

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
	if diff := cmp.Diff(berth.Capacity{Cores: 4, RAM: 4 << 30, Slots: 2}, job.Need.Times(job.Nodes())); diff != "" {
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
			if jobs, err := listed(b.Jobs(t.Context(), b.ada, JobsFilter{All: true})); err != nil || len(jobs) != 0 {
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
	if jobs, err := listed(b.Jobs(t.Context(), b.ada, JobsFilter{})); err != nil || len(jobs) != 0 {
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
	ada := b.ada
	ada.User.Billing = false
	again, err := b.Batch(t.Context(), ada, req)
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
			caller, err := b.Authenticate(t.Context(), test.username, test.key, "192.0.2.1")
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

// asked counts how often it is asked for an image.
type asked struct {
	localImages
	times int
}

func (a *asked) Image(ctx context.Context, ref string) (engine.Image, error) {
	a.times++
	return a.localImages.Image(ctx, ref)
}

// silent is a registry that does not answer.
type silent struct{ localImages }

func (silent) Pull(context.Context, string, engine.Credentials, engine.Progress) error {
	return errors.New("connection refused")
}

func TestASilentRegistryIsNoBug(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Images = silent{} })
	_, err := b.PullImage(t.Context(), b.admin, "library/x", "", nil)
	wantError(t, err, berth.Unavailable, "Image not pulled: the registry of x:latest does not answer as it should")
}

func (*asked) Pull(context.Context, string, engine.Credentials, engine.Progress) error { return nil }

// TestAPulledImageIsLookedAtAgain: what was known of it is old.
func TestAPulledImageIsLookedAtAgain(t *testing.T) {
	images := &asked{localImages: localImages{have: localImage}}
	b := newBench(t, func(c *Config) {
		now := time.Now()
		c.Images, c.Now = images, func() time.Time { return now }
	})
	b.submit(t)
	if b.submit(t); images.times != 1 {
		t.Errorf("asked %d times for two jobs", images.times)
	}
	if _, err := b.PullImage(t.Context(), b.admin, "local/x", "", nil); err != nil {
		t.Fatal(err)
	}
	before := images.times
	if b.submit(t); images.times != before+1 {
		t.Error("a job was checked with what was known before the pull")
	}
}

func TestMachines(t *testing.T) {
	b := newBench(t)
	for name, want := range map[string]int{"": 3, "all": 3, "n1": 1, "zz": 0} {
		if got, err := b.Machines(t.Context(), b.ada, name, "data"); err != nil || len(got) != want {
			t.Errorf("Machines(%q) = %d, %v; want %d", name, len(got), err, want)
		}
	}
	_, err := b.Machines(t.Context(), b.ada, "", "zz")
	wantError(t, err, berth.Invalid, "Invalid parameter(s)")
}
