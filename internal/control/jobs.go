package control

import (
	"context"
	"errors"
	"iter"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

// Public texts that clients know literally.
const (
	msgNotFound   = "Not found"
	msgNotRunning = "Running job is not found"
	msgNotEnded   = "Finished job is not found"
	msgNoJob      = "No job specified"
	msgBadRequest = "Bad Request"
)

const (
	// maxEnded bounds a listing of ended jobs for clients that ask for all of them: the history has no end.
	maxEnded = 1000
	// jobsPage is how many jobs are read together.
	jobsPage = 100
)

// Job returns a job, or NotFound "Not found", also for a job that the caller may not see.
func (s *Service) Job(ctx context.Context, caller berth.Caller, ref JobRef) (berth.Job, error) {
	job, err := s.find(ctx, ref)
	if err != nil {
		return berth.Job{}, err
	}
	switch {
	case !caller.MaySee(job):
		return berth.Job{}, &berth.Error{Kind: berth.NotFound, Msg: msgNotFound}
	case ref.Name != "" && ref.Name != job.Name: // only now: the name of a stranger's job is not to be guessed
		return berth.Job{}, &berth.Error{Kind: berth.Invalid, Msg: msgBadRequest, Detail: "name and number are of different jobs"}
	}
	return job, nil
}

// controllable returns a job that the caller may act on: Job, or Forbidden for a key that may only read.
func (s *Service) controllable(ctx context.Context, caller berth.Caller, ref JobRef) (berth.Job, error) {
	job, err := s.Job(ctx, caller, ref)
	if err == nil && !caller.MayControl(job) {
		return berth.Job{}, errReadOnly
	}
	return job, err
}

func (s *Service) find(ctx context.Context, ref JobRef) (job berth.Job, err error) {
	switch {
	case ref.Number != 0:
		job, err = s.cfg.Store.Job(ctx, ref.Number)
	case ref.Name != "":
		job, err = s.cfg.Store.JobByName(ctx, ref.Name)
	default:
		return berth.Job{}, &berth.Error{Kind: berth.Invalid, Msg: msgNoJob}
	}
	switch {
	case berth.KindOf(err) == berth.NotFound:
		return berth.Job{}, &berth.Error{Kind: berth.NotFound, Msg: msgNotFound, Err: err}
	case err != nil:
		return berth.Job{}, err
	}
	return job, nil
}

// Jobs lists jobs of the caller, with filter.Team those of the whole team for who may see them, and every job for administrators, in the
// order of their numbers: those that have not ended, and of those that have, the 1,000 newest and what ends meanwhile. It ends after an
// error. It reads some at a time, so that whoever reads slowly holds neither many nor a connection of the store.
func (s *Service) Jobs(ctx context.Context, caller berth.Caller, filter JobsFilter) iter.Seq2[berth.Job, error] {
	return func(yield func(berth.Job, error) bool) {
		selection, err := s.firstJobs(ctx, caller, filter)
		for more := true; more && err == nil; {
			var jobs []berth.Job
			jobs, err = s.cfg.Store.Jobs(ctx, selection)
			for _, job := range jobs {
				if !yield(job, nil) {
					return
				}
				selection.After = job.Number
			}
			more = len(jobs) == selection.Limit
		}
		if err != nil {
			yield(berth.Job{}, err)
		}
	}
}

// firstJobs selects the first jobs of a listing.
func (s *Service) firstJobs(ctx context.Context, caller berth.Caller, filter JobsFilter) (store.Filter, error) {
	selection := store.Filter{
		Owner: caller.User.Name, Label: filter.Label, LabelExact: filter.LabelExact,
	}
	switch {
	case filter.Team && caller.User.Admin:
		selection.Owner = ""
	case filter.Team && leads(caller):
		selection.Owner, selection.Team = "", caller.User.Team
	}
	ended, active := filter.Ended || filter.All, filter.All || !filter.Ended
	if ended {
		oldest := selection
		oldest.States, oldest.Newest, oldest.Skip, oldest.Limit = statesWhere(berth.State.Final), true, maxEnded-1, 1
		found, err := s.cfg.Store.Jobs(ctx, oldest)
		if err != nil {
			return selection, err
		}
		if len(found) > 0 {
			selection.EndedFrom = found[0].Number
		}
	}
	selection.States = statesWhere(func(st berth.State) bool { return st.Final() && ended || !st.Final() && active })
	selection.Limit = jobsPage
	return selection, nil
}

func statesWhere(keep func(berth.State) bool) []berth.State {
	var states []berth.State
	for _, st := range berth.States() {
		if keep(st) {
			states = append(states, st)
		}
	}
	return states
}

// Wait returns the job when it has ended, or as it is when ctx ends first, the caller's rights change or its key ends.
func (s *Service) Wait(ctx context.Context, caller berth.Caller, ref JobRef) (berth.Job, error) {
	job, err := s.Job(ctx, caller, ref)
	if err != nil {
		return berth.Job{}, err
	}
	latest, err := s.waitUntil(ctx, caller, job, func(job berth.Job) bool { return job.State.Final() })
	if errors.Is(err, errRevoked) {
		return job, nil // whether the caller may see more is decided when it asks again
	}
	return latest, err
}

// waitUntil returns the job when it is as wanted, or as it is when ctx ends first. errRevoked when the caller's rights change
// meanwhile or its key ends.
func (s *Service) waitUntil(
	ctx context.Context, caller berth.Caller, job berth.Job, wanted func(berth.Job) bool,
) (berth.Job, error) {
	w, stop, err := s.watch(ctx, caller, topic{number: job.Number})
	switch {
	case err != nil && ctx.Err() != nil:
		return job, nil
	case err != nil:
		return berth.Job{}, err
	}
	defer stop()
	for {
		// Read after watch: a change in between is seen here or wakes the select.
		latest, err := s.cfg.Store.Job(ctx, job.Number)
		switch {
		case ctx.Err() != nil:
			return job, nil
		case err != nil:
			return berth.Job{}, err
		}
		job = latest
		if wanted(job) {
			return job, nil
		}
		select {
		case <-w.woken:
			if s.cfg.Changes.look(w).revoked {
				return berth.Job{}, errRevoked
			}
		case <-ctx.Done():
			return job, nil
		}
	}
}

// Shutdown asks for a graceful end; a queued job is canceled. It returns when the wish is on disk. NotFound "Running job is not
// found" when it has ended. Safe to repeat.
func (s *Service) Shutdown(ctx context.Context, caller berth.Caller, ref JobRef) error {
	return s.wish(ctx, caller, ref, berth.EventStopRequested)
}

// Terminate asks for an immediate end in any state. It returns when the wish is on disk. NotFound "Running job is not found" when
// it has ended. Safe to repeat.
func (s *Service) Terminate(ctx context.Context, caller berth.Caller, ref JobRef) error {
	return s.wish(ctx, caller, ref, berth.EventTerminateRequested)
}

func (s *Service) wish(ctx context.Context, caller berth.Caller, ref JobRef, kind berth.EventKind) error {
	job, err := s.controllable(ctx, caller, ref)
	if err != nil {
		return err
	}
	_, err = s.cfg.Store.Apply(ctx, job.Number, s.event(caller, kind))
	if refused, ok := errors.AsType[*berth.StateError](err); ok {
		return &berth.Error{Kind: berth.NotFound, Msg: msgNotRunning, Err: refused}
	}
	return err
}

// event is what a caller does to a job.
func (s *Service) event(caller berth.Caller, kind berth.EventKind) berth.Event {
	return berth.Event{Kind: kind, At: s.cfg.Now(), By: caller.User.Name, From: caller.From}
}
