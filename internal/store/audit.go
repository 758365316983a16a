package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/berth-hpc/berth"
)

const (
	selectMembers = `SELECT name FROM users WHERE team <> '' AND team = $1 ORDER BY name`
	// membersAtOnce bounds the parts of a statement; SQLite takes 500.
	membersAtOnce = 100
)

// AuditFilter selects what somebody did. The zero value selects all of it, the newest first.
type AuditFilter struct {
	// By selects what one user did, Team what users did that are in the team now; empty is everybody. With both, the user must be in
	// the team.
	By, Team string
	// Number selects what was done to one job; 0 is everything.
	Number int64
	// Subject selects what was done to a user, a team, a machine type or an image; empty is everything. Jobs have no subject.
	Subject string
	// Since leaves out what was done before; the zero time leaves out nothing.
	Since time.Time
	// Before continues a reading: only smaller IDs; 0 begins at the newest.
	Before int64
	// Limit bounds the reading; 0 is no limit.
	Limit int
}

// Audit reads the records of the log that somebody is behind, acts and events of jobs, newest first.
func (s *Store) Audit(ctx context.Context, filter AuditFilter) ([]berth.Record, error) {
	for _, text := range []*string{&filter.By, &filter.Team, &filter.Subject} {
		clean(text)
	}
	actors, err := s.actors(ctx, filter)
	if err != nil {
		return nil, wrap(ctx, "read the members of a team", err)
	}
	var records []berth.Record
	for some := range slices.Chunk(actors, membersAtOnce) {
		part, err := s.auditOf(ctx, some, filter)
		if err != nil {
			return nil, wrap(ctx, "read the audit log", err)
		}
		records = append(records, part...)
	}
	if len(actors) > membersAtOnce {
		slices.SortFunc(records, func(a, b berth.Record) int { return cmp.Compare(b.ID, a.ID) })
		if filter.Limit > 0 && len(records) > filter.Limit {
			records = records[:filter.Limit]
		}
	}
	return records, nil
}

// actors returns whose acts the filter selects; an empty name is everybody.
func (s *Store) actors(ctx context.Context, filter AuditFilter) ([]string, error) {
	if filter.Team == "" {
		return []string{filter.By}, nil
	}
	rows, err := s.reads.query(ctx, selectMembers, filter.Team)
	members, err := scanAll(rows, err, func(row scanner) (name string, err error) {
		err = row.Scan(&name)
		return name, err
	})
	if filter.By != "" {
		members = slices.DeleteFunc(members, func(name string) bool { return name != filter.By })
	}
	return members, err
}

// auditOf reads for some actors, in one statement.
func (s *Store) auditOf(ctx context.Context, actors []string, filter AuditFilter) ([]berth.Record, error) {
	text, args, err := filter.sql(actors)
	if err != nil {
		return nil, err
	}
	rows, err := s.reads.query(ctx, text, args...)
	return scanAll(rows, err, scanRecord)
}

// sql returns the statement for some actors; an empty name is everybody. Like that of Filter it has a part for each, which comes
// from an index in the order of IDs.
func (f AuditFilter) sql(actors []string) (text string, args []any, err error) {
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
	for i, name := range actors {
		if i > 0 {
			q.text.WriteString(" UNION ALL ")
		}
		q.text.WriteString("SELECT " + recordColumns + " FROM events WHERE actor <> ''" + conditions)
		if name != "" {
			q.text.WriteString(" AND " + actor + " = " + q.arg(name))
		}
	}
	q.text.WriteString(" ORDER BY " + order + " DESC")
	q.limit(f.Limit)
	return q.text.String(), q.args, nil
}

// conditions are the same for every actor.
func (f AuditFilter) conditions(q *query) (string, error) {
	before := f.Before
	if before == 0 {
		before = math.MaxInt64
	}
	where := " AND id < " + q.arg(before)
	if f.Number > 0 {
		where += " AND number = " + q.arg(f.Number)
	}
	if f.Subject != "" {
		subject, err := json.Marshal(f.Subject)
		if err != nil {
			return "", fmt.Errorf("subject: %w", err)
		}
		// In the JSON of a record this is the field and never a part of another one's text: there its quotes would be escaped.
		field := q.arg(`"Subject":` + string(subject))
		where += " AND number = 0 AND replace(data, " + field + ", '') <> data"
	}
	if !f.Since.IsZero() {
		where += " AND at >= " + q.arg(micro(f.Since))
	}
	return where, nil
}
