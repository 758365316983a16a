package control

import (
	"context"
	"errors"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
)

// Connect returns how people get into a running interactive job. It gives the password away, so a key for reading is refused.
// NotFound "Running job is not found" for a job that does not run or that nobody connects to.
func (s *Service) Connect(ctx context.Context, caller berth.Caller, ref JobRef) (Connection, error) {
	job, err := s.controllable(ctx, caller, ref)
	switch {
	case err != nil:
		return Connection{}, err
	case !mayEnter(caller, job):
		return Connection{}, errNotByToken
	case !runs(job) && !begins(job):
		return Connection{}, errNotRunning
	}
	run, _, err := s.cfg.Store.Run(ctx, job.Number)
	if err != nil {
		return Connection{}, err
	}
	if !run.Interactive {
		return Connection{}, errNotRunning
	}
	answer, err := s.ask(ctx, job, agentapi.Request{Info: &agentapi.InfoRequest{}})
	if err != nil {
		return Connection{}, unanswered(err, msgNoAnswer)
	}
	return Connection{Address: answer.Info.Address, Password: run.Password}, nil
}

// appActions returns the actions of a job's AppDef as it was when the job was submitted. What its application became since then,
// perhaps by somebody else, is not run in the job.
func (s *Service) appActions(ctx context.Context, job berth.Job) ([]berth.Action, error) {
	if job.Submission.App == "" || job.Submission.HPC != nil {
		return nil, nil
	}
	run, _, err := s.cfg.Store.Run(ctx, job.Number)
	return run.Actions, err
}

// appAction starts an action that the AppDef of a job has and its image has not, which was the refusal.
func (s *Service) appAction(ctx context.Context, caller berth.Caller, ref JobRef, event berth.Event, refusal error) error {
	refused, ok := errors.AsType[*agentapi.Error](refusal)
	if !ok || refused.Code != agentapi.CodeInvalid {
		return refusal
	}
	job, err := s.controllable(ctx, caller, ref)
	if err != nil {
		return err
	}
	actions, err := s.appActions(ctx, job)
	if err != nil {
		return err
	}
	for _, action := range actions {
		if action.Name == event.Detail {
			request := agentapi.ActionRequest{Name: action.Name, Command: action.Args}
			_, err := s.order(ctx, caller, ref, agentapi.Request{Action: &request}, event)
			return err
		}
	}
	return refusal
}
