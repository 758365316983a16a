package scheduler_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/scheduler"
	"github.com/berth-hpc/berth/internal/simulation"
)

// vaultOf is the request of a lease, of a job whose owner has no name.
func vaultOf(l scheduler.Lease) berth.VaultRequest {
	if l.Vault == "" {
		return berth.VaultRequest{}
	}
	return berth.VaultRequest{Name: l.Called, Kind: berth.VaultBlock, ReadOnly: l.ReadOnly}
}

// leased gives most jobs one of two block vaults.
func leased(t *rapid.T, jobs []simulation.Job) []simulation.Job {
	for i := range jobs {
		jobs[i].Number = int64(i + 1)
		if name := rapid.SampledFrom([]string{"", "a", "a", "b"}).Draw(t, "vault"); name != "" {
			jobs[i].Lease = scheduler.Lease{Vault: name + "@", Called: name, ReadOnly: rapid.Bool().Draw(t, "reads")}
		}
	}
	return jobs
}

// excludes says whether two jobs cannot have their vaults at the same time.
func excludes(a, b scheduler.Lease) bool {
	return a.Vault != "" && a.Vault == b.Vault && (!a.ReadOnly || !b.ReadOnly)
}

// TestVaultsGoFromJobToJob lets jobs end when they like: all run, those that exclude each other one after the other, in the order of
// the queue. So nobody overtakes a writer, and readers keep none out.
func TestVaultsGoFromJobToJob(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		hosts, jobs := randomHosts(t), leased(t, randomJobs(t, true, 0, 0, 1, 2, 3, 5, 15))
		ran := simulation.Cluster{Hosts: hosts, Assumed: assumed, Decided: func(s scheduler.Snapshot, o scheduler.Outcome) {
			checkRepeatable(t, s, o)
			checkNobodyBehindMatters(t, s, o)
			if !o.More {
				checkTold(t, hosts, after(s, o))
			}
		}}.Run(jobs)
		for i, job := range jobs {
			run, ok := ran[job.Number]
			if possible := totalRoom(hosts, nil, job.Need) >= job.Nodes; ok != possible {
				t.Fatalf("job %d ran: %v; empty hosts can hold it: %v", job.Number, ok, possible)
			}
			for _, earlier := range jobs[:i] {
				if before, ran := ran[earlier.Number]; ok && ran && excludes(earlier.Lease, job.Lease) && before.End > run.Start {
					t.Fatalf("job %d began at %v, job %d in front of it ended at %v", job.Number, run.Start, earlier.Number, before.End)
				}
			}
		}
	})
}

// checkTold: who waits for a vault says so, and nobody else does.
func checkTold(t *rapid.T, hosts []berth.Host, s scheduler.Snapshot) {
	var others []scheduler.Lease
	for _, a := range s.Active {
		others = append(others, a.Lease)
	}
	for _, job := range s.Queued {
		if totalRoom(hosts, nil, job.Need) < job.Nodes {
			continue
		}
		waits := false
		for _, other := range others {
			waits = waits || excludes(other, job.Lease)
		}
		if told := job.Wait == berth.WaitVault; told != waits {
			t.Fatalf("job %d says %q, %q; another one has its vault: %v", job.Number, job.Wait, job.Detail, waits)
		}
		others = append(others, job.Lease)
	}
}

// TestForecastsWithVaults lets jobs use up their limits: whoever was told a start begins then at the latest, whatever vaults the
// others wait for.
func TestForecastsWithVaults(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		hosts, jobs := randomHosts(t), leased(t, randomJobs(t, false, 1, 2, 3, 5, 15))
		first := make(map[int64]time.Time)
		ran := simulation.Cluster{Hosts: hosts, Assumed: assumed, Decided: func(s scheduler.Snapshot, _ scheduler.Outcome) {
			for _, job := range s.Queued {
				if start := forecast(s, job.Number).Start; first[job.Number].IsZero() {
					first[job.Number] = start
				}
			}
		}}.Run(jobs)
		for number, run := range ran {
			if start := simulation.Epoch.Add(run.Start); !first[number].IsZero() && start.After(first[number]) {
				t.Fatalf("job %d started at %v, the forecast was %v", number, start, first[number])
			}
		}
	})
}
