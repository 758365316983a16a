package httpapi

import (
	"cmp"
	"context"
	"strconv"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

// jobAnswer is a job as our own API shows it: with the server's own words and a typed end.
type jobAnswer struct {
	Number          int64      `json:"number"`
	Name            string     `json:"name"`
	Status          string     `json:"status"`
	Substatus       int        `json:"substatus"`
	SubstatusText   string     `json:"substatus_text"`
	State           string     `json:"state"`
	Owner           string     `json:"owner"`
	Team            string     `json:"team"`
	Payer           string     `json:"payer"`
	Image           string     `json:"image"`
	Label           string     `json:"label"`
	Project         string     `json:"project"`
	Application     string     `json:"application"`
	Command         string     `json:"command"`
	Machine         string     `json:"machine"`
	Nodes           int        `json:"nodes"`
	Submitted       time.Time  `json:"submitted"`
	Started         time.Time  `json:"started,omitzero"`
	Suspended       time.Time  `json:"suspended,omitzero"`
	Ended           time.Time  `json:"ended,omitzero"`
	WalltimeSeconds float64    `json:"walltime_seconds"`
	End             *endAnswer `json:"end,omitempty"`
}

type endAnswer struct {
	Reason   string `json:"reason"`
	ExitCode int    `json:"exit_code"`
	Signal   int    `json:"signal"`
	By       string `json:"by"`
	Detail   string `json:"detail"`
}

func newJobAnswer(job berth.Job) jobAnswer {
	sub := substatusOf(job)
	answer := jobAnswer{
		Number: job.Number, Name: job.Name,
		Status: statusWord(job), Substatus: sub.number, SubstatusText: sub.text, State: string(job.State),
		Owner: job.Owner, Team: job.Team, Payer: cmp.Or(job.Payer, job.Owner), Image: job.Image, Label: job.Label(), Project: job.Submission.Project,
		Application: job.Application, Command: job.Command,
		Machine: job.Submission.Machine.Type, Nodes: max(1, job.Submission.Machine.Nodes),
		Submitted: job.Submitted, Started: job.Started, Suspended: job.Suspended, Ended: job.Ended,
		WalltimeSeconds: job.Walltime().Seconds(),
	}
	if job.State.Final() {
		end := job.End
		answer.End = &endAnswer{
			Reason: string(end.Reason), ExitCode: end.ExitCode, Signal: end.Signal, By: end.By, Detail: end.Detail,
		}
	}
	return answer
}

// job answers one job, with the parameter wait only when it has ended or the time is over.
func (s *server) job(c *call, caller berth.Caller, p params) error {
	number, err := c.jobNumber()
	if err != nil {
		return err
	}
	wait, err := p.patience()
	if err != nil {
		return err
	}
	ref := control.JobRef{Number: number}
	var job berth.Job
	if wait == 0 {
		job, err = s.control.Job(c.r.Context(), caller, ref)
	} else {
		job, err = s.await(c, caller, ref, wait)
	}
	if err != nil {
		return err
	}
	return c.writeJSON(newJobAnswer(job))
}

func (s *server) await(c *call, caller berth.Caller, ref control.JobRef, wait time.Duration) (berth.Job, error) {
	if err := s.linger(c); err != nil {
		return berth.Job{}, err
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), wait)
	defer cancel()
	return s.control.Wait(ctx, caller, ref)
}

// maxWait bounds a long poll: proxies give up soon after.
const maxWait = time.Minute

// patience reads the parameter wait: a duration such as 30s, or a number of seconds.
func (p *params) patience() (time.Duration, error) {
	text := p.text("wait")
	if text == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, maxWait), nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 {
		return 0, p.refuse("wait", quote(text)+" was sent, a duration such as 30s is allowed")
	}
	return min(wait, maxWait), nil
}

// jobNumber is that of the job which the path names.
func (c *call) jobNumber() (int64, error) {
	number, err := strconv.ParseInt(c.r.PathValue("number"), 10, 64)
	if err != nil || number <= 0 {
		return 0, &berth.Error{Kind: berth.NotFound, Msg: msgNotFound}
	}
	return number, nil
}
