package berth

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// State is where a job is in its life. A job changes its state only by Apply.
type State string

// The states. docs/state-machine.md draws them from the table below.
const (
	// StateQueued: accepted, waits for the scheduler. Entered on submission; left by placed, stop-requested or terminate-requested.
	StateQueued State = "queued"
	// StateStarting: has its resources and its attempt; the image is pulled, the data brought and the container started.
	StateStarting State = "starting"
	// StateRunning: the container was started.
	StateRunning State = "running"
	// StateStopping: the engine was told to end the container, which has not ended yet.
	StateStopping State = "stopping"
	// StateStagingOut: the container has ended and how is stored; what is new in its vault is copied back. It has no container any more,
	// so it holds no cores.
	StateStagingOut State = "staging-out"
	// StateCompleted: ended with success. Final.
	StateCompleted State = "completed"
	// StateFailed: ended with an error, or lost. Final.
	StateFailed State = "failed"
	// StateTerminated: ended by terminate or by its walltime. Final.
	StateTerminated State = "terminated"
	// StateCanceled: ended before it ran. Final.
	StateCanceled State = "canceled"
)

// States lists every state in the order of a job's life.
func States() []State {
	return []State{
		StateQueued, StateStarting, StateRunning, StateStopping, StateStagingOut,
		StateCompleted, StateFailed, StateTerminated, StateCanceled,
	}
}

// Final says whether no event can change the state any more.
func (s State) Final() bool {
	switch s {
	case StateCompleted, StateFailed, StateTerminated, StateCanceled:
		return true
	case StateQueued, StateStarting, StateRunning, StateStopping, StateStagingOut:
		return false
	}
	return false
}

// Active says whether the job is placed and has not ended.
func (s State) Active() bool { return s != StateQueued && !s.Final() }

// HoldsCores says whether the job has the cores and the memory that it needs: as Active, until its container has ended.
func (s State) HoldsCores() bool { return s.Active() && s != StateStagingOut }

// ActiveStates lists the states of jobs that are placed and have not ended.
func ActiveStates() []State {
	return []State{StateStarting, StateRunning, StateStopping, StateStagingOut}
}

// EventKind says what happened to a job.
type EventKind string

// The events.
const (
	// EventSubmitted is the first event of every job. The store writes it with the job; Apply does not know it.
	EventSubmitted EventKind = "submitted"
	// EventPlaced: the scheduler gave resources. Carries Attempt and Hosts.
	EventPlaced EventKind = "placed"
	// EventWaiting: what the job waits for changed. Carries Wait and Detail.
	EventWaiting EventKind = "waiting"
	// EventStarted: the engine started the container. Carries At, the start.
	EventStarted EventKind = "started"
	// EventStopRequested: somebody asked for a graceful end. Carries By.
	EventStopRequested EventKind = "stop-requested"
	// EventTerminateRequested: somebody, or the walltime, asked for an immediate end. Carries By.
	EventTerminateRequested EventKind = "terminate-requested"
	// EventSignaled: somebody sent a signal, which was delivered. Carries By and Signal.
	EventSignaled EventKind = "signaled"
	// EventActionRequested: somebody started an action of the application in the running job. Carries By and Detail, the action.
	EventActionRequested EventKind = "action-requested"
	// EventStopping: the engine was told to end the container.
	EventStopping EventKind = "stopping"
	// EventEnded: the container ended, or is gone. Carries Exit.
	EventEnded EventKind = "ended"
	// EventStaging: the container ended, and what is new in the vault is to be copied back. Carries Exit.
	EventStaging EventKind = "staging"
	// EventStaged: that is done. Carries Detail, which says what could not be copied; empty when nothing is missing.
	EventStaged EventKind = "staged"
	// EventRefused: the job can never be started. Carries Detail.
	EventRefused EventKind = "refused"
)

// EventKinds lists every event that Apply knows.
func EventKinds() []EventKind {
	return []EventKind{
		EventPlaced, EventWaiting, EventStarted, EventStopRequested, EventTerminateRequested, EventSignaled, EventActionRequested,
		EventStopping, EventEnded, EventStaging, EventStaged, EventRefused,
	}
}

// Event is one thing that happened to a job. Only the fields that its kind names are read.
type Event struct {
	Kind EventKind
	// At is when it happened, UTC.
	At time.Time
	// By is the user who asked, or WishByWalltime; From is the network address that the request came from, when there was one.
	By, From string
	Signal   int
	Attempt  string
	Hosts    []string
	Wait     Wait
	Detail   string
	Exit     Exit
}

