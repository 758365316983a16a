package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/berth-hpc/berth/internal/store"
)

func TestMain(m *testing.M) {
	if child := os.Getenv(childEnv); child != "" {
		os.Exit(runChild(child))
	}
	code := m.Run()
	if err := cluster.stop(); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "stop PostgreSQL:", err)
		code = 1
	}
	os.Exit(code)
}

// eachDatabase runs a test on SQLite and on PostgreSQL, each with a database of its own.
func eachDatabase(t *testing.T, run func(t *testing.T, dsn string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		run(t, "sqlite:"+filepath.Join(t.TempDir(), "berth.db"))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		run(t, postgresDatabase(t))
	})
}

var databaseSerial atomic.Int64

// postgresDatabase makes an empty database and returns its DSN.
func postgresDatabase(t *testing.T) string {
	t.Helper()
	admin, socket, err := cluster.start()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("test%d", databaseSerial.Add(1))
	if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	query := url.Values{"host": {socket}, "user": {"berth"}}
	return (&url.URL{Scheme: "postgres", Path: "/" + name, RawQuery: query.Encode()}).String()
}

// open opens a store until the end of the test.
func open(t testing.TB, cfg store.Config) *store.Store {
	t.Helper()
	s, err := openStore(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func openStore(ctx context.Context, cfg store.Config) (*store.Store, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return store.Open(ctx, cfg)
}

// concurrently runs n functions at the same time and returns all their errors.
func concurrently(n int, run func(i int) error) error {
	failed := make(chan error, n)
	for i := range n {
		go func() { failed <- run(i) }()
	}
	var err error
	for range n {
		err = errors.Join(err, <-failed)
	}
	return err
}
