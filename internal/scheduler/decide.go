// Package scheduler decides which queued job starts when: Decide is pure, Scheduler is the loop around it.
package scheduler

import (
	"fmt"

	"github.com/berth-hpc/berth"
)

// Snapshot is what a decision is made on.
type Snapshot struct {
	// Host is the host that jobs are placed on.
	berth.Host
	// Active are all jobs that hold resources.
	Active []berth.Job
	// Queued is the head of the queue in its order. It may be cut: what is behind it cannot go before it.
	Queued []berth.Job
}

// Decision is what becomes of one queued job. A job without a decision waits on as it is.
type Decision struct {
	Number int64
	// Place gives the job its resources. Otherwise Detail says why it cannot ever have them here.
	Place  bool
	Detail string
}

// Decide returns what to do, in the order in which to do it. First in, first out: the first job that has to wait makes all behind
// it wait, so a big job never starves; then blocked is true. A job that is larger than the host blocks nobody.
func Decide(s Snapshot) (decisions []Decision, blocked bool) {
	free := s.Capacity
	for _, job := range s.Active {
		free = free.Minus(job.Total())
	}
	for _, job := range s.Queued {
		switch {
		case !s.Capacity.Fits(job.Total()):
			if detail := tooLarge(job.Total(), s.Capacity); detail != job.WaitDetail {
				decisions = append(decisions, Decision{Number: job.Number, Detail: detail})
			}
		case free.Fits(job.Total()):
			free = free.Minus(job.Total())
			decisions = append(decisions, Decision{Number: job.Number, Place: true})
		default:
			return decisions, true
		}
	}
	return decisions, false
}

func tooLarge(need, have berth.Capacity) string {
	const gib = 1 << 30
	return fmt.Sprintf("the job needs %d cores, %.1f GiB and %d slots; this server has %d cores, %.1f GiB and %d slots",
		need.Cores, float64(need.RAM)/gib, need.Slots, have.Cores, float64(have.RAM)/gib, have.Slots)
}
