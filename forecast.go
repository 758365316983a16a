package berth

import "time"

// Forecast says why a queued job waits, and for how long at most, as far as that is known now.
type Forecast struct {
	// Position is the job's place in the queue, in the order of submission. One behind it starts before only where that does not
	// delay it.
	Position int
	// Blockers are what keeps the job from starting, those that go first in front. Empty when it can start at once.
	Blockers []Blocker
	// Start is when the job can start at the latest when every job before it uses up its walltime limit; zero when that is not known,
	// because it waits for one that has none, or too many are in front.
	Start time.Time
}

// BlockerKind says what keeps a job from starting.
type BlockerKind string

// The kinds of blockers.
const (
	// BlockerImpossible: this server can never hold the job.
	BlockerImpossible BlockerKind = "impossible"
	// BlockerQueue: another queued job goes first. Carries Number.
	BlockerQueue BlockerKind = "queue"
	// BlockerResources: cores, memory, GPUs, slots or hosts are taken.
	BlockerResources BlockerKind = "resources"
	// BlockerJob: a running job holds what is missing. Carries Number.
	BlockerJob BlockerKind = "job"
	// BlockerVault: another job has the vault, or wants it and goes first. Carries Number.
	BlockerVault BlockerKind = "vault"
)

// Blocker is one thing that keeps a job from starting.
type Blocker struct {
	Kind BlockerKind
	// Number is the job that blocks, 0 when none does or when who asks may not see it.
	Number int64
	// Detail is a sentence for people. It may tell of the job and when it ends: it is only for who may see that job.
	Detail string
}
