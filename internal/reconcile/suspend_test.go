package reconcile

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
)

// limit is a walltime that no test takes: their time goes on as they want.
const limit = time.Hour

// suspended places a job and suspends it.
func (b *bench) suspended(t *testing.T) berth.Job {
	t.Helper()
	job := b.place(t, "sleep 1000", func(j *berth.Job) { j.Submission.Walltime = limit })
	b.until(t, job.Number, in(berth.StateRunning))
	return b.apply(t, job.Number, berth.Event{Kind: berth.EventSignaled, By: "ada", Signal: berth.SignalSuspend})
}

// later has so much time go by, and wakes the reconciler as its timer would.
func (b *bench) later(job berth.Job, d time.Duration) {
	b.ahead.Add(int64(d))
	b.poke(job.Number)
}

// TestSuspendedTimeCountsAsWalltime: the limit ends a job that is suspended, at its time.
func TestSuspendedTimeCountsAsWalltime(t *testing.T) {
	b := newBench(t)
	defer b.run(t)()
	job := b.suspended(t)
	b.later(job, limit)
	job = b.until(t, job.Number, ended)
	if job.End.Reason != berth.EndWalltime {
		t.Errorf("end %+v", job.End)
	}
}

// TestSuspendedTimeIsFree: a suspended job outlives its limit, and after it goes on it has what was left of it.
func TestSuspendedTimeIsFree(t *testing.T) {
	b := newBench(t)
	b.cfg.SuspendedFree = true
	defer b.run(t)()
	job := b.suspended(t)
	outlives := func(what string) {
		t.Helper()
		if more, err := b.step(t.Context(), job.Number); err != nil || more {
			t.Fatalf("step = %v, %v", more, err)
		}
		if job, err := b.store.Job(t.Context(), job.Number); err != nil || job.State != berth.StateRunning {
			t.Fatalf("%s it is %s, %v", what, job.State, err)
		}
	}
	b.later(job, 2*limit)
	outlives("suspended")
	b.apply(t, job.Number, berth.Event{Kind: berth.EventSignaled, By: "ada", Signal: berth.SignalContinue})
	outlives("after it goes on")
	b.later(job, limit)
	job = b.until(t, job.Number, ended)
	if job.End.Reason != berth.EndWalltime {
		t.Errorf("end %+v", job.End)
	}
	if ran := job.Walltime() - job.SuspendedFor; ran < limit {
		t.Errorf("it ran %s of its %s", ran, limit)
	}
}

// TestGraceOfTheJob: what the machine type gave goes before what the server gives.
func TestGraceOfTheJob(t *testing.T) {
	b := newBench(t)
	b.cfg.Grace = time.Hour
	defer b.run(t)()
	job := b.place(t, "trap '' TERM\nsleep 1000", func(j *berth.Job) { j.Grace = 10 * time.Millisecond })
	b.until(t, job.Number, in(berth.StateRunning))
	if spec := b.readSpec(t, job); spec.Grace != 10*time.Millisecond {
		t.Errorf("the agent is told a grace of %s", spec.Grace)
	}
	b.apply(t, job.Number, berth.Event{Kind: berth.EventStopRequested, By: "ada"})
	if job = b.until(t, job.Number, ended); job.End.Reason != berth.EndShutdown || job.State != berth.StateFailed {
		t.Errorf("state %s, end %+v", job.State, job.End)
	}
}

func (b *bench) readSpec(t *testing.T, job berth.Job) (spec agentapi.Spec) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(b.files.Dir(job.Number), agentapi.SpecFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

// TestAnInitIsToldToTheAgent: also when it came as base64.
func TestAnInitIsToldToTheAgent(t *testing.T) {
	b := newBench(t)
	job := b.place(t, "L3NiaW4vaW5pdAo=")
	if spec, _, err := b.spec(t.Context(), job, ""); err != nil || !spec.Init {
		t.Errorf("specification %+v, %v", spec, err)
	}
}

func TestIsInit(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]bool{
		"/sbin/init":                true,
		" /sbin/init --debug \n":    true,
		"exec /sbin/init":           true,
		"":                          false,
		"/sbin/initctl":             false,
		"echo /sbin/init":           false,
		"/sbin/init; echo done":     false,
		"/sbin/init &":              false,
		"#!/bin/sh\n/sbin/init":     false,
		"/sbin/init\necho it ended": false,
	} {
		if got := isInit(script); got != want {
			t.Errorf("isInit(%q) = %v", script, got)
		}
	}
}
