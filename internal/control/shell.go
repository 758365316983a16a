package control

import (
	"context"
	"errors"
	"strconv"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
)

const msgNoShell = "Shell not started"

// OpenShell starts a shell in a running job, as its user, for whoever may act on the job or holds its token, and stores that it did. A
// command that runs on a terminal takes the place of the shell, and starts unless it has. The caller closes the terminal. Errors are those of WebPage; Unavailable "Shell not started" when the job has no terminals.
func (s *Service) OpenShell(
	ctx context.Context, visitor Visitor, number int64, size agentapi.TerminalSize,
) (*agentapi.Terminal, error) {
	job, run, err := s.admit(ctx, visitor, number)
	switch {
	case err != nil:
		return nil, err
	case !runs(job):
		return nil, errNotRunning
	}
	opening, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	terminal, err := s.cfg.Agents.OpenShell(opening, job.Attempt, agentapi.ShellRequest{Size: size, Command: run.Webshell})
	if err != nil {
		return nil, unanswered(err, msgNoShell)
	}
	act := s.act(visitor.Caller, berth.ActShellOpened, strconv.FormatInt(number, 10), "")
	if act.By == "" {
		act.By, act.From, act.Detail = job.Owner, visitor.From, "with the token of the job"
	}
	if err := s.cfg.Store.Record(ctx, act); err != nil {
		return nil, errors.Join(err, terminal.Close())
	}
	return terminal, nil
}

// Enter says whether a visitor may have a shell in a running job, and returns the session that lets the visitor in again, like WebPage.
func (s *Service) Enter(ctx context.Context, visitor Visitor, number int64) (session string, err error) {
	job, run, err := s.admit(ctx, visitor, number)
	switch {
	case err != nil:
		return "", err
	case !runs(job):
		return "", errNotRunning
	}
	return sessionOf(run), nil
}

// UntilRevoked returns when a caller may not go on in a job that it was let into, since its key has ended or its rights are others, and
// with ctx.
func (s *Service) UntilRevoked(ctx context.Context, caller berth.Caller, number int64) {
	// An error means that it is not known whether the caller may: as if it may not.
	_, _ = s.waitUntil(ctx, caller, berth.Job{Number: number}, func(berth.Job) bool { return false })
}
