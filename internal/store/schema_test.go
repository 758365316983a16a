package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
)

var updateGolden = flag.Bool("update", false, "write the golden files")

// TestPragmas holds what the durability rests on, on every connection.
func TestPragmas(t *testing.T) {
	t.Parallel()
	s := openInternal(t)
	s.writeDB.SetMaxIdleConns(0) // a new connection for every question
	s.readDB.SetMaxIdleConns(0)
	for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1", "busy_timeout": "10000"} {
		var got string
		if err := s.writeDB.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("writer: %s is %s, %v; want %s", pragma, got, err, want)
		}
	}
	for pragma, want := range map[string]string{"query_only": "1", "journal_mode": "wal", "busy_timeout": "10000"} {
		var got string
		if err := s.readDB.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("reader: %s is %s, %v; want %s", pragma, got, err, want)
		}
	}
	if n := s.writeDB.Stats().MaxOpenConnections; n != 1 {
		t.Errorf("%d connections may write", n)
	}
}

func TestFileIsPrivate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "berth.db")
	s, err := Open(t.Context(), Config{DSN: "sqlite:" + path, Log: openInternal(t).log})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path+suffix, info.Mode(), err)
		}
	}
}

// checked returns the words that the schema allows in a column of jobs.
func checked(t *testing.T, column string) []string {
	t.Helper()
	files, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^ +` + column + ` +TEXT .*CHECK \((.*)\),$`)
	word := regexp.MustCompile(column + ` = '([^']*)'`)
	var words []string
	for _, file := range files {
		text, err := fs.ReadFile(migrationFiles, file)
		if err != nil {
			t.Fatal(err)
		}
		if found := line.FindSubmatch(text); found != nil {
			words = nil
			for _, match := range word.FindAllSubmatch(found[1], -1) {
				words = append(words, string(match[1]))
			}
		}
	}
	return words
}

func asStrings[T ~string](words []T) []string {
	var all []string
	for _, w := range words {
		all = append(all, string(w))
	}
	return all
}

func TestSchemaKnowsTheWords(t *testing.T) {
	t.Parallel()
	for column, want := range map[string][]string{
		"state": asStrings(berth.States()),
		"wait": asStrings([]berth.Wait{
			berth.WaitNone, berth.WaitResources, berth.WaitVault, berth.WaitImage, berth.WaitStagingIn, berth.WaitStagingOut, berth.WaitStopping,
		}),
		"wish": asStrings([]berth.Wish{berth.WishNone, berth.WishStop, berth.WishTerminate}),
		"end_reason": asStrings([]berth.EndReason{
			"", berth.EndExited, berth.EndSignaled, berth.EndOutOfMemory, berth.EndShutdown, berth.EndTerminated, berth.EndWalltime, berth.EndNodeFailed,
			berth.EndNotSaved, berth.EndLost, berth.EndRefused, berth.EndCanceled,
		}),
	} {
		if diff := cmp.Diff(want, checked(t, column)); diff != "" {
			t.Errorf("%s (-domain +schema):\n%s", column, diff)
		}
	}
}

// TestSchemaKnowsFinalStates asks the schema which states have an end.
func TestSchemaKnowsFinalStates(t *testing.T) {
	t.Parallel()
	s := openInternal(t)
	for i, state := range berth.States() {
		placed := state != berth.StateQueued && state != berth.StateCanceled
		for _, ended := range []bool{false, true} {
			var started, endedAt int
			var attempt, reason string
			if placed {
				started, attempt = 1, "a"
			}
			if ended {
				endedAt, reason = 1, "lost"
			}
			if state == berth.StateStagingOut {
				reason = "exited"
			}
			_, err := s.writeDB.ExecContext(t.Context(), `INSERT INTO jobs (number, name, version, owner, team, payer, state, application, command,
				label, submission, image, machine, grace, need_cores, need_ram, need_gpus, need_slots, submitted_at, attempt, placed_at, started_at, ended_at, end_reason)
				VALUES ($1, $2, 1, 'o', '', 'o', $3, '', '', '', '{}', '', '', 0, 0, 0, 0, 0, 1, $4, $5, $5, $6, $7)`,
				i+1, fmt.Sprint(state, ended), string(state), attempt, started, endedAt, reason)
			if allowed := ended == state.Final(); allowed != (err == nil) {
				t.Errorf("state %s, ended %v: %v", state, ended, err)
			}
		}
	}
}

