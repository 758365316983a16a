package httpapi

import (
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

// eventAnswer is one event of a job. What its kind does not have is left out.
type eventAnswer struct {
	ID     int64       `json:"id"`
	Number int64       `json:"number"`
	Kind   string      `json:"kind"`
	At     time.Time   `json:"at"`
	State  string      `json:"state"`
	By     string      `json:"by,omitempty"`
	From   string      `json:"from,omitempty"`
	Detail string      `json:"detail,omitempty"`
	Signal int         `json:"signal,omitempty"`
	Wait   string      `json:"wait,omitempty"`
	Exit   *exitAnswer `json:"exit,omitempty"`
}

// exitAnswer is how the container of a job ended.
type exitAnswer struct {
	Known       bool   `json:"known"`
	Ran         bool   `json:"ran"`
	Code        int    `json:"code"`
	Signal      int    `json:"signal"`
	OutOfMemory bool   `json:"out_of_memory"`
	Node        string `json:"node"`
	Detail      string `json:"detail"`
}

func newEventAnswer(r berth.Record) eventAnswer {
	ev := r.Event
	answer := eventAnswer{
		ID: r.ID, Number: r.Number, Kind: string(ev.Kind), At: ev.At.UTC(), State: string(r.State),
		By: ev.By, From: ev.From, Detail: ev.Detail, Signal: ev.Signal, Wait: string(ev.Wait),
	}
	if ev.Kind == berth.EventEnded || ev.Kind == berth.EventStaging {
		answer.Exit = new(exitAnswer(ev.Exit))
	}
	return answer
}

// explanationAnswer is what happened to a job, and why it waits.
type explanationAnswer struct {
	Number  int64          `json:"number"`
	Status  string         `json:"status"`
	State   string         `json:"state"`
	Events  []eventAnswer  `json:"events"`
	LeftOut int64          `json:"left_out,omitempty"`
	Waiting *waitingAnswer `json:"waiting,omitempty"`
}

type waitingAnswer struct {
	Position int             `json:"position"`
	Blockers []blockerAnswer `json:"blockers"`
	Start    time.Time       `json:"estimated_start,omitzero"`
}

type blockerAnswer struct {
	Kind   string `json:"kind"`
	Number int64  `json:"number"`
	Detail string `json:"detail"`
}

func newBlockerAnswer(b berth.Blocker) blockerAnswer {
	return blockerAnswer{string(b.Kind), b.Number, b.Detail}
}

func newExplanationAnswer(ex control.Explanation) explanationAnswer {
	answer := explanationAnswer{
		Number: ex.Job.Number, Status: statusWord(ex.Job), State: string(ex.Job.State), Events: each(ex.Records, newEventAnswer),
		LeftOut: ex.LeftOut,
	}
	if f := ex.Forecast; f != nil {
		answer.Waiting = &waitingAnswer{Position: f.Position, Blockers: each(f.Blockers, newBlockerAnswer), Start: f.Start}
	}
	return answer
}

// explanation answers what happened to a job for programs.
func (s *server) explanation(c *call, caller berth.Caller, _ params) error {
	number, err := c.jobNumber()
	if err != nil {
		return err
	}
	ex, err := s.control.Explain(c.r.Context(), caller, control.JobRef{Number: number})
	if err != nil {
		return err
	}
	return c.writeJSON(newExplanationAnswer(ex))
}
