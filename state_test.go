package berth_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/berth-hpc/berth"
)

func TestTransitionTable(t *testing.T) {
	t.Parallel()
	reached := map[berth.State]bool{berth.StateQueued: true}
	for _, state := range berth.States() {
		if got := berth.Transition(state, berth.EventSubmitted); got != nil {
			t.Errorf("%s: submitted leads to %v; want nothing, it is the store's", state, got)
		}
		for _, kind := range berth.EventKinds() {
			targets := berth.Transition(state, kind)
			if state.Final() && targets != nil {
				t.Errorf("%s is final but %s leads to %v", state, kind, targets)
			}
			for _, target := range targets {
				if !slices.Contains(berth.States(), target) {
					t.Errorf("%s: %s leads to %q, which States does not list", state, kind, target)
				}
				reached[target] = true
			}
		}
	}
	for _, state := range berth.States() {
		if !reached[state] {
			t.Errorf("no event leads to %s", state)
		}
	}
}

// TestEveryStateAcceptsWishes: what a user may ask for at any time before the end is never refused, so neither the wish nor
// the stored answer can be lost in a race with the engine.
func TestEveryStateAcceptsWishes(t *testing.T) {
	t.Parallel()
	for _, state := range berth.States() {
		for _, kind := range []berth.EventKind{berth.EventStopRequested, berth.EventTerminateRequested} {
			if accepted := berth.Transition(state, kind) != nil; accepted == state.Final() {
				t.Errorf("%s: %s accepted = %v", state, kind, accepted)
			}
		}
	}
}

func TestStateClasses(t *testing.T) {
	t.Parallel()
	for _, state := range berth.States() {
		waiting := state == berth.StateQueued
		if n := count(waiting, state.Active(), state.Final()); n != 1 {
			t.Errorf("%s is in %d of the classes queued, active and final; want 1", state, n)
		}
	}
	if berth.State("no such state").Final() {
		t.Error("an unknown state is final")
	}
}

func count(conditions ...bool) int {
	n := 0
	for _, condition := range conditions {
		if condition {
			n++
		}
	}
	return n
}

