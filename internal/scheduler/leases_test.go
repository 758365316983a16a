package scheduler

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
)

// writes and reads give a job the block vault home of ada.
func writes(j berth.Job) berth.Job {
	j.Owner, j.Submission.Vault = "ada", berth.VaultRequest{Name: "home", Kind: berth.VaultBlock}
	return j
}

func reads(j berth.Job) berth.Job {
	j = writes(j)
	j.Submission.Vault.ReadOnly = true
	return j
}

// byBob makes a job one of somebody who has the vault by the team.
func byBob(j berth.Job) berth.Job {
	j.Owner, j.Submission.Vault.Name = "bob", "home@ada"
	return j
}

func told(j berth.Job, wait berth.Wait, detail string) berth.Job {
	j.Wait, j.WaitDetail = wait, detail
	return j
}

// tell has a job wait for its vault.
func tell(number int64, detail string) Decision {
	return Decision{Number: number, Wait: berth.WaitVault, Detail: detail}
}

func TestDecideOnVaults(t *testing.T) {
	other := writes(job(2, 1))
	other.Owner = "bob"
	file := writes(job(2, 1))
	file.Submission.Vault.Kind = berth.VaultFile
	for name, test := range map[string]struct {
		active, queued []berth.Job
		want           []Decision
	}{
		"one writes": {
			active: []berth.Job{started(writes(job(1, 1)), 0)}, queued: []berth.Job{writes(job(2, 1)), reads(job(3, 1)), job(4, 1)},
			want: []Decision{tell(2, "job 1 writes to the vault home"), tell(3, "waits behind job 2 for the vault home"), on(4, "a")},
		},
		"many read": {
			active: []berth.Job{started(reads(job(2, 1)), 0), started(reads(job(1, 1)), 0)}, queued: []berth.Job{reads(job(3, 1)), writes(job(4, 1))},
			want: []Decision{on(3, "a"), tell(4, "job 1 reads the vault home")},
		},
		"a reader does not overtake a writer": {
			active: []berth.Job{started(reads(job(1, 1)), 0)}, queued: []berth.Job{writes(job(2, 1)), reads(job(3, 1)), writes(job(4, 1))},
			want: []Decision{
				tell(2, "job 1 reads the vault home"), tell(3, "waits behind job 2 for the vault home"), tell(4, "waits behind job 3 for the vault home"),
			},
		},
		"two that are queued": {
			queued: []berth.Job{writes(job(1, 1)), byBob(writes(job(2, 1)))},
			want:   []Decision{on(1, "a"), tell(2, "job 1 writes to the vault home@ada")},
		},
		"behind one that waits for hosts": {
			active: []berth.Job{started(limited(job(1, 2), time.Hour), 0)}, queued: []berth.Job{writes(job(2, 3)), reads(job(3, 1))},
			want: []Decision{tell(3, "waits behind job 2 for the vault home")},
		},
		"behind one that can never start": {queued: []berth.Job{
			told(writes(job(1, 8)), berth.WaitResources, "the job needs 8 cores, 8.0 GiB and 1 slots; this server has 4 cores, 4.0 GiB and 4 slots"),
			writes(job(2, 1)),
		}, want: []Decision{on(2, "a")}},
		"one that can never start says that": {
			active: []berth.Job{started(writes(job(1, 1)), 0)}, queued: []berth.Job{writes(job(2, 8))},
			want: []Decision{{
				Number: 2, Wait: berth.WaitResources,
				Detail: "the job needs 8 cores, 8.0 GiB and 1 slots; this server has 4 cores, 4.0 GiB and 4 slots",
			}},
		},
		"it is told once": {
			active: []berth.Job{started(writes(job(1, 1)), 0)},
			queued: []berth.Job{told(writes(job(2, 1)), berth.WaitVault, "job 1 writes to the vault home")},
		},
		"and again when another one has it": {
			active: []berth.Job{started(writes(job(2, 1)), 0)},
			queued: []berth.Job{told(writes(job(3, 1)), berth.WaitVault, "job 1 writes to the vault home")},
			want:   []Decision{tell(3, "job 2 writes to the vault home")},
		},
		"the vault is free, the hosts are not": {
			active: []berth.Job{started(job(1, 4), 0)},
			queued: []berth.Job{told(writes(job(2, 1)), berth.WaitVault, "job 9 writes to the vault home")},
			want:   []Decision{{Number: 2, Wait: berth.WaitResources}},
		},
		"on a full machine": {
			active: []berth.Job{started(writes(job(1, 4)), 0)}, queued: []berth.Job{job(2, 1), writes(job(3, 1))},
			want: []Decision{tell(3, "job 1 writes to the vault home")},
		},
		"somebody else's of that name": {active: []berth.Job{started(writes(job(1, 1)), 0)}, queued: []berth.Job{other}, want: []Decision{on(2, "a")}},
		"a file vault":                 {active: []berth.Job{started(writes(job(1, 1)), 0)}, queued: []berth.Job{file}, want: []Decision{on(2, "a")}},
		"it has no place": {
			active: []berth.Job{started(writes(job(1, 1)), 0)}, queued: []berth.Job{writes(job(2, 4)), job(3, 3)},
			want: []Decision{tell(2, "job 1 writes to the vault home"), on(3, "a")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := Snapshot{Hosts: hosts(1), Active: activeOf(test.active...), Queued: queuedOf(test.queued...), Now: now, Assumed: assumed}
			got := Decide(s)
			if diff := cmp.Diff(test.want, got.Decisions); diff != "" || got.More {
				t.Errorf("more %v; decisions (-want +got):\n%s", got.More, diff)
			}
		})
	}
}

