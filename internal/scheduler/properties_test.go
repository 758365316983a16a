package scheduler_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/scheduler"
	"github.com/berth-hpc/berth/internal/simulation"
)

const assumed = 10 * time.Hour

// randomHosts draws some hosts of different sizes.
func randomHosts(t *rapid.T) []berth.Host {
	hosts := make([]berth.Host, rapid.IntRange(1, 4).Draw(t, "hosts"))
	for i := range hosts {
		hosts[i] = berth.Host{Name: fmt.Sprint("h", i), Capacity: berth.Capacity{
			Cores: rapid.IntRange(1, 6).Draw(t, "cores"), RAM: rapid.Int64Range(3, 6).Draw(t, "ram"),
			GPUs: rapid.IntRange(0, 2).Draw(t, "gpus"), Slots: rapid.IntRange(1, 4).Draw(t, "slots"),
		}}
	}
	return hosts
}

// randomJobs draws jobs that arrive one after the other, with the given limits in hours; 0 is none. They run for as long as their
// limit, or with early for less.
func randomJobs(t *rapid.T, early bool, limits ...int) []simulation.Job {
	jobs := make([]simulation.Job, rapid.IntRange(1, 20).Draw(t, "jobs"))
	var at time.Duration
	for i := range jobs {
		at += time.Duration(rapid.SampledFrom([]int{0, 0, 1, 30, 120}).Draw(t, "pause")) * time.Minute
		limit := time.Duration(rapid.SampledFrom(limits).Draw(t, "limit")) * time.Hour
		job := scheduler.Queued{
			Number: int64(i), Nodes: rapid.SampledFrom([]int{1, 1, 1, 2, 3}).Draw(t, "nodes"), Walltime: limit,
			Need: berth.Capacity{
				Cores: rapid.IntRange(1, 4).Draw(t, "cores"), RAM: rapid.Int64Range(1, 3).Draw(t, "ram"),
				GPUs: rapid.SampledFrom([]int{0, 0, 1}).Draw(t, "gpus"), Slots: 1,
			},
		}
		runs := limit
		if early || limit == 0 {
			most := 1200
			if limit > 0 {
				most = int(limit / time.Minute)
			}
			runs = time.Duration(rapid.IntRange(1, most).Draw(t, "runs")) * time.Minute
		}
		jobs[i] = simulation.Job{Queued: job, Arrives: at, Runs: runs}
	}
	return jobs
}

// room is for how many nodes there is room.
func room(free, need berth.Capacity) int {
	n := 0
	for free.Fits(need.Times(n + 1)) {
		n++
	}
	return n
}

// totalRoom is for how many nodes there is room on all hosts, besides what is on them.
func totalRoom(hosts []berth.Host, active []scheduler.Active, need berth.Capacity) int {
	n := 0
	for _, host := range hosts {
		free := host.Capacity
		for _, job := range active {
			for _, name := range job.Hosts {
				if name == host.Name {
					free = free.Minus(job.Need)
				}
			}
		}
		n += room(free, need)
	}
	return n
}

// after is a snapshot with a decision carried out.
func after(s scheduler.Snapshot, o scheduler.Outcome) scheduler.Snapshot {
	s.Active, s.Queued = slices.Clone(s.Active), slices.Clone(s.Queued)
	for _, decision := range o.Decisions {
		i := slices.IndexFunc(s.Queued, func(q scheduler.Queued) bool { return q.Number == decision.Number })
		if job := s.Queued[i]; len(decision.Hosts) > 0 {
			s.Active = append(s.Active, scheduler.Active{
				Number: job.Number, Need: job.Need, Hosts: decision.Hosts, Walltime: job.Walltime, Lease: job.Lease,
			})
			s.Queued = slices.Delete(s.Queued, i, i+1)
		} else {
			s.Queued[i].Wait, s.Queued[i].Detail = decision.Wait, decision.Detail
		}
	}
	return s
}

