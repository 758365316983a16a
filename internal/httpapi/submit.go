package httpapi

import (
	"cmp"
	"fmt"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

// submit takes submissions of applications, which this server has none of, and of containers, which are batch jobs: some clients
// can send nothing to /jarvice/batch.
func (s *server) submit(c *call) error {
	sub, err := s.submission(c)
	switch {
	case err != nil:
		return err
	case sub.app == "" && !sub.hpc && !sub.hasContainer:
		return malformed("app", "nothing was sent, an application or a container is required")
	}
	caller, err := s.submitter(c, sub.credentials)
	switch {
	case err != nil:
		return err
	case sub.app != "":
		return &berth.Error{Kind: berth.NotFound, Msg: msgNoApplication, Detail: "app: " + quote(sub.app)}
	case sub.hpc:
		return &berth.Error{Kind: berth.NotFound, Msg: msgNoApplication, Detail: "hpc: this server runs no jobs of queues"}
	}
	return s.runBatch(c, caller, sub)
}

// batch takes submissions of containers.
func (s *server) batch(c *call) error {
	sub, err := s.submission(c)
	if err != nil {
		return err
	}
	caller, err := s.submitter(c, sub.credentials)
	switch {
	case err != nil:
		return err
	case sub.hpc:
		return &berth.Error{Kind: berth.NotFound, Msg: msgNoApplication, Detail: "hpc: this server runs no jobs of queues"}
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

// runBatch submits a checked batch job. When it answers 200 the job is on disk.
func (s *server) runBatch(c *call, caller berth.Caller, sub submission) error {
	if sub.Container.Image == "" {
		return &berth.Error{
			Kind: berth.Invalid, Msg: msgInvalidContainer, Detail: "container.image: nothing was sent, the name of an image is required",
		}
	}
	req := control.BatchRequest{Submission: sub.Submission, PullSecret: sub.pullSecret}
	if err := c.idempotency(&req, &sub); err != nil {
		return err
	}
	job, err := s.control.Batch(c.r.Context(), caller, req)
	if err != nil {
		return err
	}
	answer := submitted{Name: job.Name, Number: job.Number}
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