// TestManyThatWaitForAVault: only so many are told at a time, which keeps nobody from starting.
func TestManyThatWaitForAVault(t *testing.T) {
	s := Snapshot{Hosts: hosts(1), Active: activeOf(started(writes(job(1, 1)), 0)), Now: now, Assumed: assumed}
	for i := range int64(tells + 1) {
		s.Queued = append(s.Queued, QueuedOf(writes(job(2+i, 1))))
	}
	s.Queued = append(s.Queued, QueuedOf(job(1000, 1)))
	got := Decide(s)
	if last := got.Decisions[len(got.Decisions)-1]; len(got.Decisions) != tells+1 || !got.More || !cmp.Equal(last, on(1000, "a")) {
		t.Errorf("%d decisions, more %v, the last is %+v", len(got.Decisions), got.More, last)
	}
	if got.Waits(QueuedOf(writes(job(1001, 9)))) {
		t.Error("nobody would tell one more what it waits for")
	}
}

func TestForecastOfAVault(t *testing.T) {
	outlook := Outlook{
		Hosts: hosts(1), Active: []berth.Job{started(limited(writes(job(1, 1)), time.Hour), 0)},
		Ahead: []berth.Job{writes(job(2, 1))}, Position: 2, Now: now, Assumed: assumed,
	}
	for name, test := range map[string]struct {
		job  berth.Job
		want berth.Forecast
	}{
		"the vault": {writes(job(3, 1)), berth.Forecast{Position: 2, Blockers: []berth.Blocker{
			{Kind: berth.BlockerVault, Number: 2, Detail: "waits behind job 2 for the vault home"},
		}}},
		"nobody": {job(3, 1), berth.Forecast{Position: 2, Start: now}},
		"who may go first or not": {job(3, 4), berth.Forecast{Position: 2, Blockers: []berth.Blocker{
			{Kind: berth.BlockerResources, Detail: "cores: 4 needed, 3 free; memory: 4.0 GiB needed, 3.0 GiB free"},
			{Kind: berth.BlockerJob, Number: 1, Detail: "job 1 runs until 2026-01-01T13:00:00Z at the latest"},
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			o := outlook
			o.Job = test.job
			if diff := cmp.Diff(test.want, o.Forecast()); diff != "" {
				t.Errorf("forecast (-want +got):\n%s", diff)
			}
		})
	}
}
