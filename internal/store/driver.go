package store

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

const (
	// sqliteReaders and postgresReaders bound the connections that read at the same time. Each of SQLite has a page cache, which
	// counts against the memory of an idle server.
	sqliteReaders   = 4
	postgresReaders = 8
	// postgresWriteTimeout ends a transaction that hangs on a dead network. SQLite has no network, and without a deadline
	// neither database/sql nor its driver need a goroutine to watch one.
	postgresWriteTimeout = 30 * time.Second
)

// databases are the two pools of one database: a single connection that writes, and several that read.
type databases struct {
	write, read *sql.DB
	// path is the file of SQLite.
	path         string
	dialect      goose.Dialect
	writeTimeout time.Duration
}

func (d *databases) close() error { return errors.Join(d.read.Close(), d.write.Close()) }

// connect opens the pools that the DSN names. It does not talk to the database yet.
func connect(dsn string) (*databases, error) {
	scheme, rest, _ := strings.Cut(dsn, ":")
	switch scheme {
	case "sqlite":
		return connectSQLite(rest)
	case "postgres", "postgresql":
		return connectPostgres(dsn)
	default:
		return nil, fmt.Errorf("database %q: it must begin with sqlite: or postgres://", scheme)
	}
}

func connectSQLite(path string) (*databases, error) {
	if path == "" {
		return nil, errors.New("database sqlite: the path of the file is missing")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("path of the database: %w", err)
	}
	// SQLite would create it readable for everybody, and pull secrets are in it. Its other files take the mode of this one.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unavailable(fmt.Errorf("open the database: %w", err))
	}
	if err := file.Close(); err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	write, err := sql.Open("sqlite", sqliteDSN(path, writePragmas()))
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	read, err := sql.Open("sqlite", sqliteDSN(path, readPragmas()))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the database: %w", err), write.Close())
	}
	write.SetMaxOpenConns(1)
	read.SetMaxOpenConns(sqliteReaders)
	read.SetMaxIdleConns(sqliteReaders)
	read.SetConnMaxIdleTime(time.Minute)
	return &databases{write: write, read: read, path: path, dialect: goose.DialectSQLite3}, nil
}

// sqliteDSN carries the pragmas, so that they hold for every connection that the pool ever makes.
func sqliteDSN(path string, pragmas []string) string {
	query := url.Values{"_pragma": pragmas, "_txlock": {"immediate"}}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}).String()
}

func writePragmas() []string {
	return []string{
		"busy_timeout(10000)",
		"journal_mode(WAL)",
		"synchronous(FULL)", // every commit is on the disk, not only in the page cache of the kernel
		"foreign_keys(ON)",
		"cache_size(-8192)", // KiB
		// A longer log is moved into the database file less often: the inner pages of the indexes are written once for many commits.
		"wal_autocheckpoint(4000)",
		"journal_size_limit(67108864)",
	}
}

func readPragmas() []string {
	return []string{"busy_timeout(10000)", "query_only(ON)", "cache_size(-1024)"}
}

func connectPostgres(dsn string) (*databases, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 10 * time.Second
	}
	// "local" suffices and "off" does not: an answer must not be lost with the power. What the administrator has set higher stays.
	write := cfg.Copy()
	write.RuntimeParams["synchronous_commit"] = "on"
	read := cfg.Copy()
	read.RuntimeParams["default_transaction_read_only"] = "on"
	d := &databases{
		write: stdlib.OpenDB(*write), read: stdlib.OpenDB(*read),
		dialect: goose.DialectPostgres, writeTimeout: postgresWriteTimeout,
	}
	d.write.SetMaxOpenConns(1)
	d.read.SetMaxOpenConns(postgresReaders)
	d.read.SetMaxIdleConns(postgresReaders)
	d.read.SetConnMaxIdleTime(time.Minute)
	return d, nil
}
