package store

import (
	"context"
	"database/sql"
	"errors"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/berth-hpc/berth"
)

const (
	vacuumInto = `VACUUM INTO $1`
	moveVaults = `UPDATE vaults SET path = $2 || substr(path, length($1) + 1) WHERE substr(path, 1, length($1)) = $1`
)

// Backup writes the whole database, as it is at one moment, to a file that is not there yet. Nobody waits for it. Unsupported with
// PostgreSQL, which has its own tools.
func (s *Store) Backup(ctx context.Context, path string) error {
	if s.path == "" {
		return berth.Errorf(berth.Unsupported, "The jobs of this server are in PostgreSQL: pg_dump backs them up")
	}
	// The connections for reading may not write, not even elsewhere, and the other one is needed.
	own, err := sql.Open("sqlite", sqliteDSN(s.path, []string{"busy_timeout(10000)"}))
	if err != nil {
		return wrap(ctx, "back up the database", err)
	}
	_, err = own.ExecContext(ctx, vacuumInto, path)
	if full, ok := errors.AsType[*sqlite.Error](err); ok && full.Code()&0xff == sqlite3.SQLITE_FULL {
		err = &berth.Error{Kind: berth.NoSpace, Msg: "No space left", Detail: "for a copy of the database", Err: err}
	}
	return wrap(ctx, "back up the database", errors.Join(err, own.Close()))
}

// MoveVaults changes the paths of all vaults below a directory, which is another one by now. Both end in a slash.
func (s *Store) MoveVaults(ctx context.Context, from, to string) error {
	return s.write(ctx, "move vaults", func(b *batch) error {
		_, err := b.exec(moveVaults, from, to)
		return err
	})
}
