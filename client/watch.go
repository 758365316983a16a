package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"time"
)

const (
	// openPatience is how long a stream of events may take to open before the server is asked instead: there are servers without
	// one, and proxies that hold it back.
	openPatience = 10 * time.Second
	// heldForEnd and heldForChange are how long a server without events is asked to hold back its answer.
	heldForEnd    = 30 * time.Second
	heldForChange = time.Second
)

// Wait returns a job when it has ended, however long that takes; bound it with ctx. The server tells of the end, so that nobody asks
// again and again. It goes on over restarts of the server.
func (c *Client) Wait(ctx context.Context, ref Ref) (Job, error) {
	var last Job
	for job, err := range c.watch(ctx, ref, heldForEnd, Event.Final) {
		if err != nil {
			return job, err
		}
		last = job
	}
	return last, nil
}

// Watch returns a job for a loop: as it is now, and again whenever something has happened to it that changed it. The loop ends
// after the job that has ended, or after the first error. It goes on over restarts of the server.
func (c *Client) Watch(ctx context.Context, ref Ref) iter.Seq2[Job, error] {
	return c.watch(ctx, ref, heldForChange, func(Event) bool { return true })
}

func (c *Client) watch(ctx context.Context, ref Ref, held time.Duration, about func(Event) bool) iter.Seq2[Job, error] {
	return func(yield func(Job, error) bool) {
		number, err := c.Resolve(ctx, ref)
		if err != nil {
			yield(Job{}, err)
			return
		}
		w := &watcher{client: c, number: number, held: held, about: about, yield: yield}
		// Who asks for a job that has ended, or is not there, needs no stream.
		if w.look(ctx, 0) && w.listen(ctx) {
			w.ask(ctx)
		}
	}
}

// watcher hands out a job when it has changed. Its methods return whether to go on.
type watcher struct {
	client *Client
	number int64
	// held is how long a server without events holds back its answer.
	held time.Duration
	// about says after which events to look at the job.
	about func(Event) bool
	yield func(Job, error) bool
	last  json.RawMessage
}

// look reads the job, and hands it out when it is not the same as before.
func (w *watcher) look(ctx context.Context, wait time.Duration) bool {
	job, err := w.client.job(ctx, w.number, look{wait: wait, patient: true})
	if err == nil && bytes.Equal(job.Raw, w.last) {
		return true
	}
	w.last = job.Raw
	return w.yield(job, err) && err == nil && !job.Status.Ended()
}

// errNoStream is why a stream of events is given up that does not open.
var errNoStream = errors.New("the stream of events does not open")

// listen looks at the job after every event. It returns true when the events do not come any more.
func (w *watcher) listen(ctx context.Context) bool {
	events := w.client.Events(ctx, EventsFilter{Number: w.number})
	defer events.Close()
	patience := time.AfterFunc(openPatience, func() { events.cancel(errNoStream) })
	err := events.Open()
	patience.Stop()
	if err != nil {
		return true
	}
	// What happened before the stream was open is seen by this look, what happens after it is told by an event.
	if !w.look(ctx, 0) {
		return false
	}
	for event, err := range events.All() {
		if err != nil {
			return true
		}
		if w.about(event) && !w.look(ctx, 0) {
			return false
		}
	}
	return true
}

// ask looks at the job again and again, where the server holds back its answer until it has ended or some time is over.
func (w *watcher) ask(ctx context.Context) {
	for {
		asked := time.Now()
		if !w.look(ctx, w.held) {
			return
		}
		// A server that cannot hold an answer back must not be asked in a tight loop.
		if early := time.Second - time.Since(asked); early > 0 {
			if err := sleep(ctx, early); err != nil {
				w.yield(Job{}, err)
				return
			}
		}
	}
}
