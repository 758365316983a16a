package berth

import (
	"strconv"
	"time"
)

// Job is one submitted job with everything that the server knows of it. Times are UTC with microseconds; a zero time has not
// happened yet.
type Job struct {
	// Number is unique, starts at 1 and never changes. The store gives it out.
	Number int64
	// Name is unique: <UTC yyyymmddHHMMSS>-<5 of A-Z0-9>-<application>-<owner>_s1. Never changes.
	Name string
	// Version counts the stored changes. Every write names the version that it read; see store.Store.Apply.
	Version int64
	// Owner is the user that submitted the job. Never changes.
	Owner string
	// Team and Payer are those of the owner at submission: who else may control the job, and who pays for it. They never change,
	// also when the owner joins another team. Payer is the owner when there is no team.
	Team, Payer string

	State State
	// Wait says what a job that is not running waits for, or what a running job is doing besides running.
	Wait Wait
	// WaitDetail is a sentence for people behind Wait: progress of a pull, the refusal of a registry.
	WaitDetail string
	// Wish is what somebody asked for and the engine may not have done yet. It never goes back to a weaker one.
	Wish Wish
	// WishBy is the user who asked, or WishByWalltime.
	WishBy string
	// Suspended is when somebody suspended the job that runs, zero when it is not suspended. SuspendedFor is how long it was
	// suspended in all before that.
	Suspended    time.Time
	SuspendedFor time.Duration

	Application string
	Command     string
	Submission  Submission
	// Image is the normalised reference that runs.
	Image string
	// Need is what each node of the job takes, fixed at submission.
	Need Capacity
	// Price is what each node costs for each hour, fixed at submission by the machine type.
	Price float64
	// Grace is how long the command may take to end after a shutdown, fixed at submission by the machine type; 0 is what the
	// server gives to every job.
	Grace time.Duration
	// Scratch is what the job may have in its containers and its ephemeral vault, in bytes, fixed at submission by the machine type; 0 is
	// what the server gives to every job.
	Scratch int64

	// Attempt identifies the placement; stored before the engine is asked to start it. Empty until then.
	Attempt string
	// Hosts are the hosts that the nodes were placed on, in their order: the command runs on the first. Several nodes can be on one
	// host.
	Hosts []string

	Submitted time.Time
	// Placed is when the scheduler gave the job its resources.
	Placed time.Time
	// Started is when the command was started.
	Started time.Time
	// Ended is when the job reached its final state: when its command had ended and its output was written, also while no server ran,
	// or when the last of its data was copied back.
	Ended time.Time
	// End says how the job ended; zero until then, or until its data is copied back.
	End End
}

// Nodes is how many nodes the job has, at least 1.
func (j Job) Nodes() int { return max(1, j.Submission.Machine.Nodes) }

// NodeName returns the host name of a node of the job inside its network; node 0 runs the command. A job of one node and the first
// node of several have the same name.
func (j Job) NodeName(node int) string {
	name := "jarvice-job-" + strconv.FormatInt(j.Number, 10)
	if node == 0 {
		return name
	}
	return name + "-" + strconv.Itoa(node+1)
}

// Label returns the job's label, "" when it has none.
func (j Job) Label() string { return j.Submission.Label }

// Preparing says whether the job has its resources but not yet what it needs to start, such as its image.
func (j Job) Preparing() bool {
	return j.State == StateStarting && j.Wait != WaitNone && j.Wait != WaitStopping
}

// Walltime is how long the job ran: the time from its start to its end, 0 before its end and for a job that never ran.
func (j Job) Walltime() time.Duration {
	if j.Started.IsZero() || j.Ended.IsZero() {
		return 0
	}
	return max(0, j.Ended.Sub(j.Started))
}

// Deadline is when the walltime limit ends the job. Time in which it is suspended counts unless free says that it does not. ok is
// false for a job without limit, one that has not started, and one that has no deadline as long as it is suspended.
func (j Job) Deadline(free bool) (deadline time.Time, ok bool) {
	if j.Submission.Walltime <= 0 || j.Started.IsZero() || free && !j.Suspended.IsZero() {
		return time.Time{}, false
	}
	deadline = j.Started.Add(j.Submission.Walltime)
	if free {
		deadline = deadline.Add(j.SuspendedFor)
	}
	return deadline, true
}

// Wait says what a job waits for. Each has a number and a text of the JARVICE API, see internal/httpapi.
type Wait string

// What a job can wait for.
const (
	WaitNone      Wait = ""
	WaitResources Wait = "resources"
	// WaitVault: another job has the vault, or files of it are being transferred.
	WaitVault      Wait = "vault"
	WaitImage      Wait = "image"
	WaitStagingIn  Wait = "staging-in"
	WaitStagingOut Wait = "staging-out"
	WaitStopping   Wait = "stopping"
)

// Wish is what somebody wants to become of a job. It is stored before it is answered, beside the state.
type Wish string

// The wishes, weakest first.
const (
	WishNone Wish = ""
	// WishStop asks for a graceful end.
	WishStop Wish = "stop"
	// WishTerminate asks for an immediate end.
	WishTerminate Wish = "terminate"
)

// WishByWalltime is the WishBy of a job that its walltime limit ends. No user can have this name.
const WishByWalltime = "walltime limit"

// EndReason says why a job ended.
type EndReason string

// The reasons.
const (
	// EndExited: the command ended by itself; ExitCode is its own.
	EndExited EndReason = "exited"
	// EndSignaled: a signal that the server did not send ended the command.
	EndSignaled EndReason = "signaled"
	// EndOutOfMemory: the kernel killed the command because the node's memory was used up.
	EndOutOfMemory EndReason = "out-of-memory"
	// EndShutdown: a shutdown was asked for, and the command ended after it.
	EndShutdown EndReason = "shutdown"
	// EndTerminated: terminate was asked for.
	EndTerminated EndReason = "terminated"
	// EndWalltime: the walltime limit was reached.
	EndWalltime EndReason = "walltime"
	// EndNotSaved: the command ended by itself or by a shutdown, but not all of its data could be copied back; ExitCode is its own.
	EndNotSaved EndReason = "not-saved"
	// EndNodeFailed: a node ended while the command on the first one still ran, which was ended then. Detail names it.
	EndNodeFailed EndReason = "node-failed"
	// EndLost: how it ended cannot be learned. It counts as an error.
	EndLost EndReason = "lost"
	// EndRefused: it could not be started, and trying again would not help (for example: no such image). It never ran.
	EndRefused EndReason = "refused"
	// EndCanceled: somebody asked for its end before it ran.
	EndCanceled EndReason = "canceled"
)

// End says how a job ended.
type End struct {
	Reason EndReason
	// ExitCode is the exit code of the command, 128 + Signal when a signal ended it, -1 when it is not known or never ran.
	ExitCode int
	// Signal is the number of the signal that ended the command, else 0.
	Signal int
	// By is who asked for the end, when somebody did.
	By string
	// Detail is a sentence for people, may be empty.
	Detail string
}
