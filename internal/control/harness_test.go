package control

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/fake"
	"github.com/berth-hpc/berth/internal/output"
	"github.com/berth-hpc/berth/internal/store"
	"github.com/berth-hpc/berth/internal/usage"
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

// sampled has measured every job, or none.
type sampled struct{ none bool }

func (s sampled) Usage(int64) ([]usage.Sample, bool) {
	return []usage.Sample{{CPU: 97, Memory: 1 << 20, MemoryLimit: 1 << 30, At: time.Unix(1, 0)}}, !s.none
}

// foreseen is what every queued job is told.
type foreseen berth.Forecast

func (f foreseen) Forecast(context.Context, berth.Job) (berth.Forecast, error) {
	return berth.Forecast(f), nil
}

// bench is a service on the real store and output files, and the fake engine. Ada is in the team red, which tess administers, paul
// pays for and mia is a member of. Bob is in no team, root is an administrator. Reader is ada with a key for reading, readerRoot
// root with one.
type bench struct {
	*Service
	store  *store.Store
	engine *fake.Engine
	files  *output.Files
	// deaf keeps what happens to jobs from the service, as when a commit ends in doubt.
	deaf atomic.Bool

	ada, bob, admin, tess, paul, mia, reader, readerRoot berth.Caller
}

const localImage = "docker.io/local/x:latest"

