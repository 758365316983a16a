package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Status is the word for where a job is.
type Status string

// The statuses. The last four are ends.
const (
	StatusSubmitted          Status = "SUBMITTED"
	StatusSequentiallyQueued Status = "SEQUENTIALLY QUEUED"
	StatusProcessing         Status = "PROCESSING STARTING"
	StatusCompleted          Status = "COMPLETED"
	StatusFailed             Status = "COMPLETED WITH ERROR"
	StatusTerminated         Status = "TERMINATED"
	StatusCanceled           Status = "CANCELED"
)

// Ended says whether the status never changes again.
func (s Status) Ended() bool {
	switch s {
	case StatusCompleted, StatusFailed, StatusTerminated, StatusCanceled:
		return true
	case StatusSubmitted, StatusSequentiallyQueued, StatusProcessing:
		return false
	}
	return false
}

// Job is what the server knows of a job. Times are zero until they happen.
type Job struct {
	Number int64  `json:"number"`
	Name   string `json:"name"`
	Status Status `json:"status"`
	// Substatus is a number, and SubstatusText a sentence, for what the job waits for or does besides running.
	Substatus     int    `json:"substatus"`
	SubstatusText string `json:"substatus_text"`
	// State is the server's own word: queued, starting, running, stopping, staging-out, completed, failed, terminated or canceled.
	State       string    `json:"state"`
	Owner       string    `json:"owner"`
	Image       string    `json:"image"`
	Label       string    `json:"label"`
	Project     string    `json:"project"`
	Application string    `json:"application"`
	Command     string    `json:"command"`
	Machine     string    `json:"machine"`
	Nodes       int       `json:"nodes"`
	Submitted   time.Time `json:"submitted"`
	Started     time.Time `json:"started"`
	Ended       time.Time `json:"ended"`
	// WalltimeSeconds is how long it ran, 0 before its end.
	WalltimeSeconds float64 `json:"walltime_seconds"`
	// End says how it ended, nil before.
	End *End `json:"end"`
	// Raw is the server's answer.
	Raw json.RawMessage `json:"-"`
}

// End says how a job ended.
type End struct {
	// Reason is exited, signaled, out-of-memory, shutdown, terminated, walltime, node-failed, not-saved, lost, refused or canceled.
	Reason string `json:"reason"`
	// ExitCode is the command's, 128 + Signal when a signal ended it, -1 when it is not known or never ran.
	ExitCode int `json:"exit_code"`
	// Signal is the number of the signal that ended the command, else 0.
	Signal int `json:"signal"`
	// By is who asked for the end, when somebody did.
	By string `json:"by"`
	// Detail is a sentence for people, may be empty.
	Detail string `json:"detail"`
}

// ExitCode returns what a program that stands for the job should exit with: 0 only when the job ended well, else the command's
// exit code, or 1 when there is none that says failure. It means nothing before the end.
func (j Job) ExitCode() int {
	switch {
	case j.Status == StatusCompleted:
		return 0
	case j.End != nil && j.End.ExitCode > 0 && j.End.ExitCode < 256:
		return j.End.ExitCode
	default:
		return 1
	}
}

// Job returns a job. A name costs a second request.
func (c *Client) Job(ctx context.Context, ref Ref) (Job, error) {
	number, err := c.Resolve(ctx, ref)
	if err != nil {
		return Job{}, err
	}
	return c.job(ctx, number, look{})
}

// look says how a job is read.
type look struct {
	// wait is how long the server may hold back its answer until the job has ended.
	wait time.Duration
	// patient looks outlive a restart of the server.
	patient bool
}

func (c *Client) job(ctx context.Context, number int64, how look) (Job, error) {
	req := call{method: http.MethodGet, path: jobPath(number), longPoll: how.wait, patient: how.patient}
	if how.wait > 0 {
		seconds := (how.wait + time.Second - 1) / time.Second
		req.query = url.Values{"wait": {strconv.FormatInt(int64(seconds), 10) + "s"}}
	}
	var job Job
	raw, err := c.decode(ctx, req, &job)
	job.Raw = raw
	return job, err
}

func jobPath(number int64) string { return "/v1/jobs/" + strconv.FormatInt(number, 10) }
