package main

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/backup"
	"github.com/berth-hpc/berth/internal/store"
)

// TestRestoredJobsEnd: whatever had a place on the old machine ends, and what waited goes on.
func TestRestoredJobsEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	st, err := store.Open(t.Context(), store.Config{DSN: "sqlite:" + path, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	known := berth.Exit{Known: true, Ran: true}
	life := []berth.Event{
		{Kind: berth.EventPlaced, Hosts: []string{"host"}}, {Kind: berth.EventStarted}, {Kind: berth.EventStaging, Exit: known},
	}
	for steps := range len(life) + 1 {
		job, _, err := st.CreateJob(t.Context(), store.NewJob{Job: berth.Job{
			Name: fmt.Sprint("job", steps), Owner: "ada", Payer: "ada", Submitted: time.Now(),
			Submission: berth.Submission{Machine: berth.MachineRequest{Nodes: 1}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range life[:steps] {
			ev.At, ev.Attempt = time.Now(), berth.NewAttempt(job.Number, "x")
			if _, err := st.Apply(t.Context(), job.Number, ev); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if lost, err := adapt(t.Context(), backup.Manifest{Data: "/old"}, path, "/new"); lost != len(life) || err != nil {
		t.Errorf("%d jobs are lost, %v", lost, err)
	}
	st, err = store.Open(t.Context(), store.Config{DSN: "sqlite:" + path, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	jobs, err := st.Jobs(t.Context(), store.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	var states []berth.State
	for _, job := range jobs {
		states = append(states, job.State)
	}
	want := []berth.State{berth.StateQueued, berth.StateFailed, berth.StateFailed, berth.StateFailed}
	if diff := cmp.Diff(want, states); diff != "" {
		t.Error(diff)
	}
}
