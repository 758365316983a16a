package store_test

import (
	"testing"

	"github.com/berth-hpc/berth/internal/store"
)

// TestMachinesWithoutScratch are those of a database of before, and their jobs: they are what they were, and have the server's bound.
func TestMachinesWithoutScratch(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		err := store.MigrateTo(t.Context(), dsn, 4,
			`INSERT INTO machines (name, description, cores, ram, gpus, scale_min, scale_max, grace, personal, price, position)
			VALUES ('n0', 'small', 1, 2, 3, 1, 4, 5, TRUE, 0.5, 6)`,
			`INSERT INTO jobs (number, name, version, owner, team, payer, state, application, command, label, submission, image, machine,
			grace, need_cores, need_ram, need_gpus, need_slots, price, submitted_at)
			VALUES (1, 'old', 1, 'ada', '', 'ada', 'queued', 'app', 'Run', '', '{}', 'alpine', 'n0', 0, 1, 1, 0, 1, 0.5, 1)`,
			`UPDATE totals SET number = 1, queued = 1`,
		)
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, store.Config{DSN: dsn})
		machines, err := s.Machines(t.Context())
		if err != nil || len(machines) != 1 || machines[0].Description != "small" || machines[0].Price != 0.5 || machines[0].Scratch != 0 {
			t.Errorf("the machine types are %+v, %v", machines, err)
		}
		old, err := s.Job(t.Context(), 1)
		if err != nil || old.Name != "old" || old.Price != 0.5 || old.Scratch != 0 {
			t.Errorf("the old job is %+v, %v", old, err)
		}
		job := newJob("ada", "AAAAA")
		job.Job.Scratch = 1 << 40
		if created := create(t, s, job); created.Number != 2 || created.Scratch != 1<<40 {
			t.Errorf("the new job is %+v", created)
		}
	})
}
