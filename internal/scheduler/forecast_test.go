package scheduler

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/berth-hpc/berth"
)

var now = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// limited gives a job a walltime limit.
func limited(j berth.Job, limit time.Duration) berth.Job {
	j.Submission.Walltime = limit
	return j
}

// started is a job that runs since some time ago.
func started(j berth.Job, ago time.Duration) berth.Job {
	j.State, j.Started = berth.StateRunning, now.Add(-ago)
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
			Outlook{Active: []berth.Job{job(1, 2)}, Job: job(2, 2), Position: 1},
			berth.Forecast{Position: 1, Start: now},
		},
		"it can start together with those in front": {
			Outlook{Ahead: []berth.Job{job(1, 2), job(2, 9)}, Job: job(3, 2), Position: 3},
			berth.Forecast{Position: 3, Start: now},
		},
		"it can never start": {
			Outlook{Job: job(1, 9), Position: 1},
			berth.Forecast{Position: 1, Blockers: []berth.Blocker{{Kind: berth.BlockerImpossible, Detail: tooLarge(job(1, 9).Need, four)}}},
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
				{Kind: berth.BlockerQueue, Number: 3, Detail: "job 3 was submitted earlier and goes first"},
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
			test.outlook.Capacity, test.outlook.Now = four, now
			if diff := cmp.Diff(test.want, test.outlook.Forecast()); diff != "" {
				t.Errorf("forecast (-want +got):\n%s", diff)
			}
		})
	}
}

// TestForecastIsWhatDecideDoes lets every job use its whole limit: the job of the forecast starts exactly then.
func TestForecastIsWhatDecideDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, _ := randomSnapshot(t)
		if len(s.Queued) == 0 {
			return
		}
		limit := rapid.SampledFrom([]time.Duration{0, 1, 2, 3, 5, 8})
		for i := range s.Active {
			s.Active[i] = started(limited(s.Active[i], limit.Draw(t, "limit")*time.Hour), rapid.SampledFrom([]time.Duration{0, 1, 6}).Draw(t, "ago")*time.Hour)
		}
		for i := range s.Queued {
			s.Queued[i] = limited(s.Queued[i], limit.Draw(t, "limit")*time.Hour)
		}
		n := rapid.IntRange(0, len(s.Queued)-1).Draw(t, "which")
		wanted := s.Queued[n]
		got := Outlook{
			Capacity: s.Capacity, Active: s.Active, Ahead: s.Queued[:n], Position: n + 1, Job: wanted, Now: now,
		}.Forecast()
		if start := simulate(s, wanted.Number); !got.Start.Equal(start) {
			t.Fatalf("Start = %v; Decide places the job at %v", got.Start, start)
		}
		decisions, _ := Decide(s)
		atOnce := slices.ContainsFunc(decisions, func(d Decision) bool { return d.Place && d.Number == wanted.Number })
		if atOnce != (len(got.Blockers) == 0) {
			t.Fatalf("blockers %+v; Decide places the job now: %v", got.Blockers, atOnce)
		}
	})
}

// simulate returns when Decide places a job, the zero time when it never does.
func simulate(s Snapshot, wanted int64) time.Time {
	at := now
	ends := func(j berth.Job) time.Time {
		deadline, ok := j.Deadline(false)
		if !ok {
			return now.Add(1000000 * time.Hour)
		}
		return later(deadline, now)
	}
	queued := slices.Clone(s.Queued)
	active := slices.Clone(s.Active)
	for {
		decisions, _ := Decide(Snapshot{Host: berth.Host{Capacity: s.Capacity}, Active: active, Queued: queued})
		for _, d := range decisions {
			if !d.Place {
				continue
			}
			if d.Number == wanted {
				return at
			}
			i := slices.IndexFunc(queued, func(j berth.Job) bool { return j.Number == d.Number })
			j := queued[i]
			j.Started = at
			active, queued = append(active, j), slices.Delete(queued, i, i+1)
		}
		i := 0
		for k := range active {
			if ends(active[k]).Before(ends(active[i])) {
				i = k
			}
		}
		if len(active) == 0 || ends(active[i]).Sub(now) > 900000*time.Hour {
			return time.Time{}
		}
		at = later(at, ends(active[i]))
		active = slices.Delete(active, i, i+1)
	}
}
