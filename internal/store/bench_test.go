package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

// BenchmarkCreateJob measures durable submissions at several numbers of concurrent callers, in an empty store and behind a
// million ended jobs.
func BenchmarkCreateJob(b *testing.B) {
	for _, history := range []int{0, 1_000_000} {
		for _, callers := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("history=%d/callers=%d", history, callers), func(b *testing.B) {
				s := openWithHistory(b, history)
				benchmarkCallers(b, callers, func(ctx context.Context) error {
					_, _, err := s.CreateJob(ctx, benchJob())
					return err
				})
			})
		}
	}
}

// BenchmarkLife measures what the store costs a whole job: submitted, placed, started, ended.
func BenchmarkLife(b *testing.B) {
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := openWithHistory(b, 0)
			benchmarkCallers(b, callers, func(ctx context.Context) error {
				job, _, err := s.CreateJob(ctx, benchJob())
				if err != nil {
					return err
				}
				return live(ctx, s, job.Number)
			})
		})
	}
}

// BenchmarkStatus measures the reads of a status request, by number and by name, and its slowest percent.
func BenchmarkStatus(b *testing.B) {
	for _, history := range []int{1_000, 1_000_000} {
		s := openWithHistory(b, history)
		lookups := map[string]func(n int) error{
			"number": func(n int) error { _, err := s.Job(b.Context(), int64(n)); return err },
			"name":   func(n int) error { _, err := s.JobByName(b.Context(), historyName(n)); return err },
		}
		for name, lookup := range lookups {
			b.Run(fmt.Sprintf("history=%d/by=%s", history, name), func(b *testing.B) {
				times := make([]time.Duration, 0, b.N)
				for i := 0; b.Loop(); i++ {
					begin := time.Now()
					if err := lookup(1 + i*7919%history); err != nil {
						b.Fatal(err)
					}
					times = append(times, time.Since(begin))
				}
				reportSlowest(b, times)
			})
		}
	}
}

// BenchmarkJobs measures listings behind a history.
func BenchmarkJobs(b *testing.B) {
	final := slices.DeleteFunc(berth.States(), func(s berth.State) bool { return !s.Final() })
	open := slices.DeleteFunc(berth.States(), berth.State.Final)
	filters := map[string]store.Filter{
		"open":        {States: open},
		"owner-open":  {States: open, Owner: "alice"},
		"ended-page":  {States: final, Newest: true, Limit: 100},
		"owner-ended": {States: final, Newest: true, Limit: 100, Owner: "alice"},
		"queue-head":  {States: []berth.State{berth.StateQueued}, Limit: 100},
	}
	for _, history := range []int{1_000, 1_000_000} {
		s := openWithHistory(b, history)
		benchmarkFill(b, s, 100)
		for name, filter := range filters {
			b.Run(fmt.Sprintf("history=%d/%s", history, name), func(b *testing.B) {
				for b.Loop() {
					if jobs, err := s.Jobs(b.Context(), filter); err != nil || len(jobs) != 100 {
						b.Fatal(len(jobs), err)
					}
				}
			})
		}
	}
}

// BenchmarkStart measures what a start with a long queue reads.
func BenchmarkStart(b *testing.B) {
	const queued = 100_000
	path := filepath.Join(b.TempDir(), "berth.db")
	s := openSQLite(b, path)
	benchmarkFill(b, s, queued)
	b.ResetTimer()
	for b.Loop() {
		filter := store.Filter{States: []berth.State{berth.StateQueued}, Limit: 1000}
		for n := 0; n < queued; {
			page, err := s.Jobs(b.Context(), filter)
			if err != nil {
				b.Fatal(err)
			}
			n += len(page)
			filter.After = page[len(page)-1].Number
		}
	}
}

// benchmarkCallers runs b.N operations spread over the callers, and reports how many there were in a second and the slowest
// percent.
func benchmarkCallers(b *testing.B, callers int, run func(context.Context) error) {
	b.Helper()
	times := make([]time.Duration, b.N)
	var next atomic.Int64
	b.ResetTimer()
	err := concurrently(callers, func(int) error {
		for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
			begin := time.Now()
			if err := run(b.Context()); err != nil {
				return err
			}
			times[i] = time.Since(begin)
		}
		return nil
	})
	b.StopTimer()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
	reportSlowest(b, times)
}

func reportSlowest(b *testing.B, times []time.Duration) {
	b.Helper()
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-us")
}

