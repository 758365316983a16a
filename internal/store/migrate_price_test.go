package store_test

import (
	"testing"

	"github.com/berth-hpc/berth/internal/store"
)

// TestJobsWithoutPrice are those of a database of before: they are what they were, and cost nothing. New ones have their price.
func TestJobsWithoutPrice(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		err := store.MigrateTo(t.Context(), dsn, 2,
			`INSERT INTO jobs (number, name, version, owner, team, payer, state, application, command, label, submission, image, machine,
			grace, need_cores, need_ram, need_gpus, need_slots, submitted_at)
			VALUES (1, 'old', 1, 'ada', '', 'ada', 'queued', 'app', 'Run', '', '{"AppPrice":1.5}', 'alpine', 'n0', 0, 1, 1, 0, 1, 1)`,
			`UPDATE totals SET number = 1, queued = 1`,
		)
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, store.Config{DSN: dsn})
		old, err := s.Job(t.Context(), 1)
		if err != nil || old.Name != "old" || old.Image != "alpine" || old.Price != 0 || old.Submission.AppPrice != 1.5 {
			t.Errorf("the old job is %+v, %v", old, err)
		}
		job := newJob("ada", "AAAAA")
		job.Job.Price = 0.25
		if created := create(t, s, job); created.Number != 2 || created.Price != 0.25 {
			t.Errorf("the new job is %+v", created)
		}
	})
}
