package control

import (
	"context"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

const (
	// eventsPage bounds what an event stream reads at a time.
	eventsPage = 500
	// walkWindow is at how many ids of the log one query looks for somebody whose records may be few among them.
	walkWindow = 5000
)

// walk begins a look through a long part of the log, one at a time: each looks at what happened to everybody to find its own, and
// together they would hold all connections that read. The only error is that of ctx. Call end after it.
func (s *Service) walk(ctx context.Context) (end func(), err error) {
	return enter(ctx, s.walking)
}

// FirstRecords is how much of the beginning of a job's history Explain returns, and lastRecords how much of its end. Signals make it
// as long as somebody likes.
const FirstRecords, lastRecords = 100, 900

// Explain returns what happened to a job and, when it is queued, why it waits.
func (s *Service) Explain(ctx context.Context, caller berth.Caller, ref JobRef) (Explanation, error) {
	job, err := s.Job(ctx, caller, ref)
	if err != nil {
		return Explanation{}, err
	}
	explanation := Explanation{Job: job, LeftOut: max(0, job.Version-FirstRecords-lastRecords)}
	if explanation.Records, err = s.history(ctx, job.Number, explanation.LeftOut); err != nil {
		return Explanation{}, err
	}
	shown(caller, explanation.Records)
	if job.State == berth.StateQueued {
		forecast, err := s.cfg.Forecaster.Forecast(ctx, job)
		if err != nil {
			return Explanation{}, err
		}
		if err := s.anonymous(ctx, caller, forecast.Blockers); err != nil {
			return Explanation{}, err
		}
		explanation.Forecast = &forecast
	}
	return explanation, nil
}

// history returns what happened to a job, without so many records behind the first ones.
func (s *Service) history(ctx context.Context, number, leftOut int64) ([]berth.Record, error) {
	if leftOut == 0 {
		return s.cfg.Store.Events(ctx, number, 0, FirstRecords+lastRecords)
	}
	first, err := s.cfg.Store.Events(ctx, number, 0, FirstRecords)
	if err != nil {
		return nil, err
	}
	last, err := s.cfg.Store.Events(ctx, number, FirstRecords+leftOut, lastRecords)
	return append(first, last...), err
}

// anonymous takes out of blockers which jobs they are, and until when those run, where the caller may not see them.
func (s *Service) anonymous(ctx context.Context, caller berth.Caller, blockers []berth.Blocker) error {
	if caller.User.Admin {
		return nil
	}
	for i := range blockers {
		b := &blockers[i]
		if b.Number == 0 {
			continue
		}
		job, err := s.cfg.Store.Job(ctx, b.Number)
		switch {
		case err != nil:
			return err
		case caller.MaySee(job):
			continue
		}
		b.Number = 0
		switch b.Kind {
		case berth.BlockerJob:
			b.Detail = "another job holds what is missing"
		case berth.BlockerVault:
			b.Detail = "another job has the vault, or wants it and goes first"
		default:
			b.Detail = "another job was submitted earlier and goes first"
		}
	}
	return nil
}

// EventStream tells what happens to jobs, without loss and without repetition, from where it begins. It is for one goroutine.
type EventStream struct {
	service *Service
	caller  berth.Caller
	filter  store.RecordFilter
	watch   *watch
	stop    func()
	// until is the last id up to which there may be something to read behind filter.After.
	until int64
}

// Events returns a stream of what happens to jobs. Close it. NotFound for a job that the caller may not see.
func (s *Service) Events(ctx context.Context, caller berth.Caller, filter EventsFilter) (*EventStream, error) {
	selection, topics, err := s.selection(ctx, caller, filter)
	if err != nil {
		return nil, err
	}
	e := &EventStream{service: s, caller: caller, filter: selection}
	if e.watch, e.stop, err = s.watch(ctx, caller, topics...); err != nil {
		return nil, err
	}
	// Read after watch: what is stored later wakes the stream.
	last, err := s.cfg.Store.LastRecord(ctx)
	if err != nil {
		e.Close()
		return nil, err
	}
	e.filter.After, e.until = last, last
	if filter.After >= 0 && filter.After < last { // a greater one is of another database
		e.filter.After = filter.After
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
// store, or one that says that the caller's rights have changed. After an error of the store or of ctx it can be called again.
func (e *EventStream) Next(ctx context.Context) ([]berth.Record, error) {
	for {
		due := e.filter.After < e.until
		if !due {
			select {
			case <-e.watch.woken:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		news := e.service.cfg.Changes.look(e.watch)
		switch {
		case news.revoked:
			return nil, errRevoked
		case !due:
			// Nothing of this stream is in between: the query need not walk over what happened to others.
			e.filter.After = max(e.filter.After, news.first-1)
		}
		e.until = max(e.until, news.last)
		records, err := e.read(ctx)
		if err != nil || len(records) > 0 {
			return records, err
		}
	}
}

// read returns records of the next piece of the log, or none, and moves behind them.
func (e *EventStream) read(ctx context.Context) ([]berth.Record, error) {
	e.filter.Until = e.until
	if e.filter.Number == 0 {
		e.filter.Until = min(e.until, e.filter.After+walkWindow)
		if e.until-e.filter.After > eventsPage {
			end, err := e.service.walk(ctx)
			if err != nil {
				return nil, err
			}
			defer end()
		}
	}
	records, err := e.service.cfg.Store.Records(ctx, e.filter)
	if err != nil {
		return nil, err
	}
	e.filter.After = max(e.filter.After, e.filter.Until)
	if len(records) == e.filter.Limit {
		e.filter.After = records[len(records)-1].ID
	}
	return shown(e.caller, records), nil
}

// Close ends the stream. Safe to call twice.
func (e *EventStream) Close() { e.stop() }
