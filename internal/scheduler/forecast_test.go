package scheduler

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
)

func gpus(j berth.Job) berth.Job {
	j.Need.GPUs = 1
	return j
}

func TestForecast(t *testing.T) {
	suspended := started(limited(job(1, 4), time.Hour), 10*time.Minute)
	suspended.Suspended = now.Add(-time.Minute)
	for name, test := range map[string]struct {
		outlook Outlook
		want    berth.Forecast
	}{
		"it can start at once": {
			Outlook{Active: []berth.Job{started(job(1, 2), 0)}, Job: job(2, 2), Position: 1},
			berth.Forecast{Position: 1, Start: now},
		},
		"it can start together with those in front": {
			Outlook{Ahead: []berth.Job{job(1, 2), job(2, 9)}, Job: job(3, 2), Position: 3},
			berth.Forecast{Position: 3, Start: now},
		},
		"it can never start": {
			Outlook{Job: job(1, 9), Position: 1},
			berth.Forecast{Position: 1, Blockers: []berth.Blocker{{Kind: berth.BlockerImpossible, Detail: "the job needs 9 cores, 9.0 GiB and 1 slots; this server has 4 cores, 4.0 GiB and 4 slots"}}},
		},
		"it waits for what others hold": {
			Outlook{
				Active: []berth.Job{started(job(1, 1), time.Hour), started(limited(job(2, 2), time.Hour), 10*time.Minute), started(limited(job(3, 1), time.Hour), 20*time.Minute)},
				Job:    job(4, 3), Position: 1,
			},
			berth.Forecast{Position: 1, Start: now.Add(50 * time.Minute), Blockers: []berth.Blocker{
				{Kind: berth.BlockerResources, Detail: "cores: 3 needed, 0 free; memory: 3.0 GiB needed, 0.0 GiB free"},
				{Kind: berth.BlockerJob, Number: 3, Detail: "job 3 runs until 2026-01-01T12:40:00Z at the latest"},
				{Kind: berth.BlockerJob, Number: 2, Detail: "job 2 runs until 2026-01-01T12:50:00Z at the latest"},
			}},
		},
		"nobody knows when the one that runs ends": {
			Outlook{Active: []berth.Job{started(job(1, 4), time.Hour)}, Job: job(2, 1), Position: 1},
			berth.Forecast{Position: 1, Blockers: []berth.Blocker{
				{Kind: berth.BlockerResources, Detail: "cores: 1 needed, 0 free; memory: 1.0 GiB needed, 0.0 GiB free"},
				{Kind: berth.BlockerJob, Number: 1, Detail: "job 1 runs and has no walltime limit"},
			}},
		},
		"it fits, and others go first": {
			Outlook{
				Active: []berth.Job{started(limited(job(1, 3), time.Hour), 0)},
				Ahead:  []berth.Job{limited(job(2, 4), time.Hour)}, Job: job(3, 1), Position: 2,
			},
			berth.Forecast{Position: 2, Start: now.Add(2 * time.Hour), Blockers: []berth.Blocker{
				{Kind: berth.BlockerQueue, Number: 2, Detail: "job 2 was submitted earlier and goes first"},
			}},
		},
		"one in front has no limit": {
			Outlook{
				Active: []berth.Job{started(limited(job(1, 3), time.Hour), 0)},
				Ahead:  []berth.Job{job(2, 4), limited(job(3, 1), time.Hour)}, Job: job(4, 1), Position: 3,
			},
			berth.Forecast{Position: 3, Blockers: []berth.Blocker{
				{Kind: berth.BlockerQueue, Number: 2, Detail: "job 2 was submitted earlier and goes first"},
			}},
		},
		"it fits, and nobody knows when the one in front starts": {
			Outlook{Active: []berth.Job{started(job(1, 3), 0)}, Ahead: []berth.Job{job(2, 4)}, Job: job(3, 1), Position: 2},
			berth.Forecast{Position: 2, Blockers: []berth.Blocker{
				{Kind: berth.BlockerQueue, Number: 2, Detail: "job 2 was submitted earlier and goes first"},
			}},
		},
		"a long queue": {
			Outlook{
				Active: []berth.Job{started(limited(job(1, 4), time.Hour), 0)},
				Ahead:  []berth.Job{job(2, 1), job(3, 1), job(4, 1), job(5, 1), job(6, 1), job(7, 1)}, Job: job(5000, 1), Position: 4001,
			},
			berth.Forecast{Position: 4001, Blockers: []berth.Blocker{
				{Kind: berth.BlockerQueue, Number: 2, Detail: "job 2 was submitted earlier and goes first"},
				{Kind: berth.BlockerQueue, Number: 3, Detail: "job 3 was submitted earlier and goes first"},
				{Kind: berth.BlockerQueue, Number: 4, Detail: "job 4 was submitted earlier and goes first"},
				{Kind: berth.BlockerQueue, Number: 5, Detail: "job 5 was submitted earlier and goes first"},
				{Kind: berth.BlockerQueue, Number: 6, Detail: "job 6 was submitted earlier and goes first"},
				{Kind: berth.BlockerQueue, Detail: "3995 more jobs go first"},
				{Kind: berth.BlockerResources, Detail: "cores: 1 needed, 0 free; memory: 1.0 GiB needed, 0.0 GiB free"},
				{Kind: berth.BlockerJob, Number: 1, Detail: "job 1 runs until 2026-01-01T13:00:00Z at the latest"},
			}},
		},
		"its nodes wait for hosts": {
			Outlook{
				Hosts: hosts(3), Active: []berth.Job{
					started(limited(job(1, 4), time.Hour), 0), started(limited(job(2, 4), 2*time.Hour), 0, "b"), started(job(3, 4), 0, "c"),
				},
				Job: nodes(job(4, 3), 2), Position: 1,
			},
			berth.Forecast{Position: 1, Start: now.Add(2 * time.Hour), Blockers: []berth.Blocker{
				{Kind: berth.BlockerResources, Detail: "nodes with 3 cores, 3.0 GiB: 2 needed, room for 0"},
				{Kind: berth.BlockerJob, Number: 1, Detail: "job 1 runs until 2026-01-01T13:00:00Z at the latest"},
				{Kind: berth.BlockerJob, Number: 2, Detail: "job 2 runs until 2026-01-01T14:00:00Z at the latest"},
			}},
		},
		"one in front waits for other hosts": {
			Outlook{
				Hosts: hosts(2), Active: []berth.Job{started(limited(job(1, 2), time.Hour), 0)},
				Ahead: []berth.Job{nodes(job(2, 4), 2)}, Job: limited(job(3, 3), time.Hour), Position: 2,
			},
			berth.Forecast{Position: 2, Start: now},
		},
		"GPUs are taken": {
			Outlook{
				Hosts:  []berth.Host{{Name: "a", Capacity: berth.Capacity{Cores: 4, RAM: 4 << 30, GPUs: 1, Slots: 4}}},
				Active: []berth.Job{started(gpus(job(1, 1)), 0)}, Job: gpus(job(2, 1)), Position: 1,
			},
			berth.Forecast{Position: 1, Blockers: []berth.Blocker{
				{Kind: berth.BlockerResources, Detail: "GPUs: 1 needed, 0 free"},
				{Kind: berth.BlockerJob, Number: 1, Detail: "job 1 runs and has no walltime limit"},
			}},
		},
		"those in front start now and leave nothing": {
			Outlook{Ahead: []berth.Job{limited(job(1, 4), time.Hour)}, Job: job(2, 1), Position: 2},
			berth.Forecast{Position: 2, Start: now.Add(time.Hour), Blockers: []berth.Blocker{
				{Kind: berth.BlockerQueue, Number: 1, Detail: "job 1 was submitted earlier and goes first"},
			}},
		},
		"there are no hosts": {
			Outlook{Hosts: []berth.Host{}, Job: job(1, 1), Position: 1},
			berth.Forecast{Position: 1, Blockers: []berth.Blocker{
				{Kind: berth.BlockerImpossible, Detail: "the job needs 1 nodes with 1 cores, 1.0 GiB each; the hosts have room for 0"},
			}},
		},
		"suspended time counts": {
			Outlook{Active: []berth.Job{suspended}, Job: job(2, 1), Position: 1},
			berth.Forecast{Position: 1, Start: now.Add(50 * time.Minute), Blockers: []berth.Blocker{
				{Kind: berth.BlockerResources, Detail: "cores: 1 needed, 0 free; memory: 1.0 GiB needed, 0.0 GiB free"},
				{Kind: berth.BlockerJob, Number: 1, Detail: "job 1 runs until 2026-01-01T12:50:00Z at the latest"},
			}},
		},
		"suspended time is free": {
			Outlook{Active: []berth.Job{suspended}, Job: job(2, 1), Position: 1, SuspendedFree: true},
			berth.Forecast{Position: 1, Blockers: []berth.Blocker{
				{Kind: berth.BlockerResources, Detail: "cores: 1 needed, 0 free; memory: 1.0 GiB needed, 0.0 GiB free"},
				{Kind: berth.BlockerJob, Number: 1, Detail: "job 1 is suspended"},
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if test.outlook.Hosts == nil {
				test.outlook.Hosts = hosts(1)
			}
			test.outlook.Now, test.outlook.Assumed = now, assumed
			if diff := cmp.Diff(test.want, test.outlook.Forecast()); diff != "" {
				t.Errorf("forecast (-want +got):\n%s", diff)
			}
		})
	}
}

// TestForecastBehindTheReservations: behind so many jobs nobody knows the start.
func TestForecastBehindTheReservations(t *testing.T) {
	o := Outlook{Hosts: hosts(1), Active: []berth.Job{started(limited(job(1, 3), time.Hour), 0)}, Now: now, Assumed: assumed}
	for i := range int64(depth) {
		o.Ahead = append(o.Ahead, limited(job(2+i, 4), time.Hour))
	}
	o.Job, o.Position = limited(job(1000, 1), 2*time.Hour), depth+1
	got := o.Forecast()
	if !got.Start.IsZero() || len(got.Blockers) != named+1 {
		t.Errorf("forecast %+v, want no start and those in front", got)
	}
	o.Job = limited(job(1000, 1), time.Hour)
	if got := o.Forecast(); !got.Start.Equal(now) || len(got.Blockers) != 0 {
		t.Errorf("forecast %+v of one that starts now", got)
	}
}
