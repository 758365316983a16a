package control

import (
	"context"
	"errors"
	"image"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/screenshot"
)

const (
	msgNoDisplay = "Invalid image"
	// shotsAtOnce bounds the memory that pictures take: one of the largest has 64 MiB.
	shotsAtOnce = 2
	// maxSide is the largest width and height that somebody can want of a picture, in pixels.
	maxSide = 4096
)

// Screenshot returns a picture of the desktop of a running job as PNG, to whoever may see the job. Unsupported "Invalid image" when the job
// has no desktop, or none that can be looked at.
func (s *Service) Screenshot(ctx context.Context, caller berth.Caller, ref JobRef, want screenshot.Size) ([]byte, error) {
	for name, side := range map[string]int{"width": want.Width, "height": want.Height} {
		if side < 0 || side > maxSide {
			return nil, invalid(name, "%d is not within 1 to %d", side, maxSide)
		}
	}
	job, err := s.Job(ctx, caller, ref)
	switch {
	case err != nil:
		return nil, err
	case !runs(job):
		return nil, errNotRunning
	}
	run, _, err := s.cfg.Store.Run(ctx, job.Number)
	if err != nil {
		return nil, err
	}
	leave, err := enter(ctx, s.shots)
	if err != nil {
		return nil, err
	}
	defer leave()
	picture, err := s.lookAt(ctx, job, run.Password)
	if err != nil {
		return nil, err
	}
	text, err := screenshot.Encode(picture, want)
	if errors.Is(err, screenshot.ErrTooLarge) {
		return nil, invalid("emphatic", "%s: give width and height", err)
	}
	return text, err
}

// lookAt returns what the desktop of a job shows.
func (s *Service) lookAt(ctx context.Context, job berth.Job, password string) (*image.RGBA, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	display, err := s.cfg.Agents.OpenDisplay(ctx, job.Attempt)
	if refused, ok := errors.AsType[*agentapi.Error](err); ok {
		return nil, &berth.Error{Kind: berth.Unsupported, Msg: msgNoDisplay, Detail: refused.Text, Err: err}
	}
	if err != nil {
		return nil, unanswered(err, msgNoAnswer)
	}
	defer func() { _ = display.Close() }()
	picture, err := screenshot.Take(display, password)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, unanswered(errors.Join(ctx.Err(), err), msgNoAnswer)
	case err != nil:
		return nil, &berth.Error{Kind: berth.Unsupported, Msg: msgNoDisplay, Detail: err.Error(), Err: err}
	}
	return picture, nil
}