// Exit is what the engine knows of the end of a job's container.
type Exit struct {
	// Known is false when the exit code cannot be learned; the other fields mean nothing then.
	Known bool
	// Ran is false when the container never started its command.
	Ran bool
	// Code is the exit code, 128 + Signal when a signal ended the command.
	Code        int
	Signal      int
	OutOfMemory bool
	// Node is the name of the node that ended while the command still ran on the first, and so ended the job; else empty.
	Node string
	// Detail is a sentence for people, may be empty.
	Detail string
}

// byExit marks transitions whose target depends on how the job ended; see ended. byEnd marks those where that is stored already.
const (
	byExit State = "(by exit)"
	byEnd  State = "(by end)"
)

// transitions is the whole state machine: what is not in it is refused.
var transitions = map[State]map[EventKind]State{
	StateQueued: {
		EventWaiting:            StateQueued,
		EventPlaced:             StateStarting,
		EventStopRequested:      StateCanceled,
		EventTerminateRequested: StateCanceled,
		EventRefused:            StateCanceled,
	},
	StateStarting: {
		EventWaiting:            StateStarting,
		EventStarted:            StateRunning,
		EventStopRequested:      StateStarting,
		EventTerminateRequested: StateStarting,
		EventStopping:           StateStopping,
		EventEnded:              byExit,
		EventRefused:            StateCanceled,
	},
	StateRunning: {
		EventWaiting:            StateRunning,
		EventStopRequested:      StateRunning,
		EventTerminateRequested: StateRunning,
		EventSignaled:           StateRunning,
		EventActionRequested:    StateRunning,
		EventStopping:           StateStopping,
		EventEnded:              byExit,
		EventStaging:            StateStagingOut,
	},
	StateStopping: {
		EventStarted:            StateStopping,
		EventStopRequested:      StateStopping,
		EventTerminateRequested: StateStopping,
		EventSignaled:           StateStopping,
		EventActionRequested:    StateStopping,
		EventStopping:           StateStopping,
		EventEnded:              byExit,
		EventStaging:            StateStagingOut,
	},
	StateStagingOut: {
		EventWaiting:            StateStagingOut,
		EventStopRequested:      StateStagingOut,
		EventTerminateRequested: StateStagingOut,
		EventStaged:             byEnd,
	},
}

// exitTargets and endTargets are the states that byExit and byEnd can lead to, for the drawing and its test.
func exitTargets() []State {
	return []State{StateCompleted, StateFailed, StateTerminated, StateCanceled}
}

func endTargets() []State { return []State{StateCompleted, StateFailed, StateTerminated} }

// Transition returns the states that the event can lead to from s; none when it is refused.
func Transition(s State, kind EventKind) []State {
	to, ok := transitions[s][kind]
	switch {
	case !ok:
		return nil
	case to == byExit:
		return exitTargets()
	case to == byEnd:
		return endTargets()
	default:
		return []State{to}
	}
}

// StateError says that an event is not possible in the state of a job.
type StateError struct {
	Number int64
	State  State
	Event  EventKind
}

func (e *StateError) Error() string {
	return fmt.Sprintf("job %d: event %q is not possible in state %q", e.Number, e.Event, e.State)
}

// Apply returns the job after the event, or a *StateError and the job as it was. It is pure and the only code that changes a
// job's state. It neither reads nor writes Version.
func Apply(job Job, ev Event) (Job, error) {
	to, ok := transitions[job.State][ev.Kind]
	if !ok {
		return job, &StateError{Number: job.Number, State: job.State, Event: ev.Kind}
	}
	switch ev.Kind {
	case EventPlaced:
		job.Attempt, job.Hosts, job.Placed = ev.Attempt, ev.Hosts, ev.At
		job.Wait, job.WaitDetail = WaitNone, ""
	case EventWaiting:
		job.Wait, job.WaitDetail = ev.Wait, ev.Detail
	case EventStarted:
		if job.Started.IsZero() { // a repeated event must not stretch the walltime limit
			job.Started = ev.At
		}
		if to == StateRunning {
			job.Wait, job.WaitDetail = WaitNone, ""
		}
	case EventStopRequested:
		job.wish(WishStop, ev.By)
	case EventTerminateRequested:
		job.wish(WishTerminate, ev.By)
	case EventSignaled:
		job.signaled(ev.Signal, ev.At)
	case EventStopping:
		job.Wait, job.WaitDetail = WaitStopping, ""
	case EventRefused:
		job.End = End{Reason: EndRefused, ExitCode: -1, Detail: ev.Detail}
	case EventEnded:
		to, job.End = ended(job, ev.Exit)
	case EventStaging:
		_, job.End = ended(job, ev.Exit)
		job.resume(ev.At)
		job.Wait, job.WaitDetail = WaitStagingOut, ""
	case EventStaged:
		to, job.End = staged(job, ev.Detail)
	case EventActionRequested: // it is only remembered
	case EventSubmitted: // never in the table
	}
	if to.Final() {
		if job.End == (End{}) {
			job.End = End{Reason: EndCanceled, ExitCode: -1, By: job.WishBy}
		}
		job.resume(ev.At)
		job.Ended = ev.At
		job.Wait, job.WaitDetail = WaitNone, ""
	}
	job.State = to
	return job, nil
}

