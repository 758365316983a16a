package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/berth-hpc/berth"
)

const (
	recordColumns = `id, number, seq, kind, at, actor, state, data`
	insertRecord  = `INSERT INTO events (` + recordColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`
	selectEvents  = `SELECT ` + recordColumns + ` FROM events WHERE number = $1 AND seq > $2 ORDER BY seq LIMIT $3`
	selectLastID  = `SELECT event FROM totals`
)

// recordData is what of a record has no column of its own. It is kept as JSON under these field names.
type recordData struct {
	From    string     `json:",omitempty"`
	Signal  int        `json:",omitempty"`
	Attempt string     `json:",omitempty"`
	Hosts   []string   `json:",omitempty"`
	Wait    berth.Wait `json:",omitempty"`
	Subject string     `json:",omitempty"`
	Detail  string     `json:",omitempty"`
	Exit    berth.Exit `json:",omitzero"`
}

// entry is a record as it goes into the database, but for the ID. What can be computed before the transaction is.
type entry struct {
	record berth.Record
	kind   string
	data   string
}

func newEntry(record berth.Record, kind string, data recordData) (entry, error) {
	text, err := json.Marshal(data)
	if err != nil {
		return entry{}, fmt.Errorf("record of the log: %w", err)
	}
	return entry{record: record, kind: kind, data: string(text)}, nil
}

// eventEntry is what happened to a job that is not known yet.
func eventEntry(ev berth.Event) (entry, error) {
	ev.At = stored(ev.At)
	for _, text := range []*string{&ev.By, &ev.From, &ev.Attempt, &ev.Detail, &ev.Exit.Detail} {
		clean(text)
	}
	return newEntry(berth.Record{Event: ev}, string(ev.Kind), recordData{
		From: ev.From, Signal: ev.Signal, Attempt: ev.Attempt, Hosts: ev.Hosts, Wait: ev.Wait, Detail: ev.Detail, Exit: ev.Exit,
	})
}

// actEntry is what somebody did that concerns no job.
func actEntry(act berth.Act) (entry, error) {
	for _, text := range []*string{&act.By, &act.From, &act.Subject, &act.Detail} {
		clean(text)
	}
	record := berth.Record{Act: act, Event: berth.Event{At: stored(act.At), By: act.By, From: act.From}}
	return newEntry(record, string(act.Kind), recordData{From: act.From, Subject: act.Subject, Detail: act.Detail})
}

// of is the entry for a job after the event.
func (e entry) of(job berth.Job) entry {
	e.record.Number, e.record.Version, e.record.State = job.Number, job.Version, job.State
	return e
}

// insert stores the entry under the id and returns the record.
func (e entry) insert(b *batch, id int64) (berth.Record, error) {
	r := e.record
	r.ID = id
	seq := r.Version
	if r.Number == 0 {
		seq = id
	}
	_, err := b.exec(insertRecord, r.ID, r.Number, seq, e.kind, micro(r.Event.At), r.Event.By, string(r.State), e.data)
	if err != nil {
		return berth.Record{}, fmt.Errorf("insert into the log: %w", err)
	}
	return r, nil
}

func scanRecord(row scanner) (berth.Record, error) {
	var r berth.Record
	var kind, by, state, text string
	var seq, at int64
	if err := row.Scan(&r.ID, &r.Number, &seq, &kind, &at, &by, &state, &text); err != nil {
		return berth.Record{}, err
	}
	var data recordData
	if err := json.Unmarshal([]byte(text), &data); err != nil {
		return berth.Record{}, fmt.Errorf("record %d of the log: %w", r.ID, err)
	}
	if r.Number == 0 {
		r.Event = berth.Event{At: fromMicro(at), By: by, From: data.From}
		r.Act = berth.Act{
			Kind: berth.ActKind(kind), At: fromMicro(at), By: by, From: data.From, Subject: data.Subject, Detail: data.Detail,
		}
		return r, nil
	}
	r.Version, r.State = seq, berth.State(state)
	r.Event = berth.Event{
		Kind: berth.EventKind(kind), At: fromMicro(at), By: by, From: data.From, Signal: data.Signal,
		Attempt: data.Attempt, Hosts: data.Hosts, Wait: data.Wait, Detail: data.Detail, Exit: data.Exit,
	}
	return r, nil
}

// Events returns what happened to a job after it had this version, at most so many records, in the order in which they were stored;
// nothing for a job that does not exist. Versions count the records: that of the submission is 1.
func (s *Store) Events(ctx context.Context, number, after int64, limit int) ([]berth.Record, error) {
	rows, err := s.reads.query(ctx, selectEvents, number, after, limit)
	records, err := scanAll(rows, err, scanRecord)
	return records, wrap(ctx, "read the events of a job", err)
}

// LastRecord returns the greatest ID of the log, 0 when it is empty. Whatever is stored later has a greater one.
func (s *Store) LastRecord(ctx context.Context) (int64, error) {
	var id int64
	err := s.reads.queryRow(ctx, selectLastID).Scan(&id)
	return id, wrap(ctx, "read the end of the log", err)
}

// RecordFilter selects what happened to jobs. The zero value selects all of it, from the beginning.
type RecordFilter struct {
	// After continues a reading: only greater IDs. Until is the last ID that is read; 0 is no bound.
	After, Until int64
	// Number selects one job, and Owner and Team mean nothing then; 0 is every job.
	Number int64
	// Owner selects the jobs of one user, Team the jobs of a team; with both, jobs of either. Empty is every job.
	Owner, Team string
	// Limit bounds the reading; 0 is no limit.
	Limit int
}

// Records reads the log: what happened to jobs, in the order of IDs. Who continues after the last ID misses nothing and sees
// nothing twice, also while others write. What it costs grows with what was stored from After to Until, for whomever, and not with
// what lies before and behind: who follows few jobs asks LastRecord first, and reads up to it in pieces.
func (s *Store) Records(ctx context.Context, filter RecordFilter) ([]berth.Record, error) {
	text, args := filter.sql()
	rows, err := s.reads.query(ctx, text, args...)
	records, err := scanAll(rows, err, scanRecord)
	return records, wrap(ctx, "read the log", err)
}

func (f RecordFilter) sql() (text string, args []any) {
	q := &query{}
	q.text.WriteString("SELECT " + recordColumns + " FROM events WHERE id > " + q.arg(f.After))
	if f.Until > 0 {
		q.text.WriteString(" AND id <= " + q.arg(f.Until))
	}
	order := "id"
	if f.Number > 0 {
		q.text.WriteString(" AND number = " + q.arg(f.Number))
		order = "seq" // the same order, and that of the index by number
	} else {
		q.text.WriteString(" AND number > 0" + f.whose(q))
	}
	q.text.WriteString(" ORDER BY " + order)
	q.limit(f.Limit)
	return q.text.String(), q.args
}

// whose selects by owner and team. A join could be planned from the jobs to their events: the history, sorted. A value for each
// row of the log cannot.
func (f RecordFilter) whose(q *query) string {
	var condition string
	switch {
	case f.Owner != "" && f.Team != "":
		condition = "j.owner = " + q.arg(f.Owner) + " OR j.team = " + q.arg(f.Team)
	case f.Owner != "":
		condition = "j.owner = " + q.arg(f.Owner)
	case f.Team != "":
		condition = "j.team = " + q.arg(f.Team)
	default:
		return ""
	}
	return " AND (SELECT " + condition + " FROM jobs j WHERE j.number = events.number)"
}

// Record stores an act that changes nothing else in the store.
func (s *Store) Record(ctx context.Context, act berth.Act) error {
	return s.act(ctx, "write the log", act, func(*batch) error { return nil })
}

// act makes a change and stores the act that it is, both or none. The change refuses before it writes.
func (s *Store) act(ctx context.Context, doing string, act berth.Act, change func(*batch) error) error {
	entry, err := actEntry(act)
	if err != nil {
		return err
	}
	return s.write(ctx, doing, func(b *batch) error { return entry.with(b, change) })
}

// with makes a change within a transaction and stores the act that it is.
func (e entry) with(b *batch, change func(*batch) error) error {
	_, id, err := b.next("", "")
	if err != nil {
		return err
	}
	if err := change(b); err != nil {
		b.giveBack("", "")
		return err
	}
	_, err = e.insert(b, id)
	return err
}
