package store

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/berth-hpc/berth"
)

// AuditFilter selects what somebody did. The zero value selects all of it, the newest first.
type AuditFilter struct {
	// By selects what one user did; empty is everybody.
	By string
	// Team selects what was done to the jobs of a team, to the team, and to who is in it now; empty is everything.
	Team string
	// Number selects what was done to one job; 0 is everything.
	Number int64
	// Subject selects what was done to a user, a team, a machine type or an image; empty is everything. Jobs have no subject.
	Subject string
	// Since leaves out what was done before; the zero time leaves out nothing.
	Since time.Time
	// Before continues a reading: only smaller IDs; 0 begins at the newest. After is where it ends: only greater IDs.
	Before, After int64
	// Limit bounds the reading; 0 is no limit.
	Limit int
}

// Audit reads the records of the log that somebody is behind, acts and events of jobs, newest first. With Team or
// Since, what it costs grows with all that lies between After and Before, for whomever: for a team, read that in pieces.
func (s *Store) Audit(ctx context.Context, filter AuditFilter) ([]berth.Record, error) {
	for _, text := range []*string{&filter.By, &filter.Team, &filter.Subject} {
		clean(text)
	}
	text, args, err := filter.sql()
	if err != nil {
		return nil, err
	}
	rows, err := s.reads.query(ctx, text, args...)
	records, err := scanAll(rows, err, scanRecord)
	return records, wrap(ctx, "read the audit log", err)
}

// sql returns the statement, which walks an index in the order of IDs.
func (f AuditFilter) sql() (text string, args []any, err error) {
	q := &query{}
	conditions, err := f.conditions(q)
	if err != nil {
		return "", nil, err
	}
	actor, order := "actor", "id"
	if f.Number > 0 || f.Subject != "" {
		// By number there is less to read than by actor: an expression keeps SQLite from that index. seq is the same order as id.
		actor, order = "actor || ''", "seq"
	}
	q.text.WriteString("SELECT " + recordColumns + " FROM events WHERE actor <> ''" + conditions)
	if f.By != "" {
		q.text.WriteString(" AND " + actor + " = " + q.arg(f.By))
	}
	q.text.WriteString(" ORDER BY " + order + " DESC")
	q.limit(f.Limit)
	return q.text.String(), q.args, nil
}

func (f AuditFilter) conditions(q *query) (string, error) {
	before := f.Before
	if before == 0 {
		before = math.MaxInt64
	}
	where := " AND id < " + q.arg(before)
	if f.After > 0 {
		where += " AND id > " + q.arg(f.After)
	}
	if f.Number > 0 {
		where += " AND number = " + q.arg(f.Number)
	}
	if f.Subject != "" {
		about, err := about(q, f.Subject)
		if err != nil {
			return "", err
		}
		where += " AND number = 0 AND " + about
	}
	if f.Team != "" {
		ofTeam, err := f.ofTeam(q)
		if err != nil {
			return "", err
		}
		where += " AND " + ofTeam
	}
	if !f.Since.IsZero() {
		where += " AND at >= " + q.arg(micro(f.Since))
	}
	return where, nil
}

// about is the condition that an act has this subject. In the JSON of a record it is the field and never a part of another one's
// text: there its quotes would be escaped.
func about(q *query, subject string) (string, error) {
	text, err := json.Marshal(subject)
	if err != nil {
		return "", fmt.Errorf("subject: %w", err)
	}
	return "replace(data, " + q.arg(`"Subject":`+string(text)) + ", '') <> data", nil
}

// ofTeam is the condition that Team sets. What else has the name of a user or of the team, a machine type, is told apart by the
// kind. An OR could be planned as one search for each side: the history, sorted. A CASE cannot.
func (f AuditFilter) ofTeam(q *query) (string, error) {
	theTeam, err := about(q, f.Team)
	if err != nil {
		return "", err
	}
	team := q.arg(f.Team)
	kinds := func(kinds ...berth.ActKind) string {
		placeholders := make([]string, len(kinds))
		for i, kind := range kinds {
			placeholders[i] = q.arg(string(kind))
		}
		return "kind IN (" + strings.Join(placeholders, ", ") + ")"
	}
	return "CASE WHEN number > 0 THEN (SELECT j.team = " + team + " FROM jobs j WHERE j.number = events.number)" +
		" WHEN " + kinds(berth.ActTeamAdded, berth.ActTeamChanged, berth.ActTeamRemoved) + " THEN " + theTeam +
		" WHEN " + kinds(berth.ActUserAdded, berth.ActUserChanged, berth.ActKeyAdded, berth.ActKeyRevoked, berth.ActSSHKeyAdded, berth.ActSSHKeyRemoved) +
		" THEN EXISTS (SELECT 1 FROM users u WHERE u.team <> '' AND u.team = " + team +
		// The name of a user needs no escapes.
		` AND replace(data, '"Subject":"' || u.name || '"', '') <> data)` +
		" ELSE FALSE END", nil
}
