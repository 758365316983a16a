// Package scheduler decides which queued job starts when, and where: Decide is pure, Scheduler is the loop around it.
package scheduler

import (
	"fmt"
	"time"

	"github.com/berth-hpc/berth"
)

const (
	// depth is how many jobs that have to wait get a reservation. Those behind start where they take nothing of it.
	depth = 64
	// trials is how many jobs without a reservation are tried in one decision, counting those alike once.
	trials = 1000
	// burst bounds the jobs that one decision starts: what ends while they are stored is seen soon.
	burst = 256
	// tells bounds the jobs that are told by one decision why they wait: what starts is not to wait for long.
	tells = 64
)

// Queued is what a decision needs to know of a queued job.
type Queued struct {
	Number int64
	// Need is what each of its Nodes takes.
	Need  berth.Capacity
	Nodes int
	// Walltime is its limit; 0 is none.
	Walltime time.Duration
	// Lease is what it needs of a block vault.
	Lease Lease
	// Wait and Detail are what it says of why it waits.
	Wait   berth.Wait
	Detail string
}

// Active is what a decision needs to know of a job that holds resources.
type Active struct {
	Number int64
	// Need is what each node takes, Hosts are where the nodes are.
	Need  berth.Capacity
	Hosts []string
	// Deadline is when its limit ends it. It is zero before its start, when Walltime says how long it may run from then on; with
	// both zero nobody knows when it ends.
	Deadline time.Time
	Walltime time.Duration
	// Lease is what it has of a block vault.
	Lease Lease
}

// QueuedOf returns what a decision needs to know of a queued job.
func QueuedOf(job berth.Job) Queued {
	return Queued{
		Number: job.Number, Need: job.Need, Nodes: job.Nodes(), Walltime: max(0, job.Submission.Walltime), Lease: leaseOf(job),
		Wait: job.Wait, Detail: job.WaitDetail,
	}
}

// ActiveOf returns what a decision needs to know of a job that holds resources. Time in which a job is suspended counts as walltime
// unless suspendedFree says that it does not.
func ActiveOf(job berth.Job, suspendedFree bool) Active {
	a := Active{Number: job.Number, Need: job.Need, Hosts: job.Hosts, Lease: leaseOf(job)}
	if job.Started.IsZero() {
		a.Walltime = max(0, job.Submission.Walltime)
	}
	a.Deadline, _ = job.Deadline(suspendedFree)
	return a
}

// Snapshot is what a decision is made on.
type Snapshot struct {
	// Hosts are what jobs are placed on.
	Hosts []berth.Host
	// Active are all jobs that hold resources, Queued those that wait, in the order of the queue.
	Active []Active
	Queued []Queued
	Now    time.Time
	// Assumed is how much longer a job is expected to run when nobody knows; see Decide.
	Assumed time.Duration
}

// Decision is what becomes of one queued job. A job without a decision waits on as it is.
type Decision struct {
	Number int64
	// Hosts gives the job its resources: a host for each of its nodes. Without, Wait and Detail say what it waits for.
	Hosts  []string
	Wait   berth.Wait
	Detail string
}

// Outcome is a decision on the whole queue.
type Outcome struct {
	// Decisions are what to do, in the order in which to do it.
	Decisions []Decision
	// More says that the queue was not looked through, because enough starts or is told for now.
	More bool
	// told is how many decisions only tell why a job waits.
	told int
	// closed is what else cannot start before something ends.
	closed closed
}

// Waits says that one more job, behind all others, would certainly have to wait: to decide again would change nothing.
func (o Outcome) Waits(job Queued) bool { return job.Lease == Lease{} && o.closed.holds(job) }

// Decide is conservative backfill. In the order of the queue every job gets the earliest place that those in front of it leave: the
// hosts of its nodes, all at the same time, when all that run use up their limits. Those whose place is now start; so a job starts
// before one that was submitted earlier only where that takes nothing from it. Behind the first jobs that wait (see depth) only what
// starts now is given a place. A job that the hosts could not hold if they were empty blocks nobody.
//
// Of a job without a walltime limit nobody knows when it ends. It starts only where nobody in front of it will ever want the place,
// and a place is looked for beside those that run. Who must have the place of one gets it Assumed from now, however late it is:
// shorter jobs go first in that time, and no others.
//
// A job whose block vault another one has waits for that alone: it has no place, and those behind it go first. See leases for who gets
// the vault next.
//
// The order of hosts is fixed and nodes go to the first that have room. So the same places are found again as long as nobody ends
// before the limit: what starts moves no reservation.
func Decide(s Snapshot) Outcome {
	p := newPlan(s.Hosts, s.Active, s.Now, s.Assumed)
	p.expect(s.Queued)
	var o Outcome
	starts := 0
	for i := range s.Queued {
		if p.full() && s.Queued[i].Lease.Vault == "" {
			continue
		}
		if starts == burst && !p.full() {
			o.More = true
			break
		}
		job := s.Queued[i]
		if blocker, leased := p.leased(job); leased {
			o.tell(job, berth.WaitVault, blocker.Detail)
			continue
		}
		switch place, v := p.admit(job); v {
		case impossible:
			o.tell(job, berth.WaitResources, tooLarge(job, s.Hosts, p.capacity(job)))
		case starting:
			starts++
			o.Decisions = append(o.Decisions, Decision{Number: job.Number, Hosts: p.names(place)})
		case reserved, behind:
			if job.Wait == berth.WaitVault {
				o.tell(job, berth.WaitResources, "")
			}
		}
	}
	o.closed = p.closed
	return o
}

// tell has a job say what it waits for, unless it says so.
func (o *Outcome) tell(job Queued, wait berth.Wait, detail string) {
	switch {
	case job.Wait == wait && job.Detail == detail:
	case o.told == tells:
		o.More = true
	default:
		o.told++
		o.Decisions = append(o.Decisions, Decision{Number: job.Number, Wait: wait, Detail: detail})
	}
}

const gib = 1 << 30

// tooLarge says why the hosts, of whose nodes there is room for so many, can never hold a job.
func tooLarge(job Queued, hosts []berth.Host, room int) string {
	if len(hosts) != 1 {
		return fmt.Sprintf("the job needs %d nodes with %s each; the hosts have room for %d", job.Nodes, size(job.Need), room)
	}
	need, have := job.Need.Times(job.Nodes), hosts[0].Capacity
	text := fmt.Sprintf("the job needs %d cores, %.1f GiB and %d slots; this server has %d cores, %.1f GiB and %d slots",
		need.Cores, float64(need.RAM)/gib, need.Slots, have.Cores, float64(have.RAM)/gib, have.Slots)
	if need.GPUs > have.GPUs {
		text += fmt.Sprintf("; GPUs: %d needed, %d there", need.GPUs, have.GPUs)
	}
	return text
}

// size says what a node takes.
func size(need berth.Capacity) string {
	text := fmt.Sprintf("%d cores, %.1f GiB", need.Cores, float64(need.RAM)/gib)
	if need.GPUs > 0 {
		text += fmt.Sprintf(", %d GPUs", need.GPUs)
	}
	return text
}
