package store_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

// smallDisk mounts a file system of the size, in bytes, or skips the test: only root may.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size))
	if errors.Is(err, syscall.EPERM) {
		t.Skip("only root can mount a small file system")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestDiskFull fills the disk, and frees it again.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, 4<<20)
	s := open(t, store.Config{DSN: "sqlite:" + filepath.Join(dir, "berth.db")})
	first := create(t, s, newJob("alice", "first"))
	ballast := filepath.Join(dir, "ballast")
	fill(t, ballast)

	stored := int64(1)
	var full error
	for i := range 1000 {
		// Several at a time, and large, so that a batch fails in the middle.
		err := concurrently(4, func(caller int) error {
			job := newJob("alice", fmt.Sprintf("%d-%d", i, caller))
			job.Job.Submission.Container.JobScript = strings.Repeat("x", 2000)
			_, _, err := s.CreateJob(t.Context(), job)
			return err
		})
		stored += int64(4 - len(unjoin(err)))
		if err != nil {
			full = err
			break
		}
	}
	for _, err := range unjoin(full) {
		if berth.KindOf(err) != berth.Unavailable {
			t.Errorf("on a full disk: %v, want Unavailable", err)
		}
	}
	if full == nil {
		t.Fatal("the disk was never full")
	}
	if job, err := s.Job(t.Context(), first.Number); err != nil || job.Name != first.Name {
		t.Errorf("reading on a full disk: %v", err)
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if job := create(t, s, newJob("alice", "after")); job.Number != stored+1 {
		t.Errorf("number %d after %d stored jobs", job.Number, stored)
	}
}

// fill writes a file until there is no room.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	block := make([]byte, 4096)
	for err == nil {
		_, err = file.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// TestReadOnlyDisk makes the disk read-only under an open store.
func TestReadOnlyDisk(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, 8<<20)
	dsn := "sqlite:" + filepath.Join(dir, "berth.db")
	s := open(t, store.Config{DSN: dsn})
	create(t, s, newJob("alice", "first"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := openStore(t.Context(), store.Config{DSN: dsn}); berth.KindOf(err) != berth.Unavailable {
		t.Errorf("open on a read-only disk: %v, want Unavailable", err)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	create(t, open(t, store.Config{DSN: dsn}), newJob("alice", "second"))
}

// TestLostConnections cuts every connection to PostgreSQL, which may cost an answer but not the store.
func TestLostConnections(t *testing.T) {
	t.Parallel()
	dsn := postgresDatabase(t)
	s := open(t, store.Config{DSN: dsn})
	create(t, s, newJob("alice", "first"))
	admin, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	_, err = admin.ExecContext(t.Context(),
		`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	if err != nil {
		t.Fatal(err)
	}
	for what, try := range map[string]func() error{
		"read":  func() error { _, err := s.Job(t.Context(), 1); return err },
		"write": func() error { _, _, err := s.CreateJob(t.Context(), newJob("alice", "second")); return err },
	} {
		err := try()
		if err != nil && berth.KindOf(err) != berth.Unavailable {
			t.Errorf("%s on a lost connection: %v, want Unavailable", what, err)
		}
		if err != nil {
			err = try()
		}
		if err != nil {
			t.Errorf("%s after a lost connection: %v", what, err)
		}
	}
}