func TestSchemaRefuses(t *testing.T) {
	t.Parallel()
	s := openInternal(t)
	if _, _, err := s.CreateJob(t.Context(), NewJob{Job: berth.Job{Name: "n", Owner: "o", Payer: "o"}}); err != nil {
		t.Fatal(err)
	}
	for _, set := range []string{
		"state = 'held'", "state = 'running'", "state = 'completed'", "ended_at = 1", "placed_at = 1", "attempt = 'a'", "started_at = 1",
		"wait = 'x'", "wish = 'x'", "end_reason = 'lost'", "need_cores = -1", "need_gpus = -1", "version = 0", "owner = ''", "submitted_at = NULL",
		"payer = ''", "team = NULL", "machine = NULL", "grace = -1", "suspended_for = -1", "price = -1", "scratch = -1", "suspended_at = 1",
		"state = 'canceled', ended_at = 1, end_reason = 'canceled', wait = 'image'",
		"state = 'starting', placed_at = 1",
		"state = 'running', placed_at = 1, attempt = 'a'",
	} {
		if _, err := s.writeDB.ExecContext(t.Context(), "UPDATE jobs SET "+set); err == nil {
			t.Errorf("the schema allows %s", set)
		}
	}
	for what, values := range map[string]string{
		"no id":                  "NULL, 1, 2, 'k', 0, '', 'queued', ''",
		"an id that is there":    "1, 1, 2, 'k', 0, '', 'queued', ''",
		"an event without state": "2, 1, 2, 'k', 0, '', '', ''",
		"an act with a state":    "2, 0, 2, 'k', 0, 'a', 'queued', ''",
		"an act of nobody":       "2, 0, 2, 'k', 0, '', '', ''",
		"an act out of order":    "2, 0, 1, 'k', 0, 'a', '', ''",
	} {
		if _, err := s.writeDB.ExecContext(t.Context(), "INSERT INTO events ("+recordColumns+") VALUES ("+values+")"); err == nil {
			t.Errorf("the schema allows %s", what)
		}
	}
	if _, err := s.writeDB.ExecContext(t.Context(),
		"INSERT INTO users (name, email, admin, disabled, billing, team_admin) VALUES ('u', '', FALSE, FALSE, FALSE, TRUE)"); err == nil {
		t.Error("the schema allows the administrator of no team")
	}
}

func TestMigrations(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(migrationFiles, "migrations/*")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for i, file := range files {
		if !strings.HasPrefix(filepath.Base(file), fmt.Sprintf("%05d_", i+1)) {
			t.Errorf("%s is not number %d", file, i+1)
		}
		text, err := fs.ReadFile(migrationFiles, file)
		if err != nil || strings.Contains(string(text), "+goose Down") {
			t.Errorf("%s goes back: migrations go forward only (%v)", file, err)
		}
	}
}