func newBench(t *testing.T, change ...func(*Config)) *bench {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	changes := &Changes{}
	b := &bench{
		files: output.New(t.TempDir(), log),
		engine: fake.New(fake.Config{
			Images: []string{localImage}, Actions: map[string]agentapi.Action{"hello": {Args: "echo hello", Alt: "Say hello"}},
		}),
	}
	t.Cleanup(b.engine.Close)
	st, err := store.Open(t.Context(), store.Config{
		DSN: "sqlite:" + filepath.Join(t.TempDir(), "berth.db"), Log: log,
		OnChange: func(job berth.Job, record berth.Record) {
			if !b.deaf.Load() {
				changes.Publish(job, record)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	b.store = st
	b.accounts(t)
	act := berth.Act{Kind: berth.ActMachineSet, By: berth.ByServer}
	err = st.SetMachines(t.Context(), []berth.Machine{
		{Name: "n0", Cores: 1, RAM: 1 << 30, ScaleMin: 1, ScaleMax: 1},
		{Name: "n1", Cores: 2, RAM: 2 << 30, ScaleMin: 1, ScaleMax: 4, Grace: time.Minute, Scratch: 1 << 40},
		{Name: "p0", Cores: 1, RAM: 1 << 30, ScaleMin: 1, ScaleMax: 1, Personal: true, Position: 1},
	}, act)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Store: st, Images: localImages{have: localImage}, Checker: answers{errors.New("no registry")}, Outputs: b.files,
		Agents: b.engine, Usage: sampled{}, Forecaster: foreseen{Position: 1}, Changes: changes,
		Vaults: func(user string) []berth.Vault {
			return []berth.Vault{{Name: "data", Owner: user, Kind: berth.VaultFile, Path: "/vaults/" + user}}
		},
		VaultDirs: &fakeDirs{}, Volumes: &fakeVolumes{}, Seal: fakeSeal, OpenVault: openNothing, LookAtKept: func(int64) {},
		CheckScratch: func() error { return nil }, EngineReady: func(context.Context) error { return nil }, Log: log,
	}
	for _, f := range change {
		f(&cfg)
	}
	b.Service = New(cfg)
	return b
}

// accounts makes the users and the team.
func (b *bench) accounts(t *testing.T) {
	t.Helper()
	act := berth.Act{Kind: berth.ActUserAdded, By: berth.ByServer}
	create := func(user berth.User) {
		t.Helper()
		user.Billing, act.Subject = true, user.Name
		err := b.store.CreateUser(t.Context(), store.NewUser{
			User: user, Key: berth.Key{ID: user.Name}, KeyHash: HashKey("key of " + user.Name),
			Vaults: []berth.Vault{{Name: "data", Owner: user.Name, Kind: berth.VaultFile, Path: "/vaults/" + user.Name}},
		}, act)
		if err != nil {
			t.Fatal(err)
		}
	}
	create(berth.User{Name: "paul"})
	if err := b.store.CreateTeam(t.Context(), berth.Team{Name: "red", Payer: "paul"}, act); err != nil {
		t.Fatal(err)
	}
	create(berth.User{Name: "ada", Team: "red"})
	create(berth.User{Name: "tess", Team: "red", TeamAdmin: true})
	create(berth.User{Name: "mia", Team: "red"})
	create(berth.User{Name: "bob"})
	create(berth.User{Name: "root", Admin: true})
	for name, caller := range map[string]*berth.Caller{
		"ada": &b.ada, "bob": &b.bob, "root": &b.admin, "tess": &b.tess, "paul": &b.paul, "mia": &b.mia,
	} {
		user, err := b.store.User(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		*caller = berth.Caller{User: user, KeyID: name, From: "192.0.2.7"}
	}
	b.reader, b.readerRoot = b.ada, b.admin
	b.reader.ReadOnly, b.readerRoot.ReadOnly = true, true
}

func request() BatchRequest {
	return BatchRequest{Submission: berth.Submission{
		Container: berth.Container{Image: "local/x", JobScript: "true"}, Machine: berth.MachineRequest{Type: "n0"},
	}}
}

func (b *bench) submit(t *testing.T) berth.Job { return b.submitBy(t, b.ada) }

func (b *bench) submitBy(t *testing.T, caller berth.Caller) berth.Job {
	t.Helper()
	job, err := b.Batch(t.Context(), caller, request())
	if err != nil {
		t.Fatal(err)
	}
	return job
}

func (b *bench) apply(t *testing.T, number int64, kinds ...berth.EventKind) {
	t.Helper()
	for _, kind := range kinds {
		ev := berth.Event{
			Kind: kind, At: time.Now(), Attempt: berth.NewAttempt(number, "x"), Hosts: []string{"h"}, Exit: berth.Exit{Known: true, Ran: true},
			Wait: berth.WaitImage,
		}
		if _, err := b.store.Apply(t.Context(), number, ev); err != nil {
			t.Fatal(err)
		}
	}
}

// run submits a job of ada and runs a script for it in the fake engine.
func (b *bench) run(t *testing.T, script string) JobRef {
	t.Helper()
	req := request()
	req.Submission.Container.Interactive = true
	job, err := b.Batch(t.Context(), b.ada, req)
	if err != nil {
		t.Fatal(err)
	}
	b.start(t, job, script)
	return JobRef{Number: job.Number}
}

// start runs a script for a job in the fake engine.
func (b *bench) start(t *testing.T, job berth.Job, script string) {
	t.Helper()
	dir := t.TempDir()
	spec, err := json.Marshal(agentapi.Spec{Job: job.Number, Script: script})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, agentapi.SpecFile), spec, 0o600); err != nil {
		t.Fatal(err)
	}
	b.apply(t, job.Number, berth.EventPlaced)
	err = b.engine.Start(t.Context(), engine.Attempt{
		ID: berth.NewAttempt(job.Number, "x"), Job: job.Number, Image: localImage, Cores: 1, RAM: 1 << 20, Dir: dir,
	})
	if err != nil {
		t.Fatal(err)
	}
	b.apply(t, job.Number, berth.EventStarted)
}

// wantError checks an error's kind and public text.
func wantError(t *testing.T, err error, kind berth.Kind, text string) {
	t.Helper()
	var e *berth.Error
	if !errors.As(err, &e) || e.Kind != kind || !strings.HasPrefix(e.Public(), text) {
		t.Errorf("error %v (kind %s), want %s %q", err, berth.KindOf(err), kind, text)
	}
}

// lastRecord returns the last record of the log that somebody is behind.
func (b *bench) lastRecord(t *testing.T) berth.Record {
	t.Helper()
	records, err := b.store.Audit(t.Context(), store.AuditFilter{Limit: 1})
	if err != nil || len(records) != 1 {
		t.Fatalf("the audit log: %v, %v", records, err)
	}
	return records[0]
}
