package control

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

// Tail returns the last lines of a running job's output as they are on disk now, all of it for 0; the caller closes it. A job runs
// here until its end is final, as its status tells clients. NotFound "Running job is not found" for others.
func (s *Service) Tail(ctx context.Context, caller berth.Caller, ref JobRef, lines int) (io.ReadCloser, error) {
	job, err := s.Job(ctx, caller, ref)
	if err != nil {
		return nil, err
	}
	if !job.State.Active() || job.Preparing() {
		return nil, errNotRunning
	}
	return s.cfg.Outputs.Tail(job.Number, lines)
}

// Output returns the last lines of an ended job's output, all of it for 0; the caller closes it. NotFound "Finished job is not
// found" for a job that has not ended, and NotFound for an output that was deleted.
func (s *Service) Output(ctx context.Context, caller berth.Caller, ref JobRef, lines int) (io.ReadCloser, error) {
	job, err := s.Job(ctx, caller, ref)
	if err != nil {
		return nil, err
	}
	if !job.State.Final() {
		return nil, &berth.Error{Kind: berth.NotFound, Msg: msgNotEnded}
	}
	file, err := s.cfg.Outputs.Tail(job.Number, lines)
	return s.whole(ctx, job, file, err)
}

// whole returns the opened output of an ended job, unless that is no longer kept: an output that was deleted must not look like one of a job
// that wrote nothing, also when it is deleted right now.
func (s *Service) whole(ctx context.Context, job berth.Job, file io.ReadCloser, err error) (io.ReadCloser, error) {
	if err != nil {
		return nil, err
	}
	if err := s.kept(ctx, job); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// kept returns nil unless the output of an ended job was deleted, or is being deleted: its files go before that is stored. Nor has a server
// them that was restored from a backup without outputs.
func (s *Service) kept(ctx context.Context, job berth.Job) error {
	output, err := s.cfg.Store.Output(ctx, job.Number)
	gone := &berth.Error{Kind: berth.NotFound, Msg: "The output of the job is not kept any longer"}
	switch {
	case berth.KindOf(err) == berth.NotFound:
		return nil // it never was on a machine
	case err != nil:
		return err
	case output.Form == store.OutputDeleted:
		gone.Detail = "it was deleted at " + output.Changed.Format(time.RFC3339)
		return gone
	case !job.Started.IsZero() && job.End.Reason != berth.EndLost && !s.cfg.Outputs.Has(job.Number):
		gone.Detail = "it is not on this server any more"
		return gone
	}
	return nil
}

// OpenOutput returns the bytes of the output from the offset on, in any state. With follow it goes on until the job has ended
// and everything was read. The caller closes it; it also ends, with an error, with ctx, when the caller's rights change and when
// it is no longer known whether the job has ended.
func (s *Service) OpenOutput(ctx context.Context, caller berth.Caller, ref JobRef, offset int64, follow bool) (io.ReadCloser, error) {
	job, err := s.Job(ctx, caller, ref)
	if err != nil {
		return nil, err
	}
	if job.State.Final() {
		file, err := s.cfg.Outputs.Open(ctx, job.Number, offset, nil)
		return s.whole(ctx, job, file, err)
	}
	if !follow {
		return s.cfg.Outputs.Open(ctx, job.Number, offset, nil)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	return &follower{ctx: ctx, cancel: cancel, service: s, caller: caller, job: job, offset: offset}, nil
}

// follower reads an output that may not be there yet: it opens it at the first Read.
type follower struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	service *Service
	caller  berth.Caller
	job     berth.Job
	offset  int64
	file    io.ReadCloser
	waiter  sync.WaitGroup
}

func (f *follower) Read(p []byte) (int, error) {
	if f.file == nil {
		if err := f.open(); err != nil {
			return 0, err
		}
	}
	return f.file.Read(p)
}

// open waits until there can be output, then follows it until the job has ended.
func (f *follower) open() error {
	job, err := f.service.waitUntil(f.ctx, f.caller, f.job, func(job berth.Job) bool {
		return job.State.Final() || !job.Started.IsZero()
	})
	if err != nil {
		return err
	}
	if f.ctx.Err() != nil {
		return context.Cause(f.ctx)
	}
	done := make(chan struct{})
	f.waiter.Go(func() {
		job, err := f.service.waitUntil(f.ctx, f.caller, job, func(job berth.Job) bool { return job.State.Final() })
		switch {
		case err != nil:
			f.cancel(err) // an end of the output would look like an end of the job
		case job.State.Final():
			close(done)
		}
	})
	f.file, err = f.service.cfg.Outputs.Open(f.ctx, job.Number, f.offset, done)
	return err
}

func (f *follower) Close() error {
	f.cancel(nil)
	f.waiter.Wait()
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}
