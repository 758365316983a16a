package store

import (
	"context"
	"strconv"
	"strings"

	"github.com/berth-hpc/berth"
)

// countAhead is answered from the index jobs_by_state alone.
const countAhead = `SELECT count(*) FROM jobs WHERE state = 'queued' AND number < $1`

// Filter selects jobs of a listing. The zero value selects all.
type Filter struct {
	// Owner selects the jobs of one user, Team those submitted in a team; empty is everybody. With both, only jobs of both.
	Owner, Team string
	// States selects by state; empty is every state.
	States []berth.State
	// Label selects jobs whose label has this in it, or is this with LabelExact; empty is every job. A part of a label is looked
	// for in every job that the rest of the filter selects; everything else stops at Limit.
	Label      string
	LabelExact bool
	// After continues a listing: only greater numbers, or with Newest smaller ones; 0 begins at the first.
	After int64
	// EndedFrom leaves out the jobs with smaller numbers that have ended.
	EndedFrom int64
	// Newest lists the greatest numbers first.
	Newest bool
	// Limit bounds the listing; 0 is no limit. With a limit, Skip leaves out that many before.
	Limit, Skip int
}

// Jobs lists jobs in the order of their numbers.
func (s *Store) Jobs(ctx context.Context, filter Filter) ([]berth.Job, error) {
	text, args := filter.sql()
	rows, err := s.reads.query(ctx, text, args...)
	jobs, err := scanAll(rows, err, scanJob)
	return jobs, wrap(ctx, "list jobs", err)
}

// QueuePosition returns how many queued jobs have a smaller number. What it costs grows with the queue only.
func (s *Store) QueuePosition(ctx context.Context, number int64) (ahead int, err error) {
	err = s.reads.queryRow(ctx, countAhead, number).Scan(&ahead)
	return ahead, wrap(ctx, "count the jobs ahead", err)
}

// query is a statement under construction.
type query struct {
	text strings.Builder
	args []any
}

// arg adds an argument and returns its placeholder.
func (q *query) arg(value any) string {
	q.args = append(q.args, value)
	return "$" + strconv.Itoa(len(q.args))
}

// limit ends the statement; 0 is no limit.
func (q *query) limit(n int) {
	if n > 0 {
		q.text.WriteString(" LIMIT " + q.arg(n))
	}
}

// sql returns the statement. It asks for one state at a time, because that is what the indexes are ordered by: each part comes in
// the order of numbers, and the database merges them and stops at the limit, whatever lies behind it.
func (f Filter) sql() (text string, args []any) {
	states := f.States
	if len(states) == 0 {
		states = berth.States()
	}
	q := &query{}
	conditions := f.conditions(q)
	for i, state := range states {
		if i > 0 {
			q.text.WriteString(" UNION ALL ")
		}
		q.text.WriteString("SELECT " + jobColumns + " FROM jobs WHERE state = " + q.arg(string(state)) + conditions)
		if f.EndedFrom > 0 && state.Final() {
			q.text.WriteString(" AND number >= " + q.arg(f.EndedFrom))
		}
	}
	q.text.WriteString(" ORDER BY number")
	if f.Newest {
		q.text.WriteString(" DESC")
	}
	q.limit(f.Limit)
	if f.Skip > 0 {
		q.text.WriteString(" OFFSET " + q.arg(f.Skip))
	}
	return q.text.String(), q.args
}

// conditions are the same for every state.
func (f Filter) conditions(q *query) string {
	var where strings.Builder
	if f.Owner != "" {
		where.WriteString(" AND owner = " + q.arg(f.Owner))
	}
	if f.Team != "" {
		where.WriteString(" AND team <> '' AND team = " + q.arg(f.Team))
	}
	switch {
	case f.Label == "":
	case f.LabelExact:
		where.WriteString(" AND label <> '' AND label = " + q.arg(f.Label))
	default:
		// Unlike LIKE this has no wildcards, and the same case rules everywhere.
		label := q.arg(f.Label)
		where.WriteString(" AND label <> '' AND replace(label, " + label + ", '') <> label")
	}
	switch {
	case f.After == 0:
	case f.Newest:
		where.WriteString(" AND number < " + q.arg(f.After))
	default:
		where.WriteString(" AND number > " + q.arg(f.After))
	}
	return where.String()
}