// TestEveryJobRuns lets jobs end when they like: every job that empty hosts can hold runs, all of its nodes at once, and no host
// ever has more on it than it has room for.
func TestEveryJobRuns(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		hosts, jobs := randomHosts(t), randomJobs(t, true, 0, 0, 1, 2, 3, 5, 15)
		ran := simulation.Cluster{Hosts: hosts, Assumed: assumed}.Run(jobs)
		for _, job := range jobs {
			run, ok := ran[job.Number]
			if possible := totalRoom(hosts, nil, job.Need) >= job.Nodes; ok != possible {
				t.Fatalf("job %d ran: %v; empty hosts can hold it: %v", job.Number, ok, possible)
			}
			if ok && (len(run.Hosts) != job.Nodes || run.Start < job.Arrives) {
				t.Fatalf("job %d of %d nodes, submitted at %v, ran as %+v", job.Number, job.Nodes, job.Arrives, run)
			}
			checkLoad(t, hosts, jobs, ran, run.Start)
		}
	})
}

// checkLoad holds that what runs at a time fits on its hosts.
func checkLoad(t *rapid.T, hosts []berth.Host, jobs []simulation.Job, ran map[int64]simulation.Run, at time.Duration) {
	free := make(map[string]berth.Capacity)
	for _, host := range hosts {
		free[host.Name] = host.Capacity
	}
	for _, job := range jobs {
		run, ok := ran[job.Number]
		if !ok || run.Start > at || run.End <= at {
			continue
		}
		for _, host := range run.Hosts {
			free[host] = free[host].Minus(job.Need)
		}
	}
	for name, left := range free {
		if !left.Fits(berth.Capacity{}) {
			t.Fatalf("at %v host %s has %+v left", at, name, left)
		}
	}
}

// TestEveryDecision holds what every decision promises, whatever the state.
func TestEveryDecision(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		hosts, jobs := randomHosts(t), randomJobs(t, true, 0, 1, 2, 3, 5, 15)
		simulation.Cluster{Hosts: hosts, Assumed: assumed, Decided: func(s scheduler.Snapshot, o scheduler.Outcome) {
			checkRepeatable(t, s, o)
			checkNobodyBehindMatters(t, s, o)
			checkNoReservationMoves(t, s, o)
			checkNoIdleHosts(t, s, o)
		}}.Run(jobs)
	})
}

// checkRepeatable: the order in which hosts and running jobs are named does not matter.
func checkRepeatable(t *rapid.T, s scheduler.Snapshot, o scheduler.Outcome) {
	s.Hosts, s.Active = slices.Clone(s.Hosts), slices.Clone(s.Active)
	slices.Reverse(s.Hosts)
	slices.Reverse(s.Active)
	if diff := cmp.Diff(o, scheduler.Decide(s), cmpopts.IgnoreUnexported(scheduler.Outcome{})); diff != "" {
		t.Fatalf("another decision on the same (-first +second):\n%s", diff)
	}
}

// checkNobodyBehindMatters: which jobs start, and where, is the same without those behind them.
func checkNobodyBehindMatters(t *rapid.T, s scheduler.Snapshot, o scheduler.Outcome) {
	for n := range s.Queued {
		prefix := s
		prefix.Queued = s.Queued[:n]
		want := slices.DeleteFunc(starts(o), func(d scheduler.Decision) bool { return d.Number >= s.Queued[n].Number })
		if diff := cmp.Diff(want, starts(scheduler.Decide(prefix)), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("with those behind and without (-with +without):\n%s", diff)
		}
	}
}

// starts are the decisions that start a job.
func starts(o scheduler.Outcome) []scheduler.Decision {
	return slices.DeleteFunc(slices.Clone(o.Decisions), func(d scheduler.Decision) bool { return len(d.Hosts) == 0 })
}

// checkNoReservationMoves: those that wait can start when they could before others were started.
func checkNoReservationMoves(t *rapid.T, s scheduler.Snapshot, o scheduler.Outcome) {
	done := after(s, o)
	for _, job := range done.Queued {
		if before, now := forecast(s, job.Number), forecast(done, job.Number); !before.Start.Equal(now.Start) {
			t.Fatalf("job %d: the start was %v and is %v after others were started", job.Number, before.Start, now.Start)
		}
	}
}

// checkNoIdleHosts: the first job that waits does not fit, although nothing is reserved in front of it.
func checkNoIdleHosts(t *rapid.T, s scheduler.Snapshot, o scheduler.Outcome) {
	done := after(s, o)
	for _, job := range done.Queued {
		if totalRoom(s.Hosts, nil, job.Need) < job.Nodes {
			continue
		}
		if n := totalRoom(s.Hosts, done.Active, job.Need); n >= job.Nodes {
			t.Fatalf("job %d waits although there is room for %d of its nodes", job.Number, n)
		}
		return
	}
}

