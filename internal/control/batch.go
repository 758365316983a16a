package control

import (
	"context"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/image"
	"github.com/berth-hpc/berth/internal/jobscript"
)

// Public texts of a refused submission.
const (
	msgMalformed    = "Missing or Malformed API Syntax"
	msgBadContainer = "Invalid container in request"
	msgNoContainer  = "Container cannot create Application"
	msgNoBilling    = "Account billing not active"
	msgBuildJob     = "Unable to create Job Object"
	msgStoreJob     = "Unable to create Job Submission"
)

// Batch checks a submission and stores it as a queued job. It returns when the job is on disk; the same idempotency key and hash
// return the first job again. With Submission.NoSubmit it returns the job that would be, without a number, and stores nothing.
func (s *Service) Batch(ctx context.Context, caller berth.Caller, req BatchRequest) (berth.Job, error) {
	return s.submit(ctx, caller, req, s.buildBatch)
}

// buildBatch makes the job of a batch submission, or says what is wrong with it.
func (s *Service) buildBatch(ctx context.Context, caller berth.Caller, req BatchRequest) (draft, error) {
	d := draft{sub: req.Submission, application: berth.BatchApplication, command: berth.BatchCommand}
	if _, err := jobscript.Decode(d.sub.Container.JobScript); err != nil {
		return draft{}, malformed("container.jobscript", err.Error())
	}
	if err := s.place(ctx, caller, &d); err != nil {
		return draft{}, err
	}
	var err error
	if d.image, err = image.Normalize(d.sub.Container.Image); err != nil {
		return draft{}, &berth.Error{Kind: berth.Invalid, Msg: msgBadContainer, Detail: "container.image: " + err.Error()}
	}
	if d.sub.Container.Interactive {
		d.run = &berth.Run{Interactive: true, Password: s.randomText(passwordLength), Random: s.randomText(randomLength)}
	}
	return d, s.checkImage(ctx, d.image, req.PullSecret)
}
