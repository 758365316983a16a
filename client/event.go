package client

import (
	"bytes"
	"context"
	"encoding/json"
	"time"
)

// Event is one thing that happened to a job.
type Event struct {
	// ID grows with every event of the server; none is given out twice.
	ID     int64 `json:"id"`
	Number int64 `json:"number"`
	// Kind is submitted, placed, waiting, started, stop-requested, terminate-requested, signaled, action-requested, stopping, ended,
	// staging, staged or refused. Later servers may know more.
	Kind string    `json:"kind"`
	At   time.Time `json:"at"`
	// State is that of the job after the event, as in Job.
	State string `json:"state"`
	// By is who asked for it and From the network address that the request came from, when somebody did.
	By   string `json:"by"`
	From string `json:"from"`
	// Detail is a sentence for people, or the name of an action; may be empty.
	Detail string `json:"detail"`
	// Signal is the number of the signal that was sent, else 0.
	Signal int `json:"signal"`
	// Wait is the server's word for what the job waits for, with the kind waiting.
	Wait string `json:"wait"`
	// Exit says how the container ended, with the kinds ended and staging.
	Exit *Exit `json:"exit"`
	// Raw is the server's event.
	Raw json.RawMessage `json:"-"`
}

// UnmarshalJSON keeps the event as it came, too.
func (e *Event) UnmarshalJSON(text []byte) error {
	type plain Event
	e.Raw = bytes.Clone(text)
	return json.Unmarshal(text, (*plain)(e))
}

// Final says whether the job had ended with this event.
func (e Event) Final() bool {
	switch e.State {
	case "completed", "failed", "terminated", "canceled":
		return true
	default:
		return false
	}
}

// Exit is what is known of the end of a job's container.
type Exit struct {
	// Known is false when the exit code cannot be learned; the other fields mean nothing then.
	Known bool `json:"known"`
	// Ran is false when the command was never started.
	Ran bool `json:"ran"`
	// Code is the exit code, 128 + Signal when a signal ended the command.
	Code        int  `json:"code"`
	Signal      int  `json:"signal"`
	OutOfMemory bool `json:"out_of_memory"`
	// Node is the node whose end ended the job although its command still ran; else empty.
	Node   string `json:"node"`
	Detail string `json:"detail"`
}

// History is what happened to a job so far, and why it waits.
type History struct {
	Number int64  `json:"number"`
	Status Status `json:"status"`
	State  string `json:"state"`
	// Events are in the order in which they happened, the submission first.
	Events []Event `json:"events"`
	// LeftOut is how many are missing behind the first 100 of a very long history.
	LeftOut int64 `json:"left_out"`
	// Waiting says why a queued job waits, nil for any other.
	Waiting *Waiting `json:"waiting"`
	// Raw is the server's answer.
	Raw json.RawMessage `json:"-"`
}

// LastID returns the ID of the last event, from which EventsFilter.After continues; 0 when there is none.
func (h History) LastID() int64 {
	if len(h.Events) == 0 {
		return 0
	}
	return h.Events[len(h.Events)-1].ID
}

// Waiting says why a queued job waits.
type Waiting struct {
	// Position is the job's place in the queue, 1 is the next one to start.
	Position int `json:"position"`
	// Blockers keep the job from starting, the one that must go first in front.
	Blockers []Blocker `json:"blockers"`
	// EstimatedStart is when it starts at the latest if every job before it uses up its walltime; zero when nobody knows.
	EstimatedStart time.Time `json:"estimated_start"`
}

// Blocker is one thing that keeps a job from starting.
type Blocker struct {
	// Kind is impossible, queue, resources, job or vault. Later servers may know more.
	Kind string `json:"kind"`
	// Number is the job that blocks, 0 when none does.
	Number int64 `json:"number"`
	// Detail is a sentence for people.
	Detail string `json:"detail"`
}

// JobEvents returns what happened to a job, and why it waits when it is queued. A name costs a second request.
func (c *Client) JobEvents(ctx context.Context, ref Ref) (History, error) {
	number, err := c.Resolve(ctx, ref)
	if err != nil {
		return History{}, err
	}
	var history History
	history.Raw, err = c.get(ctx, jobPath(number)+"/events", nil, &history)
	return history, err
}
