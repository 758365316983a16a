package scheduler

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
)

var now = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

const assumed = 24 * time.Hour

func job(number int64, cores int) berth.Job {
	return berth.Job{Number: number, State: berth.StateQueued, Need: berth.Capacity{Cores: cores, RAM: int64(cores) << 30, Slots: 1}}
}

// nodes makes a job one of several nodes.
func nodes(j berth.Job, n int) berth.Job {
	j.Submission.Machine.Nodes = n
	return j
}

// limited gives a job a walltime limit.
func limited(j berth.Job, limit time.Duration) berth.Job {
	j.Submission.Walltime = limit
	return j
}

// started is a job that runs since some time ago, on host a unless others are named.
func started(j berth.Job, ago time.Duration, hosts ...string) berth.Job {
	j.State, j.Started = berth.StateRunning, now.Add(-ago)
	if j.Hosts = hosts; len(hosts) == 0 {
		j.Hosts = []string{"a"}
	}
	return j
}

var four = berth.Capacity{Cores: 4, RAM: 4 << 30, Slots: 4}

// hosts are some with four cores each: a, b, c...
func hosts(n int) []berth.Host {
	all := make([]berth.Host, n)
	for i := range all {
		all[i] = berth.Host{Name: string(rune('a' + i)), Capacity: four}
	}
	return all
}

func queuedOf(jobs ...berth.Job) []Queued {
	var all []Queued
	for _, j := range jobs {
		all = append(all, QueuedOf(j))
	}
	return all
}

func activeOf(jobs ...berth.Job) []Active {
	var all []Active
	for _, j := range jobs {
		all = append(all, ActiveOf(j, false))
	}
	return all
}

// on places a job.
func on(number int64, hosts ...string) Decision { return Decision{Number: number, Hosts: hosts} }

func TestDecide(t *testing.T) {
	const impossible = "the job needs 8 cores, 8.0 GiB and 1 slots; this server has 4 cores, 4.0 GiB and 4 slots"
	known := job(1, 8)
	known.Wait, known.WaitDetail = berth.WaitResources, impossible
	gpu := job(1, 1)
	gpu.Need.GPUs = 2
	gpuHost := append(hosts(2), berth.Host{Name: "0", Capacity: berth.Capacity{Cores: 4, RAM: 4 << 30, GPUs: 3, Slots: 4}})
	starting := limited(job(1, 3), time.Hour)
	starting.State, starting.Hosts = berth.StateStarting, []string{"a"}
	for name, test := range map[string]struct {
		hosts          []berth.Host
		active, queued []berth.Job
		want           []Decision
	}{
		"nothing queued": {hosts: hosts(1)},
		"no host":        {queued: []berth.Job{job(1, 1)}},
		"all fit": {
			hosts: hosts(1), queued: []berth.Job{job(1, 2), job(2, 2)}, want: []Decision{on(1, "a"), on(2, "a")},
		},
		"one that waits for a job without limit holds back those without a limit": {
			hosts: hosts(1), active: []berth.Job{started(job(1, 2), time.Hour)}, queued: []berth.Job{job(2, 1), job(3, 2), job(4, 1)},
			want: []Decision{on(2, "a")},
		},
		"but not shorter ones": {
			hosts: hosts(1), active: []berth.Job{started(job(1, 2), time.Hour)}, queued: []berth.Job{job(2, 3), limited(job(3, 1), assumed)},
			want: []Decision{on(3, "a")},
		},
		"one that ends before the first can start goes first": {
			hosts: hosts(1), active: []berth.Job{started(limited(job(1, 3), time.Hour), 0)},
			queued: []berth.Job{job(2, 4), limited(job(3, 1), time.Hour+1), limited(job(4, 1), time.Hour)}, want: []Decision{on(4, "a")},
		},
		"the limit of one that starts is not running yet": {
			hosts: hosts(1), active: []berth.Job{starting}, queued: []berth.Job{job(2, 4), limited(job(3, 1), time.Hour)},
			want: []Decision{on(3, "a")},
		},
		"one that is over its limit still holds what it has": {
			hosts: hosts(1), active: []berth.Job{started(limited(job(1, 3), time.Hour), 2*time.Hour)},
			queued: []berth.Job{limited(job(2, 4), time.Hour), limited(job(3, 1), time.Hour)},
		},
		"one that leaves room on the reserved host may stay": {
			hosts: hosts(1), active: []berth.Job{started(limited(job(1, 3), time.Hour), 0)},
			queued: []berth.Job{job(2, 3), job(3, 1)}, want: []Decision{on(3, "a")},
		},
		"nodes start together": {
			hosts: hosts(3), active: []berth.Job{started(job(1, 2), 0)}, queued: []berth.Job{nodes(job(2, 3), 2), nodes(job(3, 1), 2)},
			want: []Decision{on(2, "b", "c"), on(3, "a", "a")},
		},
		"or not at all": {
			hosts: hosts(3), active: []berth.Job{started(limited(job(1, 2), time.Hour), 0)},
			queued: []berth.Job{limited(nodes(job(2, 3), 3), time.Hour), limited(job(3, 2), 2*time.Hour), limited(job(4, 2), time.Hour)},
			want:   []Decision{on(4, "a")},
		},
		"a job that waits reserves its own hosts only": {
			hosts: hosts(2), active: []berth.Job{started(limited(job(1, 4), time.Hour), 0), started(limited(job(2, 1), 2*time.Hour), 0, "b")},
			queued: []berth.Job{job(3, 4), job(4, 3)}, want: []Decision{on(4, "b")},
		},
		"GPUs are kept for who needs them": {
			hosts: gpuHost, queued: []berth.Job{job(2, 4), gpu, gpu}, want: []Decision{on(2, "a"), on(1, "0")},
		},
		"what runs on a host that is gone takes nothing": {
			hosts: hosts(1), active: []berth.Job{started(job(1, 4), 0, "z")}, queued: []berth.Job{job(2, 4)}, want: []Decision{on(2, "a")},
		},
		"one that can never fit holds back nobody": {
			hosts: hosts(1), queued: []berth.Job{job(1, 8), job(2, 1)}, want: []Decision{{Number: 1, Wait: berth.WaitResources, Detail: impossible}, on(2, "a")},
		},
		"its nodes do not fit on the hosts": {
			hosts: hosts(3), queued: []berth.Job{nodes(gpu, 2), nodes(job(2, 3), 4)}, want: []Decision{
				{Number: 1, Wait: berth.WaitResources, Detail: "the job needs 2 nodes with 1 cores, 1.0 GiB, 2 GPUs each; the hosts have room for 0"},
				{Number: 2, Wait: berth.WaitResources, Detail: "the job needs 4 nodes with 3 cores, 3.0 GiB each; the hosts have room for 3"},
			},
		},
		"it is told once": {hosts: hosts(1), queued: []berth.Job{known}},
		"a full machine":  {hosts: hosts(1), active: []berth.Job{started(job(1, 4), 0)}, queued: []berth.Job{job(2, 1)}},
	} {
		t.Run(name, func(t *testing.T) {
			snapshot := Snapshot{Hosts: test.hosts, Active: activeOf(test.active...), Queued: queuedOf(test.queued...), Now: now, Assumed: assumed}
			got := Decide(snapshot)
			if diff := cmp.Diff(test.want, got.Decisions); diff != "" || got.More {
				t.Errorf("more %v; decisions (-want +got):\n%s", got.More, diff)
			}
		})
	}
}

