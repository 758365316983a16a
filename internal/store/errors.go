package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/berth-hpc/berth"
)

// ErrNameTaken is wrapped by the Conflict of CreateJob when another job has the name already; a new name helps.
var ErrNameTaken = errors.New("the name of the job is taken")

// errNewerSchema says that a newer program has migrated the database.
var errNewerSchema = errors.New("schema is too new")

// errOutcome is wrapped when a commit failed in a way that leaves open whether it happened.
var errOutcome = errors.New("it is not known whether the change was stored")

// Texts for the person who asked.
const (
	msgNotFound    = "Not found"
	msgUnavailable = "The database cannot answer now"
	msgConflict    = "There is one already"
	// msgOneActiveJob is one that clients know.
	msgOneActiveJob = "Only one active job allowed per VM"
)

// wrap turns an error of a driver into a *berth.Error where a caller can act on it, by code and never by text, and adds what was
// being done. Errors that have a kind and *berth.StateError pass unchanged.
func wrap(ctx context.Context, doing string, err error) error {
	var known *berth.Error
	var state *berth.StateError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known), errors.As(err, &state):
		return err
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return fmt.Errorf("%s: %w", doing, err) // the caller's own doing
	}
	err = fmt.Errorf("%s: %w", doing, err)
	switch kindOf(err) {
	case berth.NotFound:
		return &berth.Error{Kind: berth.NotFound, Msg: msgNotFound, Err: err}
	case berth.Conflict:
		return &berth.Error{Kind: berth.Conflict, Msg: msgConflict, Err: err}
	case berth.Unavailable:
		return unavailable(err)
	default:
		return err
	}
}

func unavailable(err error) error {
	return &berth.Error{Kind: berth.Unavailable, Msg: msgUnavailable, Err: err}
}

// kindOf classifies an error of database/sql or of one of the drivers.
func kindOf(err error) berth.Kind {
	var lite *sqlite.Error
	var pg *pgconn.PgError
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return berth.NotFound
	case errors.As(err, &lite):
		return kindOfSQLite(lite.Code())
	case errors.As(err, &pg):
		return kindOfPostgres(pg.Code)
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone), errors.Is(err, context.DeadlineExceeded), isNetwork(err):
		return berth.Unavailable
	default:
		return berth.Internal
	}
}

// isNetwork says whether the connection to the database failed, not the database.
func isNetwork(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || pgconn.SafeToRetry(err)
}

// kindOfSQLite takes an extended result code; its lowest byte is the plain one.
func kindOfSQLite(code int) berth.Kind {
	switch code {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return berth.Conflict
	}
	switch code & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM:
		return berth.Unavailable
	default:
		return berth.Internal
	}
}

// kindOfPostgres takes an SQLSTATE; its first two characters are the class.
func kindOfPostgres(code string) berth.Kind {
	const (
		uniqueViolation = "23505"
		readOnly        = "25006"
	)
	if code == uniqueViolation {
		return berth.Conflict
	}
	if code == readOnly {
		return berth.Unavailable
	}
	// Connection, rolled back by a deadlock or the like, resources, lock not available, operator, system.
	for _, class := range []string{"08", "40", "53", "55", "57", "58"} {
		if strings.HasPrefix(code, class) {
			return berth.Unavailable
		}
	}
	return berth.Internal
}
