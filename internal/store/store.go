// Package store keeps the jobs, users, teams, vaults and machine types of the server, and the log of what happened to them, in SQLite
// or PostgreSQL, by one SQL text for both.
//
// What a method that writes has returned without an error is on disk. Writes that come together are committed together, see
// writer; reads have connections of their own and never wait for a write.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"

	"github.com/berth-hpc/berth"
)

// Config says which database a Store uses.
type Config struct {
	// DSN is sqlite:PATH or a postgres:// URL.
	DSN string
	// OnChange is called with every stored record of a job and the job after it, once it is committed, in the order of their IDs
	// and never twice at a time; acts that concern no job are not told. It must not block and must not call methods of the Store that write. May be nil.
	OnChange func(berth.Job, berth.Record)
	Log      *slog.Logger
}

// Store is an open database. It is safe for concurrent use. Methods return a *berth.Error for what a caller can act on (NotFound,
// Conflict, Unavailable); any other error is a failure of the server.
type Store struct {
	writes  *writer
	writeDB *sql.DB
	reads   *statements
	readDB  *sql.DB
	log     *slog.Logger
	// path is the file of SQLite, empty for another database.
	path string
}

// Open opens the database, creates it when it is not there (SQLite only) and migrates it to the schema of this program. A
// database of a newer program is refused. Open starts no goroutine of its own; Close must be called all the same.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	databases, err := connect(cfg.DSN)
	if err != nil {
		return nil, err
	}
	s := &Store{writeDB: databases.write, readDB: databases.read, log: cfg.Log, path: databases.path}
	if err := s.prepare(ctx, databases, cfg.OnChange); err != nil {
		return nil, errors.Join(wrap(ctx, "open the database", err), databases.close())
	}
	return s, nil
}

func (s *Store) prepare(ctx context.Context, databases *databases, onChange func(berth.Job, berth.Record)) error {
	if err := migrate(ctx, databases, s.log); err != nil {
		return err
	}
	writes, err := prepare(ctx, databases.write, writeStatements())
	if err != nil {
		return err
	}
	if s.reads, err = prepare(ctx, databases.read, readStatements()); err != nil {
		return err
	}
	s.writes = &writer{db: databases.write, statements: writes, timeout: databases.writeTimeout, onChange: onChange}
	return nil
}

// Close waits until every write that has begun or waits has ended, and closes the database. Writes that come later fail with
// Unavailable. Safe to call twice.
func (s *Store) Close() error {
	s.writes.close()
	if err := errors.Join(s.readDB.Close(), s.writeDB.Close()); err != nil {
		return fmt.Errorf("close the database: %w", err)
	}
	return nil
}
