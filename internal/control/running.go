package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/crashpoint"
	"github.com/berth-hpc/berth/internal/engine"
)

const (
	msgInvalid      = "Invalid parameter(s)"
	msgNotDelivered = "Signal not delivered"
	msgNotStarted   = "Action not started"
	msgNoAnswer     = "The job does not answer"
	msgNoMetrics    = "Metrics are not available yet"
)

const (
	// answerWithin is how long an agent may take; a program of the image may have to make the answer.
	answerWithin = agentapi.AnswerWithin
	// storeWithin is how long it may take to store what was done already.
	storeWithin = 10 * time.Second
	// listensWithin is how long after its start a job is asked again when its command does not run yet, and firstAgain and
	// lastAgain how soon after the first refusal and the later ones.
	listensWithin         = 2 * time.Second
	firstAgain, lastAgain = 10 * time.Millisecond, 200 * time.Millisecond
)

var errNotRunning = &berth.Error{Kind: berth.NotFound, Msg: msgNotRunning}

// runs says whether the command of a job may run.
func runs(job berth.Job) bool {
	return job.State == berth.StateRunning || job.State == berth.StateStopping
}

// begins says whether the command of a job runs in a moment.
func begins(job berth.Job) bool { return job.State == berth.StateStarting && !job.Preparing() }

// invalid says what is wrong with a parameter.
func invalid(field, format string, args ...any) error {
	return &berth.Error{Kind: berth.Invalid, Msg: msgInvalid, Detail: field + ": " + fmt.Sprintf(format, args...)}
}

// Signal sends a signal to the application of a running job and returns when it was delivered and that is on disk. After an error
// of another kind than Invalid, NotFound, Forbidden or LimitReached it may have been delivered; sending it again is up to the caller.
func (s *Service) Signal(ctx context.Context, caller berth.Caller, ref JobRef, signal int) (Signaled, error) {
	if signal < 1 || signal > berth.LastSignal {
		return Signaled{}, invalid("signal", "%d is not within 1 to %d", signal, berth.LastSignal)
	}
	event := s.event(caller, berth.EventSignaled)
	event.Signal = signal
	answer, err := s.order(ctx, caller, ref, agentapi.Request{Signal: &agentapi.SignalRequest{Number: signal}}, event)
	switch refused, ok := errors.AsType[*agentapi.Error](err); {
	case ok && refused.Code == agentapi.CodeInvalid:
		return Signaled{}, invalid("signal", "%s", refused.Text)
	case err != nil:
		return Signaled{}, unanswered(err, msgNotDelivered)
	}
	return Signaled{Signal: answer.Signal.Number, PID: answer.Signal.PID}, nil
}

// Action starts an action of a running job, one of the image or else of the AppDef, and returns when it was started and that is on disk. For errors see
// Signal.
func (s *Service) Action(ctx context.Context, caller berth.Caller, ref JobRef, name string) error {
	if len(name) > agentapi.MaxActionName {
		return invalid("action", "%d bytes were sent, at most %d are allowed", len(name), agentapi.MaxActionName)
	}
	event := s.event(caller, berth.EventActionRequested)
	event.Detail = name
	_, err := s.order(ctx, caller, ref, agentapi.Request{Action: &agentapi.ActionRequest{Name: name}}, event)
	err = s.appAction(ctx, caller, ref, event, err)
	refused, ok := errors.AsType[*agentapi.Error](err)
	if !ok || refused.Code != agentapi.CodeInvalid {
		return unanswered(err, msgNotStarted)
	}
	info, err := s.Info(ctx, caller, ref)
	if err != nil {
		return err
	}
	switch _, known := info.Actions[name]; {
	case known:
		return invalid("action", "%s", refused.Text)
	case len(info.Actions) == 0:
		return invalid("action", "the job has none")
	default:
		return invalid("action", "%q is not one of %s", name, strings.Join(slices.Sorted(maps.Keys(info.Actions)), ", "))
	}
}

// Info returns what a running job says about itself. LimitReached when too many ask this job at a time.
func (s *Service) Info(ctx context.Context, caller berth.Caller, ref JobRef) (JobInfo, error) {
	job, err := s.Job(ctx, caller, ref)
	if err != nil {
		return JobInfo{}, err
	}
	done, err := s.turns.take(ctx, queue{number: job.Number, asks: true})
	if err != nil {
		return JobInfo{}, unanswered(err, msgNoAnswer)
	}
	defer done()
	answer, err := s.ask(ctx, job, agentapi.Request{Info: &agentapi.InfoRequest{}})
	if err != nil {
		return JobInfo{}, unanswered(err, msgNoAnswer)
	}
	info := JobInfo{Address: answer.Info.Address, Actions: make(map[string]string, len(answer.Info.Actions))}
	if err := s.addPages(ctx, caller, job, answer.Info, &info); err != nil {
		return JobInfo{}, err
	}
	actions, err := s.appActions(ctx, job)
	if err != nil {
		return JobInfo{}, err
	}
	for _, action := range actions {
		info.Actions[action.Name] = action.Alt
	}
	for name, action := range answer.Info.Actions {
		info.Actions[name] = action.Alt
	}
	return info, nil
}

