package httpapi

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

// openEvents opens an event stream of ada and checks its header.
func (a *testAPI) openEvents(ctx context.Context, query string) (lines *bufio.Reader, body io.Closer) {
	a.t.Helper()
	return a.openEventsAs(ctx, asAda+query)
}

func (a *testAPI) openEventsAs(ctx context.Context, query string) (lines *bufio.Reader, body io.Closer) {
	a.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+"/v1/events?"+query, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = resp.Body.Close() })
	if types := resp.Header.Values("Content-Type"); resp.StatusCode != 200 || len(types) != 1 || types[0] != "text/event-stream" {
		a.t.Fatalf("status %d, Content-Type %q", resp.StatusCode, types)
	}
	return bufio.NewReader(resp.Body), resp.Body
}

// readEvent reads up to the next empty line.
func readEvent(t *testing.T, lines *bufio.Reader) string {
	t.Helper()
	var event strings.Builder
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q: %v", event.String(), err)
		}
		if line == "\n" {
			return event.String()
		}
		event.WriteString(line)
	}
}

// TestEventStream sends an event only after the one before was received.
func TestEventStream(t *testing.T) {
	a := newTestAPI(t, func(c *Config) { c.KeepAlive = time.Hour })
	a.events = newScriptedStream()
	lines, body := a.openEvents(t.Context(), "&number=8")
	if diff := cmp.Diff("retry: 1000\nevent: hello\nid: 41\ndata: {}\n", readEvent(t, lines)); diff != "" {
		t.Errorf("first (-want +got)\n%s", diff)
	}
	if want := (control.EventsFilter{Number: 8, After: -1}); a.eventsFilter != want {
		t.Errorf("control got %+v", a.eventsFilter)
	}
	life := lifeOfAJob()
	a.events.batches <- life[:2]
	first := "id: 1\nevent: submitted\n" +
		`data: {"id":1,"number":8,"kind":"submitted","at":"2023-09-06T10:42:00Z","state":"queued","by":"ada","from":"10.1.2.3"}` + "\n"
	if diff := cmp.Diff(first, readEvent(t, lines)); diff != "" {
		t.Errorf("event (-want +got)\n%s", diff)
	}
	if second := readEvent(t, lines); !strings.HasPrefix(second, "id: 2\nevent: waiting\ndata: {") {
		t.Errorf("second event: %s", second)
	}
	a.events.batches <- life[3:4]
	if third := readEvent(t, lines); strings.Count(third, "\n") != 3 || !strings.Contains(third, `12 of\n45 MB`) {
		t.Errorf("third event: %s", third)
	}
	_ = body.Close()
	<-a.events.closed // the server lets go when the client does
}

// TestIdleEventStream checks the signs of life.
func TestIdleEventStream(t *testing.T) {
	a := newTestAPI(t, func(c *Config) { c.KeepAlive = time.Millisecond })
	a.events = newScriptedStream()
	lines, _ := a.openEvents(t.Context(), "")
	readEvent(t, lines)
	for range 3 {
		if sign := readEvent(t, lines); sign != ": keep-alive\n" {
			t.Fatalf("sign of life: %q", sign)
		}
	}
	a.events.batches <- lifeOfAJob()[:1]
	for event := readEvent(t, lines); !strings.HasPrefix(event, "id: 1\n"); event = readEvent(t, lines) {
		if event != ": keep-alive\n" {
			t.Fatalf("event %q", event)
		}
	}
}

func TestEventStreamPositions(t *testing.T) {
	tests := map[string]struct {
		query, header string
		want          control.EventsFilter
	}{
		"now":              {"", "", control.EventsFilter{After: -1}},
		"parameter":        {"&last_event_id=7", "", control.EventsFilter{After: 7}},
		"header":           {"&all=True", "12", control.EventsFilter{After: 12, Everyone: true}},
		"header and again": {"&last_event_id=7", "12", control.EventsFilter{After: 12}},
		"beginning":        {"&number=9", "0", control.EventsFilter{Number: 9}},
	}
	for name, tt := range tests {
		a := newTestAPI(t)
		req := a.request(http.MethodHead, "/v1/events?"+asAda+tt.query, nil) // a stream that ends after its header
		req.Header.Set("Last-Event-Id", tt.header)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 200 || a.eventsFilter != tt.want {
			t.Errorf("%s: status %d, control got %+v", name, resp.StatusCode, a.eventsFilter)
		}
	}
	a := newTestAPI(t)
	for query, status := range map[string]int{
		asAda + "&last_event_id=x": 400, asAda + "&last_event_id=-1": 400, asAda + "&number=x": 400, asAda + "&number=4711": 404,
		"username=ada&apikey=x": 401, "": 400,
	} {
		if got := a.get("/v1/events?" + query); got.status != status {
			t.Errorf("%s: status %d: %s", query, got.status, got.body)
		}
	}
	a.fail["Events"] = errors.New("broken")
	if got := a.get("/v1/events?" + asAda); got.status != 500 {
		t.Errorf("broken: status %d: %s", got.status, got.body)
	}
}

// TestEventStreamEnds checks that a stream whose reader may connect again ends as a whole answer, and a broken one does not.
func TestEventStreamEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		err   error
		whole bool
	}{
		"rights changed": {berth.Errorf(berth.Unavailable, "The account was changed; connect again"), true},
		"bug":            {errors.New("disk on fire"), false},
	} {
		a := newTestAPI(t)
		a.events = newScriptedStream()
		lines, _ := a.openEvents(t.Context(), "")
		readEvent(t, lines)
		a.events.errs <- tt.err
		if _, err := io.ReadAll(lines); (err == nil) != tt.whole {
			t.Errorf("%s: the client sees %v", name, err)
		}
		<-a.events.closed
	}
}

// TestStoppingServerEndsEventStreams stops the server as berthd does: the context of the requests ends.
func TestStoppingServerEndsEventStreams(t *testing.T) {
	a := newTestAPI(t)
	a.events = newScriptedStream()
	ctx, cancel := context.WithCancel(t.Context())
	srv := newServer(ctx, t, a.handler)
	a.url = srv.URL
	lines, _ := a.openEvents(t.Context(), "")
	readEvent(t, lines)
	cancel()
	if rest, err := io.ReadAll(lines); err != nil || len(rest) != 0 {
		t.Errorf("at the end: %q, %v", rest, err)
	}
	<-a.events.closed
}