// TestNewerSchema holds that an older program does not touch a database of a newer one.
func TestNewerSchema(t *testing.T) {
	t.Parallel()
	dsn := "sqlite:" + filepath.Join(t.TempDir(), "berth.db")
	log := openInternal(t).log
	s, err := Open(t.Context(), Config{DSN: dsn, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	d, err := connect(dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.close() }()
	future := fstest.MapFS{"09999_future.sql": {Data: []byte("-- +goose Up\nCREATE TABLE future (x TEXT);\n")}}
	provider, err := newProvider(d, future)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{DSN: dsn, Log: log}); err == nil || berth.KindOf(err) != berth.Internal {
		t.Errorf("opened a newer schema: %v", err)
	}
}

// TestSubmissionFormat pins how submissions lie in the database.
func TestSubmissionFormat(t *testing.T) {
	t.Parallel()
	full := berth.Submission{
		App: "app", Command: "Run", Parameters: map[string]json.RawMessage{"-n": json.RawMessage("1"), "file": json.RawMessage(`"a b"`)},
		HPC: &berth.HPC{
			Queue: "default", EnvConfig: "join () { :; }", Shell: "cd && /bin/bash", Script: "ZWNobyA8w6k+Cg==",
			Envs: map[string]string{"SLURM_JOB_NAME": "n"}, Umask: 18, Resources: map[string]string{"mc_name": "n3"},
		},
		AppPrice:  1.5,
		Container: berth.Container{Image: "alpine", JobScript: "#!/bin/sh\necho <\u00e9>", Interactive: true},
		Machine:   berth.MachineRequest{Type: "n0", Nodes: 2},
		Vault:     berth.VaultRequest{Name: "home", Kind: berth.VaultBlock, ReadOnly: true, Force: true, Objects: []string{"a/b", "c/"}, Bucket: "results"},
		Walltime:  90 * time.Second, PublicIP: true, IPAddr: "192.0.2.1",
		Geometry: "800x600", Label: "label", Project: "project", Priority: "high", Queue: "queue", Licenses: "a:1",
		Identity: &berth.Identity{Username: "u", Group: "g", UID: 1, GID: 2},
		NoSubmit: true, SSHPublicKey: "ssh-ed25519 AAAA app",
	}
	if empty := emptyField(reflect.ValueOf(full), "Submission"); empty != "" {
		t.Errorf("the example leaves %s empty", empty)
	}
	for file, submission := range map[string]berth.Submission{"full": full, "zero": {}} {
		got, err := json.MarshalIndent(submission, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", "submission_"+file+".json")
		if *updateGolden {
			if err := os.WriteFile(path, append(got, '\n'), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
			t.Errorf("%s: stored jobs cannot be read any more without a migration (-want +got):\n%s", path, diff)
		}
		var read berth.Submission
		if err := json.Unmarshal(want, &read); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(submission, read); diff != "" {
			t.Errorf("%s read (-want +got):\n%s", path, diff)
		}
	}
}

// emptyField returns the path of a zero field, so that a new field cannot be forgotten in the example.
func emptyField(v reflect.Value, path string) string {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		if v.IsValid() && !v.IsZero() {
			return ""
		}
		return path
	}
	for i := range v.NumField() {
		if empty := emptyField(v.Field(i), path+"."+v.Type().Field(i).Name); empty != "" {
			return empty
		}
	}
	return ""
}

// TestRecordFormat pins how records of the log lie in the database.
func TestRecordFormat(t *testing.T) {
	t.Parallel()
	ev, err := eventEntry(berth.Event{
		Kind: berth.EventEnded, By: "b", From: "f", Signal: 20, Attempt: "a", Hosts: []string{"h"}, Wait: berth.WaitImage, Detail: "d",
		Exit: berth.Exit{Known: true, Ran: true, Code: 137, Signal: 9, OutOfMemory: true, Detail: "x"},
	})
	const want = `{"From":"f","Signal":20,"Attempt":"a","Hosts":["h"],"Wait":"image","Detail":"d",` +
		`"Exit":{"Known":true,"Ran":true,"Code":137,"Signal":9,"OutOfMemory":true,"Node":"","Detail":"x"}}`
	if ev.data != want || err != nil {
		t.Errorf("%s, %v; want %s", ev.data, err, want)
	}
	act, err := actEntry(berth.Act{Kind: berth.ActUserAdded, By: "b", From: "f", Subject: "s", Detail: "d"})
	if want := `{"From":"f","Subject":"s","Detail":"d"}`; act.data != want || err != nil {
		t.Errorf("%s, %v; want %s", act.data, err, want)
	}
	if got, err := eventEntry(berth.Event{Kind: berth.EventStarted}); got.data != "{}" || err != nil {
		t.Errorf("%s, %v; want {}", got.data, err)
	}
	// Kind, At and By have columns; Subject is of acts only.
	if fields := reflect.TypeFor[berth.Event](); fields.NumField()-3 != reflect.TypeFor[recordData]().NumField()-1 {
		t.Errorf("events have %d fields: keep the new one too", fields.NumField())
	}
}

func TestKinds(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]berth.Kind{
		5: berth.Unavailable, 13: berth.Unavailable, 10 | 4<<8: berth.Unavailable, 8: berth.Unavailable, 14: berth.Unavailable,
		2067: berth.Conflict, 1555: berth.Conflict, 275: berth.Internal, 787: berth.Internal, 1: berth.Internal, 11: berth.Internal,
	} {
		if got := kindOfSQLite(code); got != want {
			t.Errorf("SQLite %d is %s, want %s", code, got, want)
		}
	}
	for code, want := range map[string]berth.Kind{
		"23505": berth.Conflict, "23503": berth.Internal, "23514": berth.Internal, "53100": berth.Unavailable, "57P01": berth.Unavailable,
		"40P01": berth.Unavailable, "08006": berth.Unavailable, "25006": berth.Unavailable, "42601": berth.Internal, "XX000": berth.Internal,
	} {
		if got := kindOfPostgres(code); got != want {
			t.Errorf("PostgreSQL %s is %s, want %s", code, got, want)
		}
	}
	for err, want := range map[error]berth.Kind{
		sql.ErrNoRows: berth.NotFound, driver.ErrBadConn: berth.Unavailable, sql.ErrConnDone: berth.Unavailable,
		context.DeadlineExceeded: berth.Unavailable, &net.OpError{Err: syscall.ECONNRESET}: berth.Unavailable, io.EOF: berth.Internal,
	} {
		if got := kindOf(fmt.Errorf("doing: %w", err)); got != want {
			t.Errorf("%v is %s, want %s", err, got, want)
		}
	}
	columns := strings.ReplaceAll(strings.Join(asStrings(berth.States()), " "), "-", "_")
	if !slices.Equal(strings.Fields(columns), strings.Split(strings.TrimPrefix(strings.TrimSuffix(selectTotals, " FROM totals"), "SELECT "), ", ")) {
		t.Error("selectTotals has other states than the domain, or another order")
	}
}
