package httpapi

import (
	"cmp"
	"context"
	"fmt"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

// submit takes submissions of applications, of scripts of queues, and of containers, which are batch jobs: some clients can send
// nothing to /jarvice/batch.
func (s *server) submit(c *call) error {
	sub, err := s.submission(c)
	switch {
	case err != nil:
		return err
	case !sub.runsApplication() && !sub.hasContainer:
		return malformed("app", "nothing was sent, an application or a container is required")
	case sub.runsApplication() && sub.Command == "":
		return malformed("application.command", "nothing was sent, a command of the application is required")
	}
	caller, err := s.submitter(c, sub.credentials)
	switch {
	case err != nil:
		return err
	case sub.runsApplication():
		sub.asApplication()
		return s.run(c, s.control.SubmitApplication, caller, sub)
	}
	return s.runBatch(c, caller, sub)
}

// batch takes submissions of containers.
func (s *server) batch(c *call) error {
	sub, err := s.submission(c)
	switch {
	case err != nil:
		return err
	case sub.HPC != nil:
		return malformed("hpc", "an object was sent, nothing is allowed: /jarvice/submit takes the scripts of queues")
	}
	caller, err := s.submitter(c, sub.credentials)
	switch {
	case err != nil:
		return err
	case !sub.hasContainer:
		return &berth.Error{Kind: berth.Invalid, Msg: msgInvalidContainer, Detail: "container: nothing was sent, an object is required"}
	}
	return s.runBatch(c, caller, sub)
}

func malformed(field, sentence string) error {
	return &berth.Error{Kind: berth.Invalid, Msg: submissionTexts.unreadable, Detail: field + ": " + sentence}
}

// submission reads the body, and the credentials wherever they are.
func (s *server) submission(c *call) (submission, error) {
	query, err := c.queryParameters()
	if err != nil {
		return submission{}, err
	}
	body, err := c.readBody(s.cfg.MaxBody)
	if err != nil {
		return submission{}, err
	}
	sub, err := decodeSubmission(body)
	if err != nil {
		return submission{}, err
	}
	sub.credentials.username = cmp.Or(sub.credentials.username, query.text("username"))
	sub.credentials.apikey = cmp.Or(sub.credentials.apikey, query.text("apikey"))
	sub.credentials = c.withBearer(sub.credentials)
	return sub, nil
}

// submitter authenticates who submits.
func (s *server) submitter(c *call, cred credentials) (berth.Caller, error) {
	switch {
	case cred.username == "" && !cred.bearer:
		return berth.Caller{}, malformed("user.username", "nothing was sent, the name of a user is required")
	case cred.apikey == "":
		return berth.Caller{}, malformed("user.apikey", "nothing was sent, the user's API key is required")
	}
	return s.verify(c, cred)
}

// runBatch submits a batch job.
func (s *server) runBatch(c *call, caller berth.Caller, sub submission) error {
	if sub.Container.Image == "" {
		return &berth.Error{
			Kind: berth.Invalid, Msg: msgInvalidContainer, Detail: "container.image: nothing was sent, the name of an image is required",
		}
	}
	sub.asBatch()
	return s.run(c, s.control.Batch, caller, sub)
}

// useCase is one that makes a job of a submission.
type useCase func(context.Context, berth.Caller, control.BatchRequest) (berth.Job, error)

// run submits a job. When it answers 200 the job is on disk.
func (s *server) run(c *call, submit useCase, caller berth.Caller, sub submission) error {
	req := control.BatchRequest{Submission: sub.Submission, PullSecret: sub.pullSecret, VaultPassword: sub.vaultPassword, GenSSHKey: sub.genSSHKey}
	if err := c.idempotency(&req, &sub); err != nil {
		return err
	}
	job, err := submit(c.r.Context(), caller, req)
	if err != nil {
		return err
	}
	answer := submitted{Name: job.Name, Number: job.Number, SSHPublicKey: job.Submission.SSHPublicKey}
	if sub.NoSubmit {
		entry := newJobEntry(job, s.cfg.Now())
		answer.Job = &entry
	}
	return c.writeJSON(answer)
}

// submitted is the answer to a submission. Clients need both the name and the number.
type submitted struct {
	Name   string `json:"name"`
	Number int64  `json:"number"`
	// SSHPublicKey is for a submission that asked for a key.
	SSHPublicKey string `json:"ssh_public_key,omitempty"`
	// Job is the job that would be, for a submission that asked for nothing else.
	Job *jobEntry `json:"job,omitempty"`
}

// maxIdempotencyKey bounds an idempotency key in characters.
const maxIdempotencyKey = 255

// idempotency reads the header Idempotency-Key.
func (c *call) idempotency(req *control.BatchRequest, sub *submission) error {
	key := c.r.Header.Get("Idempotency-Key")
	if key == "" {
		return nil
	}
	visible := len(key) <= maxIdempotencyKey
	for i := range len(key) {
		visible = visible && key[i] > ' ' && key[i] <= '~'
	}
	if !visible {
		return malformed("Idempotency-Key", fmt.Sprintf("%s was sent, 1 to %d visible ASCII characters are allowed", quote(key), maxIdempotencyKey))
	}
	hash, err := sub.hash()
	req.IdempotencyKey, req.RequestHash = key, hash
	return err
}