// Metrics returns what the nodes of a running job use. NotFound "Metrics are not available yet" before they were first measured.
func (s *Service) Metrics(ctx context.Context, caller berth.Caller, ref JobRef) (JobMetrics, error) {
	job, err := s.Job(ctx, caller, ref)
	switch {
	case err != nil:
		return JobMetrics{}, err
	case !runs(job):
		return JobMetrics{}, errNotRunning
	}
	samples, ok := s.cfg.Usage.Usage(job.Number)
	if !ok {
		return JobMetrics{}, &berth.Error{Kind: berth.NotFound, Msg: msgNoMetrics}
	}
	metrics := JobMetrics{Nodes: make([]NodeMetrics, len(samples))}
	for i, sample := range samples {
		metrics.Nodes[i] = NodeMetrics{
			CPU: sample.CPU, MemoryUsed: sample.Memory, MemoryTotal: sample.MemoryLimit, Sampled: sample.At,
		}
	}
	return metrics, nil
}

// order has an agent do something and stores that it did. The job may have ended in between: then it was done all the same.
//
// Neither ends with a client that hangs up: what was done must be stored. And orders for one job go one after the other, so that
// they are stored in the order in which they were done.
func (s *Service) order(
	ctx context.Context, caller berth.Caller, ref JobRef, req agentapi.Request, event berth.Event,
) (agentapi.Answer, error) {
	job, err := s.controllable(ctx, caller, ref)
	switch {
	case err != nil:
		return agentapi.Answer{}, err
	case req.Action != nil && !mayEnter(caller, job):
		return agentapi.Answer{}, errNotByToken
	case !runs(job) && !begins(job):
		return agentapi.Answer{}, errNotRunning
	}
	done, err := s.turns.take(ctx, queue{number: job.Number})
	if err != nil {
		return agentapi.Answer{}, err
	}
	defer done()
	answer, err := s.ask(ctx, job, req)
	if err != nil {
		return agentapi.Answer{}, err
	}
	crashpoint.Here("control.ordered")
	storing, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeWithin)
	defer cancel()
	event.At = s.cfg.Now()
	_, err = s.cfg.Store.Apply(storing, job.Number, event)
	if _, ended := errors.AsType[*berth.StateError](err); ended {
		return answer, nil
	}
	return answer, err
}

// ask asks the agent of a job. For clients a job runs when nothing is missing for its start, and its command does some milliseconds
// later: it is asked again for a while. The error is errNotRunning when it definitely does not run; an *agentapi.Error when the agent
// refuses.
func (s *Service) ask(ctx context.Context, job berth.Job, req agentapi.Request) (agentapi.Answer, error) {
	w, stop := s.cfg.Changes.watch(topic{number: job.Number})
	defer stop()
	enough := time.NewTimer(listensWithin)
	defer enough.Stop()
	for pause := firstAgain; ; pause = min(2*pause, lastAgain) {
		answer, err := agentapi.Answer{}, error(errNotRunning)
		if runs(job) {
			answer, err = s.askOnce(ctx, job.Attempt, req)
		}
		if !notYet(err) && !begins(job) {
			return answer, err
		}
		again := time.NewTimer(pause)
		select {
		case <-w.woken:
		case <-again.C:
		case <-enough.C:
			return answer, err
		case <-ctx.Done():
			return answer, ctx.Err()
		}
		again.Stop()
		if job, err = s.cfg.Store.Job(ctx, job.Number); err != nil {
			return agentapi.Answer{}, err
		}
	}
}

// notYet says whether the agent has definitely done nothing because the command does not run.
func notYet(err error) bool {
	refused, ok := errors.AsType[*agentapi.Error](err)
	return errors.Is(err, engine.ErrNotFound) || ok && refused.Code == agentapi.CodeNotRunning
}

func (s *Service) askOnce(ctx context.Context, attempt string, req agentapi.Request) (agentapi.Answer, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerWithin)
	defer cancel()
	answer, err := s.cfg.Agents.Ask(ctx, attempt, req)
	if err == nil && answer.Error != nil {
		return answer, answer.Error
	}
	return answer, err
}

// unanswered gives what an agent refused, or did not answer, its public form. Errors that have one pass.
func unanswered(err error, msg string) error {
	if err == nil {
		return nil
	}
	if _, public := errors.AsType[*berth.Error](err); public {
		return err
	}
	public := &berth.Error{Kind: berth.Unavailable, Msg: msg, Err: err}
	if refused, ok := errors.AsType[*agentapi.Error](err); ok {
		public.Detail = refused.Text
	} else if errors.Is(err, engine.ErrNotFound) {
		public.Detail = "the command of the job does not run yet"
	}
	return public
}
