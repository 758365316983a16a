package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berth-hpc/berth"
)

// named is how many jobs of a kind a forecast names.
const named = 5

// queueBlockers names the jobs that go first, of which some more may be known by their number only.
func queueBlockers(first []berth.Job, cut int) []berth.Blocker {
	var blockers []berth.Blocker
	for _, job := range first[:min(named, len(first))] {
		blockers = append(blockers, berth.Blocker{
			Kind: berth.BlockerQueue, Number: job.Number, Detail: fmt.Sprintf("job %d was submitted earlier and goes first", job.Number),
		})
	}
	if more := len(first) - len(blockers) + cut; more > 0 {
		blockers = append(blockers, berth.Blocker{
			Kind: berth.BlockerQueue, Detail: fmt.Sprintf("%d more jobs go first", more),
		})
	}
	return blockers
}

// resourceBlockers says what is taken of what the job needs, and by whom: by the jobs that hold the place which it would get first
// if nobody else waited.
func (o Outlook) resourceBlockers(job Queued, place place) []berth.Blocker {
	p := o.plan()
	blockers := []berth.Blocker{{Kind: berth.BlockerResources, Detail: p.missing(job)}}
	var holders []ending
	hosts := p.names(place)
	for _, other := range o.Active {
		active := ActiveOf(other, o.SuspendedFree)
		left, known := left(&active, o.Now, o.Assumed)
		if left <= place.at && slices.ContainsFunc(other.Hosts, func(host string) bool { return slices.Contains(hosts, host) }) {
			holders = append(holders, ending{job: other, at: o.Now.Add(left), known: known})
		}
	}
	slices.SortStableFunc(holders, func(a, b ending) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.job.Number, b.job.Number)) })
	for _, holder := range holders[:min(named, len(holders))] {
		blockers = append(blockers, berth.Blocker{Kind: berth.BlockerJob, Number: holder.job.Number, Detail: holder.String()})
	}
	return blockers
}

// missing says what a job needs and what there is now, for what there is not enough of.
func (p *plan) missing(job Queued) string {
	if len(p.hosts) == 1 {
		return missing(job.Need.Times(job.Nodes), p.hosts[0].steps[0].free)
	}
	nodes := 0
	for i := range p.hosts {
		nodes += room(&p.hosts[i].steps[0].free, &job.Need, job.Nodes)
	}
	return fmt.Sprintf("nodes with %s: %d needed, room for %d", size(job.Need), job.Nodes, nodes)
}

func missing(need, free berth.Capacity) string {
	var words []string
	if need.Cores > free.Cores {
		words = append(words, fmt.Sprintf("cores: %d needed, %d free", need.Cores, max(0, free.Cores)))
	}
	if need.RAM > free.RAM {
		words = append(words, fmt.Sprintf("memory: %.1f GiB needed, %.1f GiB free", float64(need.RAM)/gib, float64(max(0, free.RAM))/gib))
	}
	if need.GPUs > free.GPUs {
		words = append(words, fmt.Sprintf("GPUs: %d needed, %d free", need.GPUs, max(0, free.GPUs)))
	}
	if need.Slots > free.Slots {
		words = append(words, fmt.Sprintf("slots: %d needed, %d free", need.Slots, max(0, free.Slots)))
	}
	return strings.Join(words, "; ")
}

// ending is when a job that runs gives back what it holds.
type ending struct {
	job   berth.Job
	at    time.Time
	known bool
}

func (e ending) String() string {
	switch {
	case e.known:
		return fmt.Sprintf("job %d runs until %s at the latest", e.job.Number, e.at.UTC().Format(time.RFC3339))
	case !e.job.Suspended.IsZero():
		return fmt.Sprintf("job %d is suspended", e.job.Number)
	default:
		return fmt.Sprintf("job %d runs and has no walltime limit", e.job.Number)
	}
}