func benchmarkFill(b *testing.B, s *store.Store, n int) {
	b.Helper()
	const callers = 64
	err := concurrently(callers, func(caller int) error {
		for range n/callers + max(0, min(1, n%callers-caller)) {
			if _, _, err := s.CreateJob(b.Context(), benchJob()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

var benchSerial atomic.Int64

// benchJob is like a real submission.
func benchJob() store.NewJob {
	now := time.Now().UTC()
	// Five characters as of a real name, in no order and never the same.
	unique := strings.ToUpper(strconv.FormatInt(10_000_000+benchSerial.Add(1)*7919%50_000_000, 36))
	return store.NewJob{Job: berth.Job{
		Name: now.Format("20060102150405") + "-" + unique + "-jarvice-batch-alice_s1", Owner: "alice", Payer: "alice", Wait: berth.WaitResources,
		Application: berth.BatchApplication, Command: berth.BatchCommand,
		Submission: berth.Submission{
			Container: berth.Container{Image: "local/ffmpeg:latest", JobScript: "ffmpeg -i /data/in.mp4 -c:v libx265 /data/out.mp4"},
			Machine:   berth.MachineRequest{Type: "n0", Nodes: 1},
			Vault:     berth.VaultRequest{Name: "ephemeral"},
		},
		Image: "docker.io/local/ffmpeg:latest", Need: berth.Capacity{Cores: 1, RAM: 1 << 30, Slots: 1}, Submitted: now,
	}}
}

func historyName(n int) string {
	at := time.Date(2024, 1, 1, 0, 0, n/10, 0, time.UTC)
	return at.Format("20060102150405") + "-" + fmt.Sprintf("%05d", n*7919%100_000) + "-jarvice-batch-alice_s1"
}

// openWithHistory opens a store behind ended jobs, which are written past the store because that is a hundred times faster.
func openWithHistory(tb testing.TB, ended int) *store.Store {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "berth.db")
	s := openSQLite(tb, path)
	if ended == 0 {
		return s
	}
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
	if err := loadHistory(tb.Context(), path, ended); err != nil {
		tb.Fatal(err)
	}
	return openSQLite(tb, path)
}

func loadHistory(ctx context.Context, path string, ended int) error {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=synchronous(OFF)&_pragma=cache_size(-65536)")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	job, err := tx.PrepareContext(ctx, `INSERT INTO jobs (number, name, version, owner, team, payer, state, application, command, label, submission, image,
		machine, grace, need_cores, need_ram, need_gpus, need_slots, attempt, hosts, submitted_at, placed_at, started_at, ended_at, end_reason)
		VALUES ($1, $2, 4, 'alice', '', 'alice', 'completed', 'jarvice-batch', 'Batch', '', $3, 'docker.io/local/ffmpeg:latest', 'n0', 0, 1, 1073741824, 0, 1, $4,
		'host', $5, $5, $5, $5, 'exited')`)
	if err != nil {
		return err
	}
	defer func() { _ = job.Close() }()
	event, err := tx.PrepareContext(ctx, `INSERT INTO events (number, id, seq, kind, at, actor, state, data) VALUES
		($1, $1 * 4 - 3, 1, 'submitted', $2, 'alice', 'queued', '{}'),
		($1, $1 * 4 - 2, 2, 'placed', $2, '', 'starting', '{"Attempt":"a","Hosts":["h"]}'),
		($1, $1 * 4 - 1, 3, 'started', $2, '', 'running', '{}'),
		($1, $1 * 4, 4, 'ended', $2, '', 'completed', '{"Exit":{"Known":true}}')`)
	if err != nil {
		return err
	}
	defer func() { _ = event.Close() }()
	const submission = `{"Container":{"Image":"local/ffmpeg:latest","JobScript":"ffmpeg -i /data/in.mp4 -c:v libx265 /data/out.mp4"},` +
		`"Machine":{"Type":"n0","Nodes":1},"Vault":{"Name":"ephemeral"},"Walltime":0}`
	for n := 1; n <= ended; n++ {
		at := int64(1_700_000_000_000_000 + n)
		if _, err := job.ExecContext(ctx, n, historyName(n), submission, "attempt-"+strconv.Itoa(n), at); err != nil {
			return err
		}
		if _, err := event.ExecContext(ctx, n, at); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, `UPDATE totals SET number = $1, completed = $1, event = 4 * $1`, ended); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	// All of it to the disk now, and not while something is measured.
	_, err = db.ExecContext(ctx, "PRAGMA synchronous = FULL; PRAGMA wal_checkpoint(TRUNCATE)")
	return err
}

func openSQLite(tb testing.TB, path string) *store.Store {
	tb.Helper()
	return open(tb, store.Config{DSN: "sqlite:" + path})
}

// live takes a job through its life.
func live(ctx context.Context, s *store.Store, number int64) error {
	for _, ev := range []berth.Event{
		{Kind: berth.EventPlaced, At: time.Now(), Attempt: "attempt-" + strconv.FormatInt(number, 10), Hosts: []string{"host"}},
		{Kind: berth.EventStarted, At: time.Now()},
		{Kind: berth.EventEnded, At: time.Now(), Exit: berth.Exit{Known: true, Ran: true}},
	} {
		if _, err := s.Apply(ctx, number, ev); err != nil {
			return err
		}
	}
	return nil
}
