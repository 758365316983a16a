package reconcile

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/store"
)

// placeApplication is place for the job of an application.
func (b *bench) placeApplication(t *testing.T, run *berth.Run) berth.Job {
	t.Helper()
	job := berth.Job{
		Name: "20260101000000-00000-app-ada_s1", Owner: "ada", Payer: "ada", Application: "app", Command: "Run", Image: localImage,
		Submitted: time.Now(), Need: berth.Capacity{Cores: 1, RAM: 1 << 28, Slots: 1},
		Submission: berth.Submission{
			App: "app", Command: "Run", Parameters: map[string]json.RawMessage{"a": json.RawMessage("1")}, Geometry: "1,920x1,080",
			Vault:    berth.VaultRequest{Name: berth.EphemeralVault},
			Identity: &berth.Identity{Username: "eve", Group: "staff", UID: 1001, GID: 1002},
		},
	}
	job, _, err := b.store.CreateJob(t.Context(), store.NewJob{Job: job, Run: run})
	if err != nil {
		t.Fatal(err)
	}
	return b.apply(t, job.Number, berth.Event{Kind: berth.EventPlaced, Attempt: berth.NewAttempt(job.Number, "x"), Hosts: []string{"host"}})
}

// TestSpecOfAnInteractiveBatchJob: people connect to it as to an application.
func TestSpecOfAnInteractiveBatchJob(t *testing.T) {
	b := newBench(t)
	job, _, err := b.store.CreateJob(t.Context(), store.NewJob{Job: berth.Job{
		Name: "20260101000000-00000-jarvice-batch-ada_s1", Owner: "ada", Payer: "ada", Image: localImage, Submitted: time.Now(),
		Need: berth.Capacity{Cores: 1, RAM: 1 << 28, Slots: 1},
		Submission: berth.Submission{
			Container: berth.Container{JobScript: "exec /sbin/init", Interactive: true}, Vault: berth.VaultRequest{Name: berth.EphemeralVault},
		},
	}, Run: &berth.Run{Interactive: true, Password: "secret", Random: "random"}})
	if err != nil {
		t.Fatal(err)
	}
	job = b.apply(t, job.Number, berth.Event{Kind: berth.EventPlaced, Attempt: berth.NewAttempt(job.Number, "x"), Hosts: []string{"host"}})
	got, _, err := b.spec(t.Context(), job, "")
	if err != nil {
		t.Fatal(err)
	}
	if got.Script != "exec /sbin/init" || !got.Init || got.Argv != nil || got.Password != "secret" || got.Random != "random" || len(got.Certificate) == 0 {
		t.Errorf("specification %+v", got)
	}
}

func TestSpecOfAnApplication(t *testing.T) {
	run := berth.Run{
		Argv: []string{"/bin/app", "a b"}, Variables: []berth.Setting{{Key: "LATE", Value: "1"}, {Key: "EARLY", Value: "2"}},
		Env: map[string]string{"E": "3"}, Files: []berth.File{{Path: "/opt/x", Data: []byte{0, 1}, Executable: true}},
		Init: true, VerboseInit: true, Password: "secret", Random: "random", Token: "token",
	}
	want := agentapi.Spec{
		Argv: run.Argv, Init: true, VerboseInit: true, Random: "random", Secrets: []string{"token", "secret"}, Env: run.Env,
		Variables: []agentapi.Setting{{Key: "JARVICE_VAULT_NAME", Value: "ephemeral"}, {Key: "LATE", Value: "1"}, {Key: "EARLY", Value: "2"}},
		Files:     []agentapi.File{{Path: "/opt/x", Data: []byte{0, 1}, Executable: true}},
		User:      agentapi.User{Name: "eve", Group: "staff", UID: 1001, GID: 1002},
	}
	tests := map[string]func(run *berth.Run, want *agentapi.Spec){
		"arguments": func(*berth.Run, *agentapi.Spec) {},
		"a shell's text": func(run *berth.Run, want *agentapi.Spec) {
			run.Shell, want.Shell, want.Argv = `/bin/app "a b"`, `/bin/app "a b"`, nil
		},
		"interactive": func(run *berth.Run, want *agentapi.Spec) {
			run.Interactive, want.Geometry = true, "1920x1080"
			want.Password, want.Secrets = "secret", []string{"token"}
		},
		"its path": func(run *berth.Run, want *agentapi.Spec) {
			run.Argv, run.BasePath, run.NumberMark = []string{"/bin/app", "/jobs/MARK/8888"}, "jobs/MARK/8888", "MARK"
			want.Argv = []string{"/bin/app", "/jobs/1/8888"}
			want.Variables = append(want.Variables, agentapi.Setting{Key: "JARVICE_INGRESSPATH", Value: "jobs/1/8888"})
		},
		"web shell": func(run *berth.Run, want *agentapi.Spec) { run.Webshell, want.Terminal = true, true },
		"no token":  func(run *berth.Run, want *agentapi.Spec) { run.Token, want.Secrets = "", []string{"secret"} },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			run, want := run, want
			change(&run, &want)
			b := newBench(t)
			got, _, err := b.spec(t.Context(), b.placeApplication(t, &run), "")
			if err != nil {
				t.Fatal(err)
			}
			if has := len(got.Certificate) > 0; has != run.Interactive {
				t.Errorf("it has a certificate: %v; want one for what people connect to only", has)
			}
			// What every job has is seen elsewhere.
			got.Job, got.Name, got.Label, got.Hostname, got.Nodes, got.Data, got.Grace, got.Certificate = 0, "", "", "", nil, agentapi.Data{}, 0, nil
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("specification (-want +got):\n%s", diff)
			}
		})
	}
}

