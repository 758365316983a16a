package httpapi

import (
	"context"
	"io"
	"net"
	"slices"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/control"
	"github.com/berth-hpc/berth/internal/screenshot"
)

// What control says of jobs and rights.
var (
	errNotRunning = &berth.Error{Kind: berth.NotFound, Msg: "Running job is not found"}
	errReadOnly   = &berth.Error{Kind: berth.Forbidden, Msg: "This key may only read"}
	errAdminOnly  = &berth.Error{Kind: berth.Forbidden, Msg: "Only an administrator may do this"}
)

// order returns the running job that an order is for.
func (s *scripted) order(ctx context.Context, caller berth.Caller, ref control.JobRef, operation string) error {
	job, err := s.Job(ctx, caller, ref)
	switch {
	case err != nil:
		return err
	case caller.ReadOnly:
		return errReadOnly
	case job.State != berth.StateRunning:
		return errNotRunning
	default:
		return s.fail[operation]
	}
}

func (s *scripted) Signal(ctx context.Context, caller berth.Caller, ref control.JobRef, signal int) (control.Signaled, error) {
	if signal < 1 || signal > berth.LastSignal {
		return control.Signaled{}, &berth.Error{Kind: berth.Invalid, Msg: "Invalid parameter(s)", Detail: "signal: not within 1 to 64"}
	}
	return control.Signaled{Signal: signal, PID: 17}, s.order(ctx, caller, ref, "Signal")
}

func (s *scripted) Action(ctx context.Context, caller berth.Caller, ref control.JobRef, name string) error {
	if err := s.order(ctx, caller, ref, "Action"); err != nil {
		return err
	}
	if name != "refresh" {
		return &berth.Error{Kind: berth.Invalid, Msg: "Invalid parameter(s)", Detail: "action: not one of refresh"}
	}
	return nil
}

// running returns an error unless the caller may see the job and it runs.
func (s *scripted) running(ctx context.Context, caller berth.Caller, ref control.JobRef, operation string) error {
	caller.ReadOnly = false
	return s.order(ctx, caller, ref, operation)
}

func (s *scripted) Info(ctx context.Context, caller berth.Caller, ref control.JobRef) (control.JobInfo, error) {
	if err := s.running(ctx, caller, ref, "Info"); err != nil {
		return control.JobInfo{}, err
	}
	return s.infoOfJob, nil
}

func (s *scripted) Metrics(ctx context.Context, caller berth.Caller, ref control.JobRef) (control.JobMetrics, error) {
	if err := s.running(ctx, caller, ref, "Metrics"); err != nil {
		return control.JobMetrics{}, err
	}
	return control.JobMetrics{Nodes: s.nodes}, nil
}

func (s *scripted) Explain(ctx context.Context, caller berth.Caller, ref control.JobRef) (control.Explanation, error) {
	job, err := s.Job(ctx, caller, ref)
	if err != nil {
		return control.Explanation{}, err
	}
	explanation := control.Explanation{Job: job, Records: s.records, LeftOut: s.leftOut}
	if job.State == berth.StateQueued {
		explanation.Forecast = &s.forecast
	}
	return explanation, s.fail["Explain"]
}

// record returns a record of an event that happened some seconds after the submission.
func record(id int64, after time.Duration, state berth.State, ev berth.Event) berth.Record {
	ev.At = submittedAt().Add(after)
	return berth.Record{ID: id, Number: runningJob, State: state, Event: ev}
}

// scriptedStream gives out the batches that a test sends.
type scriptedStream struct {
	last    int64
	batches chan []berth.Record
	errs    chan error
	closed  chan struct{}
}

func newScriptedStream() *scriptedStream {
	return &scriptedStream{
		last: 41, batches: make(chan []berth.Record), errs: make(chan error), closed: make(chan struct{}),
	}
}

func (s *scriptedStream) Next(ctx context.Context) ([]berth.Record, error) {
	select {
	case records := <-s.batches:
		return records, nil
	case err := <-s.errs:
		return nil, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *scriptedStream) Last() int64 { return s.last }
func (s *scriptedStream) Close()      { close(s.closed) }

func (s *scripted) Events(ctx context.Context, caller berth.Caller, filter control.EventsFilter) (EventStream, error) {
	if filter.Number != 0 {
		if _, err := s.Job(ctx, caller, control.JobRef{Number: filter.Number}); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.eventsFilter = filter
	if err := s.fail["Events"]; err != nil {
		return nil, err
	}
	if s.events == nil {
		return newScriptedStream(), nil
	}
	return s.events, nil
}

func (s *scripted) Audit(_ context.Context, _ berth.Caller, filter control.AuditFilter) ([]berth.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.auditFilter = filter
	return s.audited, s.fail["Audit"]
}

func (s *scripted) WebPage(ctx context.Context, visitor control.Visitor, number int64, port int) (control.WebPage, error) {
	s.mu.Lock()
	s.visitor, s.visitedPort = visitor, port
	page, token := s.page, "jobtoken"
	s.mu.Unlock()
	if visitor.Caller.User.Name != "" {
		return page, s.order(ctx, visitor.Caller, control.JobRef{Number: number}, "WebPage")
	}
	if number != runningJob || visitor.Token != token && !slices.Contains(visitor.Sessions, "jobsession") {
		return control.WebPage{}, &berth.Error{Kind: berth.Unauthenticated, Msg: "Unauthorized"}
	}
	return page, s.fail["WebPage"]
}

func (s *scripted) Screenshot(ctx context.Context, caller berth.Caller, ref control.JobRef, want screenshot.Size) ([]byte, error) {
	if err := s.running(ctx, caller, ref, "Screenshot"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wantedSize = want
	return []byte("\x89PNG\r\n"), nil
}

func (s *scripted) Enter(ctx context.Context, visitor control.Visitor, number int64) (string, error) {
	page, err := s.WebPage(ctx, visitor, number, 0)
	return page.Session, err
}

func (s *scripted) OpenShell(
	ctx context.Context, visitor control.Visitor, number int64, size agentapi.TerminalSize,
) (*agentapi.Terminal, error) {
	if _, err := s.WebPage(ctx, visitor, number, 0); err != nil {
		return nil, err
	}
	user, shell := net.Pipe()
	if s.untaken != nil {
		user = ended{user, s.untaken}
	}
	s.mu.Lock()
	s.terminalSize = size
	s.mu.Unlock()
	s.shells <- agentapi.NewTerminal(shell)
	return agentapi.NewTerminal(user), nil
}

// ended is the connection of a terminal that takes nothing any more, and tells of what it did not take.
type ended struct {
	net.Conn
	untaken chan<- struct{}
}

func (c ended) Write([]byte) (int, error) {
	c.untaken <- struct{}{}
	return 0, io.ErrClosedPipe
}

func (s *scripted) UntilRevoked(ctx context.Context, _ berth.Caller, _ int64) {
	select {
	case <-s.revoked:
	case <-ctx.Done():
	}
}
