package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-hpc/berth/internal/postgrestest"
	"github.com/berth-hpc/berth/internal/store"
)

func TestMain(m *testing.M) {
	if child := os.Getenv(childEnv); child != "" {
		os.Exit(runChild(child))
	}
	code := m.Run()
	if err := cluster.Stop(); err != nil {
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

// cluster is the PostgreSQL server of all tests of this package.
var cluster postgrestest.Server

// postgresDatabase makes an empty database and returns its DSN.
func postgresDatabase(t *testing.T) string {
	t.Helper()
	dsn, err := cluster.Database(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return dsn
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
