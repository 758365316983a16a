package store_test

import (
	"database/sql"
	"os"
	"strings"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/berth-hpc/berth/internal/store"
)

// migrateTo makes the schema of a version in an empty database, and puts into it what a server of that version might have.
func migrateTo(t *testing.T, dsn string, version int64, rows ...string) {
	t.Helper()
	driver, dialect, source := "pgx", goose.DialectPostgres, dsn
	if path, found := strings.CutPrefix(dsn, "sqlite:"); found {
		driver, dialect, source = "sqlite", goose.DialectSQLite3, "file:"+path
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	provider, err := goose.NewProvider(dialect, db, os.DirFS("migrations"), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if _, err := db.ExecContext(t.Context(), row); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPriceOfAJobMigrated: jobs of before have no price, and new ones have theirs.
func TestPriceOfAJobMigrated(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		migrateTo(t, dsn, 2,
			`INSERT INTO jobs (number, name, version, owner, team, payer, state, application, command, label, submission, image, machine,
			grace, need_cores, need_ram, need_gpus, need_slots, submitted_at)
			VALUES (1, 'old', 1, 'ada', '', 'ada', 'queued', 'app', 'Run', '', '{"AppPrice":1.5}', 'alpine', 'n0', 0, 1, 1, 0, 1, 1)`,
			`UPDATE totals SET number = 1, queued = 1`)
		s := open(t, store.Config{DSN: dsn})
		old, err := s.Job(t.Context(), 1)
		if err != nil || old.Name != "old" || old.Price != 0 || old.Submission.AppPrice != 1.5 {
			t.Errorf("the old job is %+v, %v", old, err)
		}
		job := newJob("ada", "AAAAA")
		job.Job.Price = 0.25
		if created := create(t, s, job); created.Number != 2 || created.Price != 0.25 {
			t.Errorf("the new job is %+v", created)
		}
	})
}
