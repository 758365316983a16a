package scheduler

import (
	"fmt"

	"github.com/berth-hpc/berth"
)

// Lease is what a job needs, or has, of a block vault: one job at a time writes to it, or many read it. The zero value is none.
type Lease struct {
	// Vault is name@owner, Called what the owner of the job calls the vault.
	Vault, Called string
	ReadOnly      bool
}

func leaseOf(job berth.Job) Lease {
	request := job.Submission.Vault
	if !request.Kind.Block() {
		return Lease{}
	}
	return Lease{Vault: berth.FullVaultName(request.Name, job.Owner), Called: request.Name, ReadOnly: request.ReadOnly}
}

// leases are who has the block vaults and who waits for them, by vault. Each goes to the jobs that want it in the order of the queue:
// a reader does not overtake a writer that waits, for whatever it waits, so that a stream of readers keeps no writer out. Those that no
// host could hold wait for nothing.
type leases map[string]*holders

// holders are numbers of jobs; 0 is none.
type holders struct {
	// writer has the vault, or readers have it, of which reader is the first.
	writer, reader int64
	// waiting is the last of those that wait for it, waitingWriter the last writer of them.
	waiting, waitingWriter int64
}

func newLeases(active []Active) leases {
	l := make(leases)
	for i := range active {
		l.take(active[i].Number, active[i].Lease)
	}
	return l
}

func (l leases) of(lease Lease) *holders {
	h := l[lease.Vault]
	if h == nil {
		h = &holders{}
		l[lease.Vault] = h
	}
	return h
}

// take gives a job what it needs.
func (l leases) take(number int64, lease Lease) {
	if lease.Vault == "" {
		return
	}
	switch h := l.of(lease); {
	case !lease.ReadOnly:
		h.writer = number
	case h.reader == 0 || number < h.reader:
		h.reader = number
	}
}

// wait counts a job among those that wait.
func (l leases) wait(number int64, lease Lease) {
	if lease.Vault == "" {
		return
	}
	h := l.of(lease)
	h.waiting = number
	if !lease.ReadOnly {
		h.waitingWriter = number
	}
}

// blocker says who keeps a job from its vault. It names the one right in front of the job: what a job is told then changes when that
// one leaves, and not with every one that has left before.
func (l leases) blocker(lease Lease) (b berth.Blocker, blocked bool) {
	h := l[lease.Vault]
	if lease.Vault == "" || h == nil {
		return berth.Blocker{}, false
	}
	var number int64
	var detail string
	switch {
	case !lease.ReadOnly && h.waiting != 0:
		number, detail = h.waiting, "waits behind job %d for the vault %s"
	case h.waitingWriter != 0:
		number, detail = h.waitingWriter, "waits behind job %d for the vault %s"
	case h.writer != 0:
		number, detail = h.writer, "job %d writes to the vault %s"
	case !lease.ReadOnly && h.reader != 0:
		number, detail = h.reader, "job %d reads the vault %s"
	default:
		return berth.Blocker{}, false
	}
	return berth.Blocker{Kind: berth.BlockerVault, Number: number, Detail: fmt.Sprintf(detail, number, lease.Called)}, true
}

// leased says whether a job has to wait for its vault, and for whom. It is one of those that wait for it then.
func (p *plan) leased(job Queued) (berth.Blocker, bool) {
	b, blocked := p.leases.blocker(job.Lease)
	if !blocked || p.capacity(job) < job.Nodes {
		return berth.Blocker{}, false
	}
	p.leases.wait(job.Number, job.Lease)
	return b, true
}
