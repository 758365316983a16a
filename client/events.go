package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"
)

// EventsFilter selects what an event stream tells of. The zero value selects the caller's own jobs, from now on.
type EventsFilter struct {
	// Number selects one job, which need not be the caller's own if the caller may see it.
	Number int64
	// All selects, without Number, every job that the caller may see.
	All bool
	// After continues behind the event with this ID, such as the LastID of another reader or of a History; 0 begins now.
	After int64
}

// Events tells what happens to jobs as it happens, every event once and in order. A connection that breaks, also by a restart of
// the server, is made again behind the last event. The stream ends with ctx, or with an error when the server stays away.
func (c *Client) Events(ctx context.Context, filter EventsFilter) *EventReader {
	r := &EventReader{client: c, filter: filter}
	r.last.Store(unknownID)
	if filter.After > 0 {
		r.last.Store(filter.After)
	}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	return r
}

const (
	// unknownID is the last ID before the server has named one.
	unknownID = -1
	// maxSilence is how long a connection may say nothing. The server sends a comment every 15 s.
	maxSilence = 45 * time.Second
	// hello is the name of the message that opens a stream.
	hello = "hello"
)

// EventReader reads a stream of events. It connects at the first Open or Next. Open and Next are for one goroutine; Close and LastID
// may be called from others. It must be closed.
type EventReader struct {
	client *Client
	ctx    context.Context // of the stream's whole life, as the context of a request is
	cancel context.CancelCauseFunc
	filter EventsFilter
	last   atomic.Int64
	// pending is an event that Open came upon.
	pending *Event
	// frames reads the present connection, nil when there is none; hangUp ends it.
	frames *frames
	hangUp func()
	// retry is the pause after a break that the server asked for, 0 for the client's own.
	retry time.Duration
	// failures counts what went wrong since the last message.
	failures int
}

// errEventsClosed is what Next returns after Close.
var errEventsClosed = errors.New("event reader is closed")

// Open returns when the stream is open: what happens from then on is told by Next. It does nothing when it is open already.
func (r *EventReader) Open() error {
	if r.frames != nil || r.pending != nil {
		return nil
	}
	event, ok, err := r.step()
	if ok {
		r.pending = &event
	}
	return err
}

// Next waits for the next event. After an error it is useless to go on.
func (r *EventReader) Next() (Event, error) {
	if r.pending != nil {
		event := *r.pending
		r.pending = nil
		return event, nil
	}
	for {
		event, ok, err := r.step()
		if err != nil || ok {
			return event, err
		}
	}
}

// All returns the events for a loop, which ends after the first error. It never ends without one.
func (r *EventReader) All() iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			event, err := r.Next()
			if !yield(event, err) || err != nil {
				return
			}
		}
	}
}

// LastID returns the ID of the last event, or of the one that the stream began behind; 0 before it is open.
func (r *EventReader) LastID() int64 { return max(r.last.Load(), 0) }

// Close ends the stream, also under a Next in another goroutine. It is safe to call twice.
func (r *EventReader) Close() error {
	r.cancel(errEventsClosed)
	return nil
}

// step reads one message, over as many connections as it takes. It returns whether the message is an event.
func (r *EventReader) step() (Event, bool, error) {
	for {
		if r.ctx.Err() != nil {
			r.disconnect()
			return Event{}, false, ended(r.ctx)
		}
		if r.frames == nil {
			if err := r.connect(); err != nil {
				return Event{}, false, err
			}
		}
		message, err := r.frames.next()
		if err == nil {
			r.failures = 0
			return r.take(message)
		}
		r.retry = cmp.Or(r.frames.retry, r.retry)
		r.disconnect()
		if err := r.afterBreak(err); err != nil {
			return Event{}, false, err
		}
	}
}

// take makes an event of a message. What has no ID is none.
func (r *EventReader) take(message frame) (Event, bool, error) {
	id, named := parseID(message.id)
	last := r.last.Load()
	if message.event == hello {
		if named && last == unknownID {
			r.last.Store(id)
		}
		return Event{}, false, nil
	}
	if !named || id <= last { // something that this client does not know, or an event that was told before the connection broke
		return Event{}, false, nil
	}
	var event Event
	if message.data != "" {
		if err := json.Unmarshal([]byte(message.data), &event); err != nil {
			return Event{}, false, fmt.Errorf("%w: event %d: %w", errBadStream, id, err)
		}
	}
	event.ID = id
	r.last.Store(id)
	return event, message.data != "", nil
}

func parseID(text string) (int64, bool) {
	id, err := strconv.ParseInt(text, 10, 64)
	return id, err == nil
}

// connect opens the stream behind the last event. It tries often enough to outlive a restart of the server.
func (r *EventReader) connect() error {
	req := call{method: http.MethodGet, path: "/v1/events", query: url.Values{}, header: http.Header{}}
	if r.filter.Number != 0 {
		req.query.Set("number", strconv.FormatInt(r.filter.Number, 10))
	}
	if r.filter.All {
		req.query.Set("all", "true")
	}
	req.header.Set("Accept", "text/event-stream")
	if last := r.last.Load(); last != unknownID {
		req.header.Set("Last-Event-ID", strconv.FormatInt(last, 10))
	}
	return r.policy().run(r.ctx, func(ctx context.Context) error { return r.dial(ctx, req) })
}

// dial connects once. A connection that says nothing for too long ends like one that breaks.
func (r *EventReader) dial(ctx context.Context, req call) error {
	ctx, cancel := context.WithCancelCause(ctx)
	silence := time.AfterFunc(maxSilence, func() { cancel(errAttemptTimeout) })
	resp, err := r.client.open(ctx, req)
	if err != nil {
		silence.Stop()
		cancel(nil)
		return err
	}
	hangUp := func() {
		silence.Stop()
		cancel(nil)
		_ = resp.Body.Close() // whatever it says, this connection is not used again
	}
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != "text/event-stream" {
		hangUp()
		return fmt.Errorf("%w: the answer to %s is none", errBadStream, req.path)
	}
	r.frames, r.hangUp = newFrames(resp.Body, func() { silence.Reset(maxSilence) }), hangUp
	return nil
}

func (r *EventReader) disconnect() {
	if r.frames != nil {
		r.hangUp()
		r.frames, r.hangUp = nil, nil
	}
}

func (r *EventReader) policy() retryPolicy {
	policy := r.client.retry.patient()
	policy.first = cmp.Or(r.retry, policy.first)
	return policy
}

// afterBreak waits before the next connection, or returns the error when there were too many breaks without a message between them.
func (r *EventReader) afterBreak(err error) error {
	switch {
	case r.ctx.Err() != nil:
		return ended(r.ctx)
	case errors.Is(err, errBadStream):
		return err
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF // the stream has no end of its own
	}
	r.failures++
	policy := r.policy()
	if r.failures >= policy.attempts {
		return &connectionError{fmt.Errorf("event stream broke off: %w", err)}
	}
	return policy.pause(r.ctx, r.failures, err)
}
