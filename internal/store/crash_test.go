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

	"github.com/google/go-cmp/cmp"

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
			if err := workOnce(ctx, s, fmt.Sprintf("%d-%d-%d", start, caller, i), acknowledged); err != nil {
				return err
			}
		}
	})
}

// workOnce creates a job, ends it, and creates a user.
func workOnce(ctx context.Context, s *store.Store, unique string, acknowledged io.Writer) error {
	var number int64
	for _, step := range []func() (done string, err error){
		func() (string, error) { return "try " + unique, nil },
		func() (string, error) {
			job, _, err := s.CreateJob(ctx, newJob("alice", unique))
			number = job.Number
			return fmt.Sprintf("job %d %s", job.Number, job.Name), err
		},
		func() (string, error) {
			job, err := s.Apply(ctx, number, berth.Event{Kind: berth.EventStopRequested, At: submitted, By: "alice"})
			return fmt.Sprintf("end %d %s", job.Number, job.State), err
		},
		func() (string, error) {
			user := store.NewUser{User: berth.User{Name: unique}, Key: keyOf(unique, unique), KeyHash: "hash-" + unique}
			return "user " + unique, s.CreateUser(ctx, user, acted(berth.ActUserAdded, unique))
		},
	} {
		done, err := step()
		if err != nil {
			return err
		}
		// One write of a short line to a pipe is whole or not there.
		if _, err := fmt.Fprintln(acknowledged, done); err != nil {
			return err
		}
	}
	return nil
}

// ledger is what children have tried and what the store has acknowledged to them.
type ledger struct {
	tries int
	names map[int64]string
	ended map[int64]bool
	users []string
}

// read reads lines until the child is gone, and calls enough when there are n of jobs.
func (l *ledger) read(lines io.Reader, n int, enough func()) error {
	scanner := bufio.NewScanner(lines)
	for scanner.Scan() {
		word := strings.Fields(scanner.Text())
		if len(word) < 2 {
			return fmt.Errorf("line %q", scanner.Text())
		}
		switch word[0] {
		case "try":
			l.tries++
			continue
		case "user":
			l.users = append(l.users, word[1])
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
	if len(written.names) < 100 || len(written.users) < 100 {
		t.Errorf("only %d jobs and %d users: nothing was tried", len(written.names), len(written.users))
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
	users := checkActs(t, s, written)
	checkFile(t, path, len(jobs)+counts[berth.StateCanceled]+users)
}

// checkActs holds that users and the acts that added them are there together, and returns how many there are.
func checkActs(t *testing.T, s *store.Store, written ledger) int {
	t.Helper()
	users, err := s.Users(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	names, added := map[string]bool{}, map[string]bool{}
	for _, user := range users {
		names[user.Name] = true
		if byKey, _, err := s.UserByKey(t.Context(), "hash-"+user.Name); err != nil || byKey.Name != user.Name {
			t.Errorf("user %s has no key: %v", user.Name, err)
		}
	}
	records, err := s.Audit(t.Context(), store.AuditFilter{By: "root"})
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range records {
		added[record.Act.Subject] = true
	}
	if diff := cmp.Diff(names, added); diff != "" {
		t.Errorf("users and acts differ (-users +acts):\n%s", diff)
	}
	for _, name := range written.users {
		if !names[name] {
			t.Errorf("user %s was acknowledged and is not there", name)
		}
	}
	return len(users)
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
	var events, last, given int
	err = db.QueryRowContext(t.Context(), "SELECT count(*), max(id), (SELECT event FROM totals) FROM events").Scan(&events, &last, &given)
	if err != nil || events != wantEvents || last != wantEvents || given != wantEvents {
		t.Errorf("%d records up to %d, %d given out, %v; want %d", events, last, given, err, wantEvents)
	}
}