// ends are the cases of one question: how did the job end, given what was wished and what the engine saw?
var ends = map[string]struct {
	wish  berth.EventKind
	by    string
	exit  berth.Exit
	state berth.State
	want  berth.End
}{
	"success": {
		exit:  berth.Exit{Known: true, Ran: true},
		state: berth.StateCompleted, want: berth.End{Reason: berth.EndExited},
	},
	"error": {
		exit:  berth.Exit{Known: true, Ran: true, Code: 3, Detail: "so it is"},
		state: berth.StateFailed, want: berth.End{Reason: berth.EndExited, ExitCode: 3, Detail: "so it is"},
	},
	"foreign signal": {
		exit:  berth.Exit{Known: true, Ran: true, Code: 139, Signal: 11},
		state: berth.StateFailed, want: berth.End{Reason: berth.EndSignaled, ExitCode: 139, Signal: 11},
	},
	"SIGTERM that nobody asked for": {
		exit:  berth.Exit{Known: true, Ran: true, Code: 143, Signal: 15},
		state: berth.StateFailed, want: berth.End{Reason: berth.EndSignaled, ExitCode: 143, Signal: 15},
	},
	"out of memory": {
		exit:  berth.Exit{Known: true, Ran: true, Code: 137, Signal: 9, OutOfMemory: true},
		state: berth.StateFailed, want: berth.End{Reason: berth.EndOutOfMemory, ExitCode: 137, Signal: 9},
	},
	"a child out of memory, the command coped": {
		exit:  berth.Exit{Known: true, Ran: true, OutOfMemory: true},
		state: berth.StateCompleted, want: berth.End{Reason: berth.EndExited},
	},
	"unknown": {
		exit:  berth.Exit{Code: 0, Detail: "the container is gone"},
		state: berth.StateFailed, want: berth.End{Reason: berth.EndLost, ExitCode: -1, Detail: "the container is gone"},
	},
	"stopped, ended well": {
		wish: berth.EventStopRequested, by: "ada", exit: berth.Exit{Known: true, Ran: true},
		state: berth.StateCompleted, want: berth.End{Reason: berth.EndShutdown, By: "ada"},
	},
	"stopped by its SIGTERM": {
		wish: berth.EventStopRequested, by: "ada", exit: berth.Exit{Known: true, Ran: true, Code: 143, Signal: 15},
		state: berth.StateCompleted, want: berth.End{Reason: berth.EndShutdown, ExitCode: 143, Signal: 15, By: "ada"},
	},
	"stopped, had to be killed": {
		wish: berth.EventStopRequested, by: "ada", exit: berth.Exit{Known: true, Ran: true, Code: 137, Signal: 9},
		state: berth.StateFailed, want: berth.End{Reason: berth.EndShutdown, ExitCode: 137, Signal: 9, By: "ada"},
	},
	"stopped, unknown": {
		wish: berth.EventStopRequested, by: "ada", exit: berth.Exit{},
		state: berth.StateFailed, want: berth.End{Reason: berth.EndLost, ExitCode: -1, By: "ada"},
	},
	"stopped before it ran": {
		wish: berth.EventStopRequested, by: "ada", exit: berth.Exit{Known: true, Code: 137, Signal: 9},
		state: berth.StateCanceled, want: berth.End{Reason: berth.EndCanceled, ExitCode: -1, By: "ada"},
	},
	"terminated": {
		wish: berth.EventTerminateRequested, by: "ada", exit: berth.Exit{Known: true, Ran: true, Code: 137, Signal: 9},
		state: berth.StateTerminated, want: berth.End{Reason: berth.EndTerminated, ExitCode: 137, Signal: 9, By: "ada"},
	},
	"terminated, unknown": {
		wish: berth.EventTerminateRequested, by: "ada", exit: berth.Exit{},
		state: berth.StateTerminated, want: berth.End{Reason: berth.EndTerminated, ExitCode: -1, By: "ada"},
	},
	"walltime": {
		wish: berth.EventTerminateRequested, by: berth.WishByWalltime,
		exit:  berth.Exit{Known: true, Ran: true, Code: 137, Signal: 9},
		state: berth.StateTerminated,
		want:  berth.End{Reason: berth.EndWalltime, ExitCode: 137, Signal: 9, By: berth.WishByWalltime},
	},
}

func TestEnds(t *testing.T) {
	t.Parallel()
	for name, test := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			events := []berth.Event{{Kind: berth.EventPlaced, At: noon, Attempt: "berth-1-a"}, {Kind: berth.EventStarted, At: noon}}
			if test.wish != "" {
				events = append(events, berth.Event{Kind: test.wish, By: test.by})
			}
			events = append(events, berth.Event{Kind: berth.EventEnded, At: noon.Add(time.Hour), Exit: test.exit})
			job := berth.Job{State: berth.StateQueued}
			for _, event := range events {
				var err error
				if job, err = berth.Apply(job, event); err != nil {
					t.Fatal(err)
				}
			}
			if job.State != test.state {
				t.Errorf("state = %s; want %s", job.State, test.state)
			}
			if diff := cmp.Diff(test.want, job.End); diff != "" {
				t.Errorf("end (-want +got):\n%s", diff)
			}
		})
	}
}

