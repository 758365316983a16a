package control

import (
	"context"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

// eventsPage bounds what an event stream reads at a time.
const eventsPage = 500

// Explain returns what happened to a job and, when it is queued, why it waits.
func (s *Service) Explain(ctx context.Context, caller berth.Caller, ref JobRef) (Explanation, error) {
	job, err := s.Job(ctx, caller, ref)
	if err != nil {
		return Explanation{}, err
	}
	records, err := s.cfg.Store.Events(ctx, job.Number)
	if err != nil {
		return Explanation{}, err
	}
	explanation := Explanation{Job: job, Records: records}
	if job.State == berth.StateQueued {
		forecast, err := s.cfg.Forecaster.Forecast(ctx, job)
		if err != nil {
			return Explanation{}, err
		}
		explanation.Forecast = &forecast
	}
	return explanation, nil
}

// EventStream tells what happens to jobs, without loss and without repetition, from where it begins. It is for one goroutine.
type EventStream struct {
	service *Service
	filter  store.RecordFilter
	watch   *watch
	stop    func()
	// due says that there may be more to read behind filter.After.
	due bool
}

// Events returns a stream of what happens to jobs. Close it. NotFound for a job that the caller may not see.
func (s *Service) Events(ctx context.Context, caller berth.Caller, filter EventsFilter) (*EventStream, error) {
	selection, topics, err := s.selection(ctx, caller, filter)
	if err != nil {
		return nil, err
	}
	e := &EventStream{service: s, filter: selection}
	e.watch, e.stop = s.cfg.Changes.watch(append(topics, topic{rights: caller.User.Name})...)
	// Read after watch: what is stored later wakes the stream.
	last, err := s.cfg.Store.LastRecord(ctx)
	if err != nil {
		e.Close()
		return nil, err
	}
	e.filter.After = last
	if filter.After >= 0 && filter.After < last { // a greater one is of another database
		e.filter.After, e.due = filter.After, true
	}
	return e, nil
}

// selection says which records a stream has, and what wakes it.
func (s *Service) selection(ctx context.Context, caller berth.Caller, filter EventsFilter) (store.RecordFilter, []topic, error) {
	selection := store.RecordFilter{Limit: eventsPage}
	name, team := caller.User.Name, caller.User.Team
	switch {
	case filter.Number != 0:
		job, err := s.Job(ctx, caller, JobRef{Number: filter.Number})
		if err != nil {
			return store.RecordFilter{}, nil, err
		}
		selection.Number = job.Number
		return selection, []topic{{number: job.Number}}, nil
	case filter.Everyone && caller.User.Admin:
		return selection, []topic{{every: true}}, nil
	case filter.Everyone && leads(caller):
		selection.Owner, selection.Team = name, team
		return selection, []topic{{owner: name}, {team: team}}, nil
	default:
		selection.Owner = name
		return selection, []topic{{owner: name}}, nil
	}
}

// Last returns the id behind which the next records come.
func (e *EventStream) Last() int64 { return e.filter.After }

// Next returns the next records, at least one, in the order of their ids; it waits for them. Its error is that of ctx, of the
// store, or one that says that the caller's rights have changed. After an error of the store it can be called again.
func (e *EventStream) Next(ctx context.Context) ([]berth.Record, error) {
	for {
		if !e.due {
			select {
			case <-e.watch.woken:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		first, revoked := e.service.cfg.Changes.look(e.watch)
		switch {
		case revoked:
			return nil, errRevoked
		case !e.due:
			// Nothing of this stream is in between: the query need not walk over what happened to others.
			e.filter.After = max(e.filter.After, first-1)
		}
		e.due = true
		records, err := e.service.cfg.Store.Records(ctx, e.filter)
		if err != nil {
			return nil, err
		}
		e.due = len(records) == e.filter.Limit
		if len(records) > 0 {
			e.filter.After = records[len(records)-1].ID
			return records, nil
		}
	}
}

// Close ends the stream. Safe to call twice.
func (e *EventStream) Close() { e.stop() }
