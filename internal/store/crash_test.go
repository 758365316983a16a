package store_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/crashpoint"
	"github.com/berth-hpc/berth/internal/store"
)

// childEnv makes the test binary the child of TestKill: it works in the store that it names until it is killed.
const childEnv = "BERTH_STORE_TEST_CHILD"

// childCallers is how many callers the child has at the same time.
const childCallers = 8

// runChild writes a line for everything that the store has acknowledged.
func runChild(dsn string) int {
	if err := work(dsn, os.Stdout); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func work(dsn string, acknowledged io.Writer) error {
	ctx := context.Background()
	s, err := openStore(ctx, store.Config{DSN: dsn})
	if err != nil {
		return err
	}
	start := time.Now().UnixNano()
	return concurrently(childCallers, func(caller int) error {
		for i := 0; ; i++ {
			unique := fmt.Sprintf("%d-%d-%d", start, caller, i)
			// One write of a short line to a pipe is whole or not there.
			if _, err := fmt.Fprintf(acknowledged, "try %s\n", unique); err != nil {
				return err
			}
			job, _, err := s.CreateJob(ctx, newJob("alice", unique))
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(acknowledged, "job %d %s\n", job.Number, job.Name); err != nil {
				return err
			}
			job, err = s.Apply(ctx, job.Number, berth.Event{Kind: berth.EventStopRequested, At: submitted, By: "alice"})
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(acknowledged, "end %d %s\n", job.Number, job.State); err != nil {
				return err
			}
		}
	})
}

// ledger is what children have tried and what the store has acknowledged to them.
type ledger struct {
	tries int
	names map[int64]string
	ended map[int64]bool
}

// read reads lines until the child is gone, and calls enough when there are n of jobs.
func (l *ledger) read(lines io.Reader, n int, enough func()) error {
	scanner := bufio.NewScanner(lines)
	for scanner.Scan() {
		word := strings.Fields(scanner.Text())
		if len(word) < 2 {
			return fmt.Errorf("line %q", scanner.Text())
		}
		if word[0] == "try" {
			l.tries++
			continue
		}
		number, err := strconv.ParseInt(word[1], 10, 64)
		if err != nil || len(word) != 3 {
			return fmt.Errorf("line %q: %w", scanner.Text(), err)
		}
		if word[0] == "end" {
			l.ended[number] = true
			continue
		}
		if other, twice := l.names[number]; twice {
			return fmt.Errorf("number %d was given to %s and %s", number, other, word[2])
		}
		l.names[number] = word[2]
		if n--; n == 0 {
			enough()
		}
	}
	return scanner.Err()
}

// TestKill kills a process that writes, again and again in the same database, and looks for what was acknowledged.
func TestKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "berth.db")
	random := rand.New(rand.NewPCG(1, 2)) // the same moments in every run
	written := ledger{names: map[int64]string{}, ended: map[int64]bool{}}
	for round := range 12 {
		env := ""
		switch round % 3 { // the commit itself, from both sides, and any moment
		case 0:
			env = fmt.Sprintf("store.commit.before:%d", 1+random.IntN(60))
		case 1:
			env = fmt.Sprintf("store.commit.after:%d", 1+random.IntN(60))
		}
		killChild(t, "sqlite:"+path, env, &written, 1+random.IntN(120))
		checkLedger(t, path, written)
	}
	if len(written.names) < 100 {
		t.Errorf("only %d jobs: nothing was tried", len(written.names))
	}
}

// killChild runs a child until it has created n jobs or reaches its crash point.
func killChild(t *testing.T, dsn, point string, written *ledger, n int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dsn, crashpoint.Env+"="+point)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	lines, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err = written.read(lines, n, func() {
		if point == "" {
			_ = cmd.Process.Kill()
		}
	})
	if err != nil {
		_ = cmd.Process.Kill()
		t.Error(err)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child was not killed: %v: %s", err, stderr.String())
	}
}

// checkLedger opens the database as it was left.
func checkLedger(t *testing.T, path string, written ledger) {
	t.Helper()
	s, err := openStore(t.Context(), store.Config{DSN: "sqlite:" + path})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	jobs, err := s.Jobs(t.Context(), store.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	if len(jobs) > written.tries {
		t.Errorf("%d jobs of %d tries", len(jobs), written.tries)
	}
	counts := map[berth.State]int{}
	for i, job := range jobs {
		counts[job.State]++
		if job.Number != int64(i+1) {
			t.Fatalf("the numbers are not without gaps: job %d is number %d", i+1, job.Number)
		}
		if name, ok := written.names[job.Number]; ok && name != job.Name {
			t.Errorf("job %d is %s, acknowledged as %s", job.Number, job.Name, name)
		}
		if written.ended[job.Number] && job.State != berth.StateCanceled {
			t.Errorf("job %d is %s, its end was acknowledged", job.Number, job.State)
		}
		delete(written.ended, job.Number)
	}
	for number := range written.names {
		if number > int64(len(jobs)) {
			t.Errorf("job %d was acknowledged and is not there", number)
		}
	}
	total, err := s.CountByState(t.Context())
	if err != nil || total[berth.StateQueued] != counts[berth.StateQueued] || total[berth.StateCanceled] != counts[berth.StateCanceled] {
		t.Errorf("counted %v, %v; there are %v", total, err, counts)
	}
	checkFile(t, path, len(jobs)+counts[berth.StateCanceled])
}

func checkFile(t *testing.T, path string, wantEvents int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var integrity string
	if err := db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&integrity); err != nil || integrity != "ok" {
		t.Errorf("integrity: %s, %v", integrity, err)
	}
	var events int
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM events").Scan(&events); err != nil || events != wantEvents {
		t.Errorf("%d events, %v; want %d", events, err, wantEvents)
	}
}
