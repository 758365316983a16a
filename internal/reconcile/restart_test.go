package reconcile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/fake"
)

// TestARestartIsInvisible runs a new reconciler at every stage of a job: it goes on as if nothing had been.
func TestARestartIsInvisible(t *testing.T) {
	b := newBench(t)
	running := b.place(t, "trap 'exit 6' TERM\nsleep 1000")
	stop := b.run(t)
	b.until(t, running.Number, in(berth.StateRunning))
	stop()
	b.renew()
	placed := b.place(t, "exit 2") // placed while no reconciler ran
	stop = b.run(t)
	b.until(t, placed.Number, ended)
	if job, err := b.store.Job(t.Context(), running.Number); err != nil || job.State != berth.StateRunning {
		t.Errorf("the running job is %s, %v", job.State, err)
	}
	b.apply(t, running.Number, berth.Event{Kind: berth.EventStopRequested, By: "ada"})
	job := b.until(t, running.Number, ended)
	stop()
	if job.End.ExitCode != 6 {
		t.Errorf("end %+v, want exit code 6", job.End)
	}
}

// TestAJobEndsWhileTheServerIsDown: it has not run on until the next server saw its end.
func TestAJobEndsWhileTheServerIsDown(t *testing.T) {
	b := newBench(t)
	job := b.place(t, "trap 'exit 6' TERM\nsleep 1000 & wait")
	stop := b.run(t)
	job = b.until(t, job.Number, in(berth.StateRunning))
	stop()
	if err := b.engine.Stop(t.Context(), job.Attempt, time.Minute); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // nobody is there to be told
		status, err := b.engine.Status(t.Context(), job.Attempt)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%+v, %v", status, err)
		}
		if status.Phase == engine.PhaseExited {
			break
		}
	}
	b.ahead.Store(int64(time.Hour))
	b.renew()
	defer b.run(t)()
	if job = b.until(t, job.Number, ended); job.End.ExitCode != 6 || job.Walltime() > 30*time.Minute {
		t.Errorf("%+v after %s", job.End, job.Walltime())
	}
}

// TestWishesOutliveARestart: what was asked for while no reconciler ran is done by the next.
func TestWishesOutliveARestart(t *testing.T) {
	b := newBench(t)
	job := b.place(t, "sleep 1000")
	stop := b.run(t)
	b.until(t, job.Number, in(berth.StateRunning))
	stop()
	b.apply(t, job.Number, berth.Event{Kind: berth.EventTerminateRequested, By: "ada"})
	b.renew()
	defer b.run(t)()
	if job = b.until(t, job.Number, ended); job.State != berth.StateTerminated {
		t.Errorf("state %s", job.State)
	}
	b.checkClean(t, job)
}

