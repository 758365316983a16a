package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

// fromNow is the position of a stream that begins with what happens next.
const fromNow = -1

// eventStream sends what happens to jobs, as server-sent events, until the client goes or the server stops. The ID of each is its
// position, at which another stream can go on.
func (s *server) eventStream(c *call, caller berth.Caller, p params) error {
	filter, err := eventsFilter(&p, c.r.Header.Get("Last-Event-ID"))
	if err != nil {
		return err
	}
	if err := s.linger(c); err != nil {
		return err
	}
	events, err := s.control.Events(c.r.Context(), caller, filter)
	if err != nil {
		return err
	}
	defer events.Close()
	header := c.w.Header()
	header.Set("Content-Type", contentEvents)
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // a proxy that collects answers would hold events back
	out := c.flushed()
	if c.r.Method == http.MethodHead {
		return nil
	}
	return s.sendEvents(c.r.Context(), out, events)
}

// eventsFilter reads what a stream is asked for. The header is what browsers send when they connect again, so it counts more than
// the parameter, which they repeat.
func eventsFilter(p *params, lastEventID string) (control.EventsFilter, error) {
	filter := control.EventsFilter{Everyone: p.flag("all"), After: fromNow}
	var err error
	if filter.Number, err = p.integer("number", 0); err != nil {
		return filter, err
	}
	last := cmp.Or(lastEventID, p.text("last_event_id"))
	if last == "" {
		return filter, nil
	}
	if filter.After, err = strconv.ParseInt(last, 10, 64); err != nil || filter.After < 0 {
		return filter, p.refuse("Last-Event-ID", quote(last)+" was sent, the ID of an event is allowed")
	}
	return filter, nil
}

// sendEvents begins with the position, so that a client that sees no event can go on there too. Between events it sends signs of
// life, at which a client that is gone shows.
func (s *server) sendEvents(ctx context.Context, out io.Writer, events EventStream) error {
	if _, err := fmt.Fprintf(out, "retry: 1000\nevent: hello\nid: %d\ndata: {}\n\n", events.Last()); err != nil {
		return nil //nolint:nilerr // the client is gone
	}
	for {
		records, err := nextEvents(ctx, events, s.cfg.KeepAlive)
		text := []byte(": keep-alive\n\n")
		switch {
		case ctx.Err() != nil, berth.KindOf(err) == berth.Unavailable:
			// The client is gone, or the server stops, or the client has to connect again: the answer ends as a whole one.
			return nil //nolint:nilerr // see above
		case err == nil:
			if text, err = encodeEvents(records); err != nil {
				return err
			}
		case !errors.Is(err, context.DeadlineExceeded):
			return err
		}
		if _, err := out.Write(text); err != nil {
			return nil //nolint:nilerr // the client is gone
		}
	}
}

// nextEvents waits for events, at most for the given time.
func nextEvents(ctx context.Context, events EventStream, atMost time.Duration) ([]berth.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	return events.Next(ctx)
}

// encodeEvents returns server-sent events. JSON has no newline, so each has one line of data.
func encodeEvents(records []berth.Record) ([]byte, error) {
	var text bytes.Buffer
	for _, r := range records {
		data, err := encodeJSON(newEventAnswer(r))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&text, "id: %d\nevent: %s\ndata: %s\n\n", r.ID, r.Event.Kind, data)
	}
	return text.Bytes(), nil
}
