package store

import (
	"database/sql"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-hpc/berth"
)

func openInternal(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{DSN: "sqlite:" + filepath.Join(t.TempDir(), "berth.db"), Log: slog.New(slog.DiscardHandler)})
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

// plan returns the lines of EXPLAIN QUERY PLAN.
func plan(t *testing.T, db *sql.DB, text string, args ...any) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+text, args...)
	lines, err := scanAll(rows, err, func(row scanner) (line string, err error) {
		var id, parent, unused int
		err = row.Scan(&id, &parent, &unused, &line)
		return line, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// TestListingsUseIndexes holds that no listing reads the whole table or sorts it: its cost must not grow with the history.
func TestListingsUseIndexes(t *testing.T) {
	t.Parallel()
	s := openInternal(t)
	states := map[string][]berth.State{
		"every state":    nil,
		"one state":      {berth.StateQueued},
		"several states": {berth.StateStarting, berth.StateRunning, berth.StateStopping},
	}
	for name, states := range states {
		for bits := range 1 << 6 {
			t.Run(fmt.Sprintf("%s/%06b", name, bits), func(t *testing.T) {
				filter := filterOf(states, bits)
				text, args := filter.sql()
				lines := plan(t, s.readDB, text, args...)
				if !bounded(filter, lines) {
					t.Errorf("%s\n%s", text, strings.Join(lines, "\n"))
				}
			})
		}
	}
}

// bounded says whether a plan walks the index that is made for the filter, in its order.
func bounded(f Filter, lines []string) bool {
	index := "jobs_by_state (state=?"
	switch {
	case f.Label != "" && f.LabelExact:
		index = "jobs_by_label (label=? AND state=?"
	case f.Team != "":
		index = "jobs_by_team (team=? AND state=?"
	case f.Owner != "":
		index = "jobs_by_owner (owner=? AND state=?"
	}
	for _, line := range lines {
		search := strings.HasPrefix(line, "SEARCH")
		if strings.HasPrefix(line, "SCAN") || strings.Contains(line, "TEMP B-TREE") || search && !strings.Contains(line, index) {
			return false
		}
	}
	return true
}

// filterOf makes a filter whose fields are set as the bits say.
func filterOf(states []berth.State, bits int) Filter {
	set := func(i int) bool { return bits>>i&1 == 1 }
	filter := Filter{States: states, Newest: set(0), LabelExact: set(1)}
	if set(2) {
		filter.Owner = "alice"
	}
	if set(3) {
		filter.Label = "l"
	}
	if set(4) {
		filter.After, filter.Limit = 5, 5
	}
	if set(5) {
		filter.Team = "t"
	}
	return filter
}

// TestRecordsUseIndexes holds that no reading of the log sorts it, or begins before what it was asked to continue after.
func TestRecordsUseIndexes(t *testing.T) {
	t.Parallel()
	s := openInternal(t)
	for _, filter := range []RecordFilter{
		{}, {Number: 1}, {Number: 1, Until: 7}, {Owner: "o"}, {Team: "t"}, {Owner: "o", Team: "t", Until: 7, Limit: 5},
	} {
		index := "events_by_id (id>?)"
		switch {
		case filter.Number > 0:
			index = "(number=?)"
		case filter.Until > 0:
			index = "events_by_id (id>? AND id<?)"
		}
		text, args := filter.sql()
		checkLogPlan(t, s, index, text, args)
	}
}

// TestAuditUsesIndexes holds the same for the audit log.
func TestAuditUsesIndexes(t *testing.T) {
	t.Parallel()
	s := openInternal(t)
	for index, filters := range map[string][]AuditFilter{
		"events_by_id (id<?)":                         {{}, {Limit: 5}, {Before: 5, Since: time.UnixMicro(1)}},
		"events_by_id (id>? AND id<?)":                {{Team: "t", After: 2, Before: 5, Limit: 5}},
		"events_by_actor (actor=? AND id<?)":          {{By: "a"}, {By: "a", Before: 5, Since: time.UnixMicro(1), Limit: 5}},
		"events_by_actor (actor=? AND id>? AND id<?)": {{By: "a", Team: "t", After: 2}},
		"(number=?)": {
			{Number: 1},
			{Subject: "s"},
			{Number: 1, Subject: "s"},
			{Number: 1, Before: 5, Since: time.UnixMicro(1), Limit: 5},
			{Number: 1, By: "a"},
			{Subject: "s", Team: "t", By: "a"},
			{Subject: "s", Team: "t", After: 2},
		},
	} {
		for _, filter := range filters {
			text, args, err := filter.sql()
			if err != nil {
				t.Fatal(err)
			}
			checkLogPlan(t, s, index, text, args)
		}
	}
}

// checkLogPlan holds that every search in the log is by the index; jobs are only looked up.
func checkLogPlan(t *testing.T, s *Store, index, text string, args []any) {
	t.Helper()
	lines := plan(t, s.readDB, text, args...)
	for _, line := range lines {
		wrong := strings.HasPrefix(line, "SEARCH events") && !strings.HasSuffix(line, index)
		if strings.HasPrefix(line, "SCAN") || strings.Contains(line, "TEMP B-TREE") || wrong {
			t.Errorf("%s, want %s\n%s", text, index, strings.Join(lines, "\n"))
		}
	}
}

// TestStatementsUseIndexes holds the same for the prepared statements.
func TestStatementsUseIndexes(t *testing.T) {
	t.Parallel()
	s := openInternal(t)
	for _, text := range append(append(readStatements(), writeStatements()...), deleteOld, selectAPIKeys, deleteAPIKey,
		selectUser, selectUsersOfTeam, updateUser, countOthers, selectAnyOf, selectTeam, updateTeam, deleteTeam, deleteMachine,
		updateApplication, deleteApplication, selectQueue, deleteQueue, deleteVariable, selectHead, countApplicationsOf,
		clearTeamOfApplications, countQueuesOf, countQueuesOn, countMachines, updateVault, updateCredentials, clearDefaultVault,
		clearTeamOfVaults, deleteVault, countVaults, selectVaults, selectTeamVaults, selectCredentials, selectVaultsOpenJob,
		updateKept, deleteKept, selectKept, selectKeptOf) {
		if strings.HasPrefix(text, "INSERT") || text == addTotals || text == selectMachines {
			continue // no search, or a table of one row, or all of a table that stays small
		}
		args := make([]any, strings.Count(text, "$"))
		for i := range args {
			args[i] = 1
		}
		lines := plan(t, s.readDB, text, args...)
		if len(lines) == 0 || !strings.HasPrefix(lines[0], "SEARCH") {
			t.Errorf("%s: %s", text, lines)
		}
	}
}