// wish records w unless a wish at least as strong is there already.
func (j *Job) wish(w Wish, by string) {
	order := []Wish{WishNone, WishStop, WishTerminate}
	if slices.Index(order, w) > slices.Index(order, j.Wish) {
		j.Wish, j.WishBy = w, by
	}
}

// The numbers of signals that mean something to the server, as Linux has them on every architecture of its.
const (
	signalTerm = 15 // what a shutdown sends
	// SignalContinue lets a suspended job go on, SignalSuspend suspends it.
	SignalContinue = 18
	SignalSuspend  = 20
	// signalStop suspends without asking; the other two are those of a terminal that a job in the background reads or writes.
	signalStop           = 19
	signalTerminalInput  = 21
	signalTerminalOutput = 22
	// LastSignal is the largest number of a signal.
	LastSignal = 64
)

// signaled remembers what a signal does to whether the job is suspended. Whether its processes obey is their affair.
func (j *Job) signaled(signal int, at time.Time) {
	switch signal {
	case signalStop, SignalSuspend, signalTerminalInput, signalTerminalOutput:
		if j.Suspended.IsZero() {
			j.Suspended = at
		}
	case SignalContinue:
		j.resume(at)
	}
}

// resume ends a suspension.
func (j *Job) resume(at time.Time) {
	if !j.Suspended.IsZero() {
		j.SuspendedFor += max(0, at.Sub(j.Suspended))
		j.Suspended = time.Time{}
	}
}

// ended says which state and end an exit means for a job with its wish.
func ended(job Job, exit Exit) (State, End) {
	end := End{ExitCode: exit.Code, Signal: exit.Signal, Detail: exit.Detail, By: job.WishBy}
	switch {
	case job.Wish != WishNone && exit.Known && !exit.Ran:
		end.Reason, end.ExitCode, end.Signal = EndCanceled, -1, 0
		return StateCanceled, end
	case job.Wish == WishTerminate:
		end.Reason = EndTerminated
		if job.WishBy == WishByWalltime {
			end.Reason = EndWalltime
		}
		if !exit.Known {
			end.ExitCode, end.Signal = -1, 0
		}
		return StateTerminated, end
	case exit.Node != "":
		end.Reason, end.ExitCode, end.Signal = EndNodeFailed, -1, 0
		end.Detail = "node " + exit.Node + " ended"
		if exit.Detail != "" {
			end.Detail += ": " + exit.Detail
		}
		return StateFailed, end
	case !exit.Known:
		end.Reason, end.ExitCode, end.Signal = EndLost, -1, 0
		return StateFailed, end
	case job.Wish == WishStop:
		end.Reason = EndShutdown
		if exit.Code == 0 || exit.Signal == signalTerm {
			return StateCompleted, end
		}
		return StateFailed, end
	case exit.OutOfMemory && exit.Code != 0:
		end.Reason = EndOutOfMemory
		return StateFailed, end
	case exit.Signal != 0:
		end.Reason = EndSignaled
		return StateFailed, end
	case exit.Code == 0:
		end.Reason = EndExited
		return StateCompleted, end
	default:
		end.Reason = EndExited
		return StateFailed, end
	}
}

// staged says which state and end a job has after its data was copied back, or not all of it. Whoever terminated it meanwhile ended
// that.
func staged(job Job, missing string) (State, End) {
	end := job.End
	switch {
	case job.Wish == WishTerminate:
		end.Reason, end.By = EndTerminated, job.WishBy
		return StateTerminated, end
	case missing != "":
		if end.Reason != EndLost {
			end.Reason = EndNotSaved
		}
		end.Detail = strings.TrimPrefix(end.Detail+"; "+missing, "; ")
		return StateFailed, end
	case end.Reason == EndExited && end.ExitCode == 0,
		end.Reason == EndShutdown && (end.ExitCode == 0 || end.Signal == signalTerm):
		return StateCompleted, end
	default:
		return StateFailed, end
	}
}
