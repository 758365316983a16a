package main

import (
	"context"
	"database/sql"
)

// copyJobs puts n copies of the newest job into an SQLite store, in the state queued or completed. It writes the tables directly:
// a million submissions would take minutes that say nothing.
func copyJobs(ctx context.Context, db *sql.DB, n int, state string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for _, statement := range []string{
		`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1),
		   last AS (SELECT * FROM jobs ORDER BY number DESC LIMIT 1),
		   t AS (SELECT $2 = 'completed' AS ended)
		 INSERT INTO jobs (number, name, version, owner, team, payer, state, wait, application, command, label, submission, image,
		   machine, grace, need_cores, need_ram, need_gpus, need_slots, submitted_at, attempt, placed_at, started_at, ended_at, end_reason)
		 SELECT (SELECT number FROM totals) + i,
		   printf('20200101000000-%08d', (SELECT number FROM totals) + i), 1, owner, team, payer, $2, iif(ended, '', 'resources'), application, command, label, submission, image,
		   machine, grace, need_cores, need_ram, need_gpus, need_slots, submitted_at, iif(ended, 'berth-' || i || '-x', ''), ended, ended, ended, iif(ended, 'exited', '')
		 FROM n, last, t`,
		`UPDATE totals SET number = number + $1, queued = queued + iif($2 = 'queued', $1, 0), completed = completed + iif($2 = 'completed', $1, 0)`,
	} {
		if _, err := tx.ExecContext(ctx, statement, n, state); err != nil {
			return err
		}
	}
	return tx.Commit()
}