// TestStaging: how a job ends is known before its data is copied back, and what becomes of the data may make it another end.
func TestStaging(t *testing.T) {
	t.Parallel()
	ok, failed := berth.Exit{Known: true, Ran: true}, berth.Exit{Known: true, Ran: true, Code: 3, Detail: "so it is"}
	tests := map[string]struct {
		before    berth.EventKind // a wish from before the end of the command
		exit      berth.Exit
		meanwhile berth.EventKind
		missing   string
		state     berth.State
		want      berth.End
	}{
		"all of it":             {exit: ok, state: berth.StateCompleted, want: berth.End{Reason: berth.EndExited}},
		"all of it, an error":   {exit: failed, state: berth.StateFailed, want: berth.End{Reason: berth.EndExited, ExitCode: 3, Detail: "so it is"}},
		"not all":               {exit: ok, missing: "a, b", state: berth.StateFailed, want: berth.End{Reason: berth.EndNotSaved, Detail: "a, b"}},
		"not all, an error":     {exit: failed, missing: "a", state: berth.StateFailed, want: berth.End{Reason: berth.EndNotSaved, ExitCode: 3, Detail: "so it is; a"}},
		"lost":                  {exit: berth.Exit{}, missing: "kept", state: berth.StateFailed, want: berth.End{Reason: berth.EndLost, ExitCode: -1, Detail: "kept"}},
		"after a shutdown":      {before: berth.EventStopRequested, exit: ok, state: berth.StateCompleted, want: berth.End{Reason: berth.EndShutdown, By: "ada"}},
		"a shutdown meanwhile":  {exit: ok, meanwhile: berth.EventStopRequested, state: berth.StateCompleted, want: berth.End{Reason: berth.EndExited}},
		"a terminate meanwhile": {exit: ok, meanwhile: berth.EventTerminateRequested, state: berth.StateTerminated, want: berth.End{Reason: berth.EndTerminated, By: "ada"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			job := berth.Job{State: berth.StateQueued}
			for _, event := range []berth.Event{
				{Kind: berth.EventPlaced, At: noon, Attempt: "berth-1-a"},
				{Kind: berth.EventStarted, At: noon},
				{Kind: test.before, By: "ada"},
				{Kind: berth.EventSignaled, At: noon, Signal: berth.SignalSuspend},
				{Kind: berth.EventStaging, At: noon, Exit: test.exit},
				{Kind: test.meanwhile, By: "ada"},
				{Kind: berth.EventStaged, At: noon, Detail: test.missing},
			} {
				if event.Kind != "" {
					job = applyStaging(t, job, event)
				}
			}
			if diff := cmp.Diff(test.want, job.End); diff != "" || job.State != test.state {
				t.Errorf("state %s, want %s; end (-want +got):\n%s", job.State, test.state, diff)
			}
		})
	}
}

// applyStaging applies an event and checks what holds while data is copied back.
func applyStaging(t *testing.T, job berth.Job, event berth.Event) berth.Job {
	t.Helper()
	job, err := berth.Apply(job, event)
	if err != nil {
		t.Fatal(err)
	}
	if staging := job.State == berth.StateStagingOut; staging != (job.Wait == berth.WaitStagingOut) || staging && !job.Suspended.IsZero() {
		t.Errorf("after %s: %s waits for %q, suspended %v", event.Kind, job.State, job.Wait, job.Suspended)
	}
	return job
}

func TestWishesBeforePlacementCancel(t *testing.T) {
	t.Parallel()
	job, err := berth.Apply(berth.Job{State: berth.StateQueued}, berth.Event{Kind: berth.EventStopRequested, At: noon, By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	want := berth.Job{
		State: berth.StateCanceled, Wish: berth.WishStop, WishBy: "ada", Ended: noon,
		End: berth.End{Reason: berth.EndCanceled, ExitCode: -1, By: "ada"},
	}
	if diff := cmp.Diff(want, job); diff != "" {
		t.Errorf("job (-want +got):\n%s", diff)
	}
}

// TestLives leads jobs through random events and checks what must hold after each of them.
func TestLives(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		job := berth.Job{Number: 7, Name: "n", Version: 3, Owner: "ada", State: berth.StateQueued, Submitted: noon}
		for i := range rapid.IntRange(1, 30).Draw(t, "events") {
			event := drawEvent(t, noon.Add(time.Duration(i)*time.Second))
			after, err := berth.Apply(job, event)
			if targets := berth.Transition(job.State, event.Kind); targets == nil {
				checkRefused(t, job, after, event, err)
			} else if err != nil || !slices.Contains(targets, after.State) {
				t.Fatalf("%s in %s: %s, %v; want one of %v", event.Kind, job.State, after.State, err, targets)
			}
			checkStep(t, job, after)
			checkJob(t, after)
			job = after
		}
	})
}