// TestDecideBehindTheReservations: so many jobs that wait get a reservation. One behind them starts where it takes nothing of these,
// and the next ones like one that does not are not looked at.
func TestDecideBehindTheReservations(t *testing.T) {
	s := Snapshot{Hosts: hosts(1), Active: activeOf(started(limited(job(1, 3), time.Hour), 0)), Now: now, Assumed: assumed}
	for i := range int64(depth) {
		s.Queued = append(s.Queued, QueuedOf(limited(job(2+i, 4), time.Hour)))
	}
	const long, short = 1000, 1001
	s.Queued = append(s.Queued, QueuedOf(limited(job(long, 1), 2*time.Hour)), QueuedOf(limited(job(short, 1), time.Hour)))
	got := Decide(s)
	if diff := cmp.Diff([]Decision{on(short, "a")}, got.Decisions); diff != "" {
		t.Errorf("decisions (-want +got):\n%s", diff)
	}
	// Longer ones than one that was tried are known to wait, so that these are not counted as trials.
	s.Queued = s.Queued[:depth]
	for i := range int64(2 * trials) {
		s.Queued = append(s.Queued, QueuedOf(limited(job(long+i, 1), 2*time.Hour+time.Duration(i))))
	}
	s.Queued = append(s.Queued, QueuedOf(limited(job(long+3*trials, 1), time.Hour)))
	if diff := cmp.Diff([]Decision{on(long+3*trials, "a")}, Decide(s).Decisions); diff != "" {
		t.Errorf("decisions behind many that are alike (-want +got):\n%s", diff)
	}
}

// TestDecideInBursts: no more than so many start in one decision; the next one goes on.
func TestDecideInBursts(t *testing.T) {
	s := Snapshot{Hosts: []berth.Host{{Name: "a", Capacity: berth.Capacity{Cores: 2 * burst, RAM: 1 << 50, Slots: 2 * burst}}}, Now: now}
	for i := range int64(burst + 1) {
		s.Queued = append(s.Queued, QueuedOf(job(i, 1)))
	}
	if got := Decide(s); len(got.Decisions) != burst || !got.More {
		t.Errorf("%d decisions, more %v; want %d and true", len(got.Decisions), got.More, burst)
	}
	s.Queued = s.Queued[:burst]
	if got := Decide(s); len(got.Decisions) != burst || got.More {
		t.Errorf("%d decisions, more %v; want %d and false", len(got.Decisions), got.More, burst)
	}
}

// TestOutcomeWaits: only a job that certainly waits wakes nobody.
func TestOutcomeWaits(t *testing.T) {
	running := activeOf(started(limited(job(1, 2), time.Hour), 0))
	o := Decide(Snapshot{
		Hosts: hosts(1), Active: running, Queued: queuedOf(job(2, 4), limited(job(3, 1), 3*time.Hour)), Now: now, Assumed: assumed,
	})
	full := Decide(Snapshot{Hosts: hosts(1), Active: activeOf(started(job(1, 4), 0)), Queued: queuedOf(job(2, 2)), Now: now, Assumed: assumed})
	for i, test := range []struct {
		outcome Outcome
		job     berth.Job
		want    bool
	}{
		{o, job(4, 4), true},
		{o, job(4, 1), true},
		{o, limited(job(4, 1), 4*time.Hour), true},
		{o, limited(job(4, 1), time.Hour), false},
		{o, nodes(limited(job(4, 1), 4*time.Hour), 2), false}, // nobody has tried
		{o, job(4, 2), false},
		{full, job(3, 2), true},
		{full, job(3, 3), true},
		{full, job(3, 1), false}, // smaller than any that waits
		{Decide(Snapshot{Hosts: hosts(1), Now: now}), job(1, 1), false},
	} {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			if got := test.outcome.Waits(QueuedOf(test.job)); got != test.want {
				t.Errorf("Waits = %v, want %v", got, test.want)
			}
		})
	}
}