// TestEveryReservationIsKept lets jobs use up their limits: every job starts exactly when the forecast said at its submission,
// whatever was submitted later.
func TestEveryReservationIsKept(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		hosts, jobs := randomHosts(t), randomJobs(t, false, 1, 2, 3, 5, 15)
		first := make(map[int64]time.Time)
		ran := simulation.Cluster{Hosts: hosts, Assumed: assumed, Decided: func(s scheduler.Snapshot, _ scheduler.Outcome) {
			for _, job := range s.Queued {
				if _, ok := first[job.Number]; !ok {
					first[job.Number] = forecast(s, job.Number).Start
				}
			}
		}}.Run(jobs)
		for number, run := range ran {
			if start := simulation.Epoch.Add(run.Start); !start.Equal(first[number]) {
				t.Fatalf("job %d started at %v, the forecast was %v", number, start, first[number])
			}
		}
	})
}

// TestTheFirstIsNeverDelayed lets jobs end when they like: the first one of those that wait never starts later than it was told.
func TestTheFirstIsNeverDelayed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		hosts, jobs := randomHosts(t), randomJobs(t, true, 1, 2, 3, 5, 15)
		number := int64(-1)
		var told time.Time
		simulation.Cluster{Hosts: hosts, Assumed: assumed, Decided: func(s scheduler.Snapshot, o scheduler.Outcome) {
			for _, job := range s.Queued {
				start := forecast(s, job.Number).Start
				if start.IsZero() {
					continue // impossible
				}
				if job.Number == number && start.After(told) {
					t.Fatalf("job %d was told %v, and %v later", number, told, start)
				}
				number, told = job.Number, start
				return
			}
		}}.Run(jobs)
	})
}

// TestAStreamWithoutLimits: jobs without a limit that keep coming do not keep a big one from starting. It waits for those that ran
// before it, and for no other.
func TestAStreamWithoutLimits(t *testing.T) {
	t.Parallel()
	one := scheduler.Queued{Nodes: 1, Need: berth.Capacity{Cores: 1, Slots: 1}}
	big := scheduler.Queued{Number: 3, Nodes: 1, Need: berth.Capacity{Cores: 3, Slots: 1}}
	var jobs []simulation.Job
	for i := range int64(100) {
		job := one
		if job.Number = i; i == big.Number {
			job = big
		}
		jobs = append(jobs, simulation.Job{Queued: job, Arrives: time.Duration(i) * time.Minute, Runs: time.Hour + time.Duration(i*20)*time.Minute})
	}
	hosts := []berth.Host{{Name: "a", Capacity: berth.Capacity{Cores: 4, Slots: 9}}}
	ran := simulation.Cluster{Hosts: hosts, Assumed: assumed}.Run(jobs)
	if got, want := ran[big.Number].Start, ran[1].End; got != want {
		t.Errorf("the big job started at %v, want %v, when two of the three in front of it had ended", got, want)
	}
}

// forecast is that of a queued job.
func forecast(s scheduler.Snapshot, number int64) berth.Forecast {
	o := scheduler.Outlook{Hosts: s.Hosts, Now: s.Now, Assumed: s.Assumed}
	for _, a := range s.Active {
		job := berth.Job{Number: a.Number, State: berth.StateRunning, Need: a.Need, Hosts: a.Hosts}
		job.Submission.Vault = vaultOf(a.Lease)
		switch {
		case !a.Deadline.IsZero(): // only the deadline matters
			job.Started, job.Submission.Walltime = a.Deadline.Add(-time.Hour), time.Hour
		default:
			job.Submission.Walltime = a.Walltime
		}
		o.Active = append(o.Active, job)
	}
	for _, q := range s.Queued {
		o.Position++
		job := berth.Job{Number: q.Number, State: berth.StateQueued, Need: q.Need}
		job.Submission.Machine.Nodes, job.Submission.Walltime, job.Submission.Vault = q.Nodes, q.Walltime, vaultOf(q.Lease)
		if o.Job = job; q.Number == number {
			break
		}
		o.Ahead = append(o.Ahead, job)
	}
	return o.Forecast()
}
