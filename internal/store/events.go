package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/berth-hpc/berth"
)

const (
	insertEvent  = `INSERT INTO events (number, seq, kind, at, data) VALUES ($1, $2, $3, $4, $5)`
	selectEvents = `SELECT kind, at, data FROM events WHERE number = $1 ORDER BY seq`
)

// eventData is what of an event has no column of its own. It is kept as JSON under these field names.
type eventData struct {
	By      string     `json:",omitempty"`
	Attempt string     `json:",omitempty"`
	Host    string     `json:",omitempty"`
	Wait    berth.Wait `json:",omitempty"`
	Detail  string     `json:",omitempty"`
	Exit    berth.Exit `json:",omitzero"`
}

func encodeEvent(ev berth.Event) (string, error) {
	data, err := json.Marshal(eventData{
		By: ev.By, Attempt: ev.Attempt, Host: ev.Host, Wait: ev.Wait, Detail: ev.Detail, Exit: ev.Exit,
	})
	if err != nil {
		return "", fmt.Errorf("event: %w", err)
	}
	return string(data), nil
}

func scanEvent(row scanner) (berth.Event, error) {
	var kind, text string
	var at int64
	if err := row.Scan(&kind, &at, &text); err != nil {
		return berth.Event{}, err
	}
	var data eventData
	if err := json.Unmarshal([]byte(text), &data); err != nil {
		return berth.Event{}, fmt.Errorf("event: %w", err)
	}
	return berth.Event{
		Kind: berth.EventKind(kind), At: fromMicro(at),
		By: data.By, Attempt: data.Attempt, Host: data.Host, Wait: data.Wait, Detail: data.Detail, Exit: data.Exit,
	}, nil
}

// Events returns what happened to a job, in the order in which it was stored, beginning with its submission; nothing for a job
// that does not exist.
func (s *Store) Events(ctx context.Context, number int64) ([]berth.Event, error) {
	rows, err := s.reads.query(ctx, selectEvents, number)
	events, err := scanAll(rows, err, scanEvent)
	return events, wrap(ctx, "read the events of a job", err)
}