func drawEvent(t *rapid.T, at time.Time) berth.Event {
	signal := rapid.SampledFrom([]int{0, 0, 9, 15}).Draw(t, "signal")
	code := rapid.SampledFrom([]int{0, 0, 1}).Draw(t, "code")
	if signal != 0 {
		code = 128 + signal
	}
	return berth.Event{
		Kind:    rapid.SampledFrom(append(berth.EventKinds(), berth.EventSubmitted, "no such event")).Draw(t, "kind"),
		At:      at,
		By:      rapid.SampledFrom([]string{"ada", "bob", berth.WishByWalltime}).Draw(t, "by"),
		Attempt: rapid.SampledFrom([]string{"berth-7-a", "berth-7-b"}).Draw(t, "attempt"),
		Hosts:   []string{"host"},
		Wait:    rapid.SampledFrom([]berth.Wait{berth.WaitNone, berth.WaitResources, berth.WaitImage}).Draw(t, "wait"),
		Detail:  "detail",
		Exit: berth.Exit{
			Known:       rapid.Bool().Draw(t, "known"),
			Ran:         rapid.Bool().Draw(t, "ran"),
			OutOfMemory: rapid.Bool().Draw(t, "oom"),
			Node:        rapid.SampledFrom([]string{"", "jarvice-job-7-2"}).Draw(t, "node"),
			Code:        code,
			Signal:      signal,
		},
	}
}

func checkRefused(t *rapid.T, before, after berth.Job, event berth.Event, err error) {
	refusal, ok := errors.AsType[*berth.StateError](err)
	want := berth.StateError{Number: before.Number, State: before.State, Event: event.Kind}
	if !ok || *refusal != want {
		t.Fatalf("%s in %s: error %v; want %v", event.Kind, before.State, err, &want)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Fatalf("a refused event changed the job (-before +after):\n%s", diff)
	}
}

// checkStep compares a job with the one that it became.
func checkStep(t *rapid.T, before, after berth.Job) {
	strength := []berth.Wish{berth.WishNone, berth.WishStop, berth.WishTerminate}
	was, is := slices.Index(strength, before.Wish), slices.Index(strength, after.Wish)
	if is < was || is == was && after.WishBy != before.WishBy {
		t.Fatalf("wish went from %s by %q to %s by %q", before.Wish, before.WishBy, after.Wish, after.WishBy)
	}
	if before.Attempt != "" && (after.Attempt != before.Attempt || !after.Placed.Equal(before.Placed)) {
		t.Fatalf("the placement changed from %s to %s", before.Attempt, after.Attempt)
	}
	if !before.Started.IsZero() && !after.Started.Equal(before.Started) {
		t.Fatalf("the start moved from %v to %v", before.Started, after.Started)
	}
	if before.State.Final() && !cmp.Equal(before, after) {
		t.Fatalf("a final job changed (-before +after):\n%s", cmp.Diff(before, after))
	}
	type identity struct {
		number, version int64
		name, owner     string
	}
	if was, is := (identity{before.Number, before.Version, before.Name, before.Owner}),
		(identity{after.Number, after.Version, after.Name, after.Owner}); was != is {
		t.Fatalf("identity went from %v to %v", was, is)
	}
}

// checkJob checks what holds for every job at every time.
func checkJob(t *rapid.T, job berth.Job) {
	final := job.State.Final()
	if known := final || job.State == berth.StateStagingOut; final == job.Ended.IsZero() || known == (job.End.Reason == "") {
		t.Fatalf("state %s, ended %v, end %+v", job.State, job.Ended, job.End)
	}
	if (job.State.Active() || !job.Started.IsZero()) && (job.Attempt == "" || job.Placed.IsZero()) {
		t.Fatalf("state %s, started %v, without a placement", job.State, job.Started)
	}
	if job.State == berth.StateRunning && job.Started.IsZero() {
		t.Fatal("running without a start")
	}
	if job.State == berth.StateCompleted && job.End.ExitCode != 0 && job.End.Reason != berth.EndShutdown {
		t.Fatalf("completed with %+v", job.End)
	}
	if job.End.Reason == berth.EndLost && (final && job.State != berth.StateFailed || job.End.ExitCode != -1) {
		t.Fatalf("lost, but %s with exit code %d", job.State, job.End.ExitCode)
	}
	if job.State.Final() && job.Wait != berth.WaitNone {
		t.Fatalf("%s but waits for %q", job.State, job.Wait)
	}
}