// watchedStore counts who asks for what jobs run, and fails when it is told to.
type watchedStore struct {
	Store
	asked, failures atomic.Int64
}

func (s *watchedStore) Run(ctx context.Context, number int64) (berth.Run, bool, error) {
	s.asked.Add(1)
	if s.failures.Add(-1) >= 0 {
		return berth.Run{}, false, errors.New("the database does not answer")
	}
	return s.Store.Run(ctx, number)
}

// TestLifeOfAnApplicationsJob: once it runs nobody asks what it runs, and with its end its secrets are gone.
func TestLifeOfAnApplicationsJob(t *testing.T) {
	b := newBench(t)
	watched := &watchedStore{Store: b.store}
	watched.failures.Store(2)
	b.cfg.Store = watched
	stop := b.run(t)
	job := b.placeApplication(t, &berth.Run{Argv: []string{"sleep", "1000"}, Password: "secret"})
	b.until(t, job.Number, in(berth.StateRunning))
	stop()
	asked := watched.asked.Load()
	if asked != 3 {
		t.Errorf("asked %d times what it runs; want twice in vain and once", asked)
	}
	b.renew()
	b.cfg.Store = watched
	defer b.run(t)()
	b.apply(t, job.Number, berth.Event{Kind: berth.EventTerminateRequested, By: "ada"})
	job = b.until(t, job.Number, ended)
	if watched.asked.Load() != asked || job.State != berth.StateTerminated {
		t.Errorf("state %s, asked %d times more what it runs", job.State, watched.asked.Load()-asked)
	}
	b.checkClean(t, job)
}

func TestABatchJobIsNotAskedFor(t *testing.T) {
	b := newBench(t)
	watched := &watchedStore{Store: b.store}
	b.cfg.Store = watched
	defer b.run(t)()
	job := b.until(t, b.place(t, "exit 0").Number, ended)
	if watched.asked.Load() != 0 || job.State != berth.StateCompleted {
		t.Errorf("state %s, asked %d times what it runs", job.State, watched.asked.Load())
	}
}

func TestAJobWhoseRunIsLostIsRefused(t *testing.T) {
	b := newBench(t)
	defer b.run(t)()
	job := b.until(t, b.placeApplication(t, nil).Number, ended)
	if diff := cmp.Diff(berth.End{Reason: berth.EndRefused, ExitCode: -1, Detail: "what the job was to run has been lost"}, job.End); diff != "" {
		t.Errorf("end (-want +got):\n%s", diff)
	}
	b.checkClean(t, job)
}

func TestDesktopSize(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{
		"1280x720": "1280x720", "1,920x1,080": "1920x1080", "": "", "x": "", "0x5": "", "-1x5": "", "12x": "", "1x2x3": "", "1x2\nPATH=": "", "99999x1": "",
	} {
		if got := desktopSize(sent); got != want {
			t.Errorf("%q became %q; want %q", sent, got, want)
		}
	}
}

func TestCertificate(t *testing.T) {
	t.Parallel()
	now := time.Now()
	text, err := newCertificate("jarvice-job-7", now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		t.Fatal(err)
	}
	if err := pair.Leaf.VerifyHostname("jarvice-job-7"); err != nil {
		t.Error(err)
	}
	if err := pair.Leaf.CheckSignature(pair.Leaf.SignatureAlgorithm, pair.Leaf.RawTBSCertificate, pair.Leaf.Signature); err != nil {
		t.Error(err)
	}
	if now.Before(pair.Leaf.NotBefore) || now.AddDate(9, 0, 0).After(pair.Leaf.NotAfter) {
		t.Errorf("valid from %v to %v; want now and for years", pair.Leaf.NotBefore, pair.Leaf.NotAfter)
	}
	again, err := newCertificate("jarvice-job-7", now)
	if err != nil || cmp.Equal(text, again) {
		t.Errorf("two jobs have the same key (%v)", err)
	}
}