// TestAJobThatRunsIsNotRefused: a server that was killed has started it and not stored that, and the next one could not start it any more.
func TestAJobThatRunsIsNotRefused(t *testing.T) {
	b := newBench(t)
	b.cfg.PublicAddresses = []berth.PublicAddress{{Address: "192.0.2.2"}}
	job := b.place(t, "exit 4", func(j *berth.Job) { j.Submission.PublicIP, j.Submission.IPAddr = true, "192.0.2.2" })
	attempt, err := b.prepare(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.engine.Start(t.Context(), attempt); err != nil {
		t.Fatal(err)
	}
	b.renew() // without the address
	defer b.run(t)()
	job = b.until(t, job.Number, ended)
	if diff := cmp.Diff(berth.End{Reason: berth.EndExited, ExitCode: 4}, job.End); diff != "" {
		t.Error(diff)
	}
	b.checkClean(t, job)
}

// TestLeftoversOfAnEndedJobAreSwept: a server killed between storing the end and cleaning up leaves the rest to the next.
func TestLeftoversOfAnEndedJobAreSwept(t *testing.T) {
	b := newBench(t)
	job := b.place(t, "exit 0")
	attempt, err := b.prepare(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.engine.Start(t.Context(), attempt); err != nil {
		t.Fatal(err)
	}
	b.apply(t, job.Number, berth.Event{Kind: berth.EventStarted})
	job = b.apply(t, job.Number, berth.Event{Kind: berth.EventEnded, Exit: berth.Exit{Known: true, Ran: true}})
	b.renew()
	defer b.run(t)()
	b.checkClean(t, job)
}

// TestDoubtRemovesNothing: an engine that cannot list, and attempts of another server, lose nothing.
func TestDoubtRemovesNothing(t *testing.T) {
	b := newBench(t)
	stranger := b.place(t, "sleep 1000")
	attempt, err := b.prepare(t.Context(), stranger)
	if err != nil {
		t.Fatal(err)
	}
	attempt.ID = berth.NewAttempt(stranger.Number, "another")
	if err := b.engine.Start(t.Context(), attempt); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	b.engine.Fail(fake.List, broken)
	if err := b.sweep(t.Context()); !errors.Is(err, broken) {
		t.Errorf("sweep = %v, want the engine's error", err)
	}
	b.engine.Fail(fake.List, nil)
	if err := b.sweep(t.Context()); err != nil {
		t.Error(err)
	}
	if status, err := b.engine.Status(t.Context(), attempt.ID); err != nil || status.Phase != engine.PhaseRunning {
		t.Errorf("the other server's attempt: %+v, %v", status, err)
	}
}

// TestNotKnowingEndsNothing: while the engine does not answer a running job stays as it is; afterwards its end is seen.
func TestNotKnowingEndsNothing(t *testing.T) {
	b := newBench(t)
	defer b.run(t)()
	job := b.place(t, "trap 'exit 8' USR1\nsleep 1000")
	b.until(t, job.Number, in(berth.StateRunning))
	b.engine.Fail(fake.Status, errors.New("does not answer"))
	end := agentapi.Request{Signal: &agentapi.SignalRequest{Number: int(unix.SIGUSR1)}}
	if _, err := b.engine.Ask(t.Context(), job.Attempt, end); err != nil {
		t.Fatal(err)
	}
	if more, err := b.step(t.Context(), job.Number); err == nil || more {
		t.Errorf("step = %v, %v; want the engine's error", more, err)
	}
	if got, err := b.store.Job(t.Context(), job.Number); err != nil || got.State != berth.StateRunning {
		t.Errorf("state %s, %v", got.State, err)
	}
	b.engine.Fail(fake.Status, nil)
	if job = b.until(t, job.Number, ended); job.End.ExitCode != 8 {
		t.Errorf("end %+v, want exit code 8", job.End)
	}
}

// TestAReportThatCannotBeReadEndsNothing: the exit code may be in it.
func TestAReportThatCannotBeReadEndsNothing(t *testing.T) {
	b := newBench(t)
	job := b.place(t, "exit 0")
	b.apply(t, job.Number, berth.Event{Kind: berth.EventStarted})
	report := filepath.Join(b.files.Dir(job.Number), agentapi.ReportFile)
	if err := os.MkdirAll(report, 0o700); err != nil { // a directory cannot be read as a file
		t.Fatal(err)
	}
	if more, err := b.step(t.Context(), job.Number); err == nil || more {
		t.Errorf("step = %v, %v; want an error", more, err)
	}
	final := []byte(`{"started":"2026-01-01T00:00:00Z","ended":"2026-01-01T00:00:01Z","exit_code":9}`)
	if err := errors.Join(os.Remove(report), os.WriteFile(report, final, 0o600)); err != nil {
		t.Fatal(err)
	}
	defer b.run(t)()
	if job = b.until(t, job.Number, ended); job.End.ExitCode != 9 {
		t.Errorf("end %+v, want exit code 9", job.End)
	}
}

// TestTheAgentsReportIsBelievedWhenTheEngineForgets the attempt: its exit code is not lost with containerd's state.
func TestTheAgentsReportIsBelievedWhenTheEngineForgets(t *testing.T) {
	for name, test := range map[string]struct {
		report string
		want   berth.End
	}{
		"a final report": {`{"started":"2026-01-01T00:00:00Z","ended":"2026-01-01T00:00:01Z","exit_code":9}`, berth.End{Reason: berth.EndExited, ExitCode: 9}},
		"no final one":   {`{"started":"2026-01-01T00:00:00Z","exit_code":0}`, berth.End{Reason: berth.EndLost, ExitCode: -1}},
		"a broken one":   {"{", berth.End{Reason: berth.EndLost, ExitCode: -1}},
		"none":           {"", berth.End{Reason: berth.EndLost, ExitCode: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			job := b.place(t, "exit 0")
			b.apply(t, job.Number, berth.Event{Kind: berth.EventStarted})
			if err := os.MkdirAll(b.files.Dir(job.Number), 0o700); err != nil {
				t.Fatal(err)
			}
			if test.report != "" {
				if err := os.WriteFile(filepath.Join(b.files.Dir(job.Number), agentapi.ReportFile), []byte(test.report), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			defer b.run(t)()
			job = b.until(t, job.Number, ended)
			job.End.Detail = ""
			if diff := cmp.Diff(test.want, job.End); diff != "" {
				t.Error(diff)
			}
		})
	}
}
