package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/client"
)

// stream answers with the text of an event stream.
func stream(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, text)
	_ = http.NewResponseController(w).Flush()
}

// TestEventStreamForms holds what counts as an event of a stream that then ends.
func TestEventStreamForms(t *testing.T) {
	t.Parallel()
	one := []string{"1 started"}
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"as our server writes":  {"retry: 1\nevent: hello\nid: 0\ndata: {}\n\n: keep-alive\n\nid: 1\nevent: started\ndata: {\"kind\":\"started\"}\n\n", one},
		"CRLF":                  {"id: 1\r\ndata: {\"kind\":\"started\"}\r\n\r\n", one},
		"CR":                    {"id: 1\rdata: {\"kind\":\"started\"}\r\r", one},
		"mixed":                 {"id: 1\rdata: {\"kind\":\"started\"}\r\n\n", one},
		"no space":              {"id:1\ndata:{\"kind\":\"started\"}\n\n", one},
		"byte order mark":       {"\uFEFFid: 1\ndata: {\"kind\":\"started\"}\n\n", one},
		"data of many lines":    {"id: 1\ndata: {\"kind\":\ndata:\ndata: \"started\"}\n\n", one},
		"unknown fields":        {"id: 1\nfuture: x\nfuture\ndata: {\"kind\":\"started\"}\nretry: soon\n\n", one},
		"comments inside":       {": x\nid: 1\n:\ndata: {\"kind\":\"started\"}\n: y\n\n", one},
		"message without ID":    {"data: future\n\nid: x\ndata: future\n\nid: 1\ndata: {\"kind\":\"started\"}\n\n", one},
		"empty messages":        {"\n\n\nevent: x\n\nid: 1\ndata: {\"kind\":\"started\"}\n\n", one},
		"cut off":               {"id: 1\ndata: {\"kind\":\"started\"}\n\nid: 2\ndata: {\"kind\":\"ended\"}\n", one},
		"twice the same":        {"id: 1\ndata: {\"kind\":\"started\"}\n\nid: 1\ndata: {\"kind\":\"started\"}\n\n", one},
		"an ID without data":    {"id: 1\ndata: {\"kind\":\"started\"}\n\nid: 5\n\nid: 4\ndata: {\"kind\":\"ended\"}\n\n", one},
		"a hello in the middle": {"id: 1\ndata: {\"kind\":\"started\"}\n\nevent: hello\nid: 9\ndata: {}\n\nid: 2\ndata: {\"kind\":\"ended\"}\n\n", []string{"1 started", "2 ended"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, func(w http.ResponseWriter, _ *http.Request) { stream(w, tc.text) })
			c := connect(t, client.Config{URL: server.URL(), APIKey: "k", Attempts: 1})
			events := c.Events(t.Context(), client.EventsFilter{})
			defer events.Close()
			var got []string
			var last error
			for event, err := range events.All() {
				if last = err; err == nil {
					got = append(got, fmt.Sprint(event.ID, " ", event.Kind))
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			if !client.NoAnswer(last) {
				t.Errorf("the stream ended with %v, want that it broke off", last)
			}
		})
	}
}

// eventServer has a log that grows, and tells of it over connections that break at any byte.
type eventServer struct {
	t      *testing.T
	mu     sync.Mutex
	random *rand.Rand
	log    []int64 // IDs
	until  int64
}

func (s *eventServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if got, want := r.URL.RequestURI(), "/v1/events?all=true&number=3&username=ada"; got != want {
		s.t.Errorf("request for %s, want %s", got, want)
	}
	if s.random.IntN(8) == 0 {
		answer(w, http.StatusServiceUnavailable, `{"error":"starting"}`)
		return
	}
	after := s.newest()
	if header := r.Header.Get("Last-Event-ID"); header != "" {
		id, err := strconv.ParseInt(header, 10, 64)
		if err != nil || id > s.newest() {
			s.t.Errorf("Last-Event-ID is %q", header)
		}
		after = id
	}
	s.grow()
	var text strings.Builder
	fmt.Fprintf(&text, "retry: 1\nevent: hello\nid: %d\ndata: {}\n\n", after)
	for _, id := range s.log {
		if id > after {
			fmt.Fprintf(&text, ": keep-alive\n\nid: %d\nevent: waiting\ndata: {\"id\":%d}\n\n", id, id)
		}
	}
	whole := text.String()
	if len(s.log) == 0 || s.random.IntN(3) == 0 {
		stream(w, whole)
		return
	}
	stream(w, whole[:s.random.IntN(len(whole))])
	panic(http.ErrAbortHandler)
}

func (s *eventServer) newest() int64 {
	if len(s.log) == 0 {
		return 0
	}
	return s.log[len(s.log)-1]
}

func (s *eventServer) grow() {
	for range s.random.IntN(10) {
		if id := s.newest() + 1 + s.random.Int64N(3); id <= s.until {
			s.log = append(s.log, id)
		}
	}
	if s.until-s.newest() <= 3 && s.newest() < s.until {
		s.log = append(s.log, s.until)
	}
}

// TestEventsAreExactOverBrokenConnections reads from the hello on, which may already be behind some events.
func TestEventsAreExactOverBrokenConnections(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			checkEvents(t, &eventServer{t: t, random: rand.New(rand.NewPCG(seed, 2)), until: 200})
		})
	}
}

func checkEvents(t *testing.T, server *eventServer) {
	t.Helper()
	events := serve(t, server.ServeHTTP).Events(t.Context(), client.EventsFilter{Number: 3, All: true})
	defer events.Close()
	if err := events.Open(); err != nil {
		t.Fatal(err)
	}
	began := events.LastID()
	var got, want []int64
	for events.LastID() < server.until {
		event, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, event.ID)
	}
	for _, id := range server.log {
		if id > began {
			want = append(want, id)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events after %d (-want +got):\n%s", began, diff)
	}
}

func TestEventsContinueWhereToldTo(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Last-Event-ID"); got != "41" {
			t.Errorf("Last-Event-ID is %q", got)
		}
		if got := r.Header.Get("Accept"); got != "text/event-stream" {
			t.Errorf("Accept is %q", got)
		}
		stream(w, "event: hello\nid: 50\ndata: {}\n\nid: 42\ndata: {\"number\":3,\"kind\":\"ended\",\"state\":\"failed\"}\n\n")
		<-r.Context().Done()
	})
	events := c.Events(t.Context(), client.EventsFilter{After: 41})
	defer events.Close()
	event, err := events.Next()
	if err != nil {
		t.Fatal(err)
	}
	want := client.Event{ID: 42, Number: 3, Kind: "ended", State: "failed", Raw: []byte(`{"number":3,"kind":"ended","state":"failed"}`)}
	if diff := cmp.Diff(want, event); diff != "" || !event.Final() || events.LastID() != 42 {
		t.Errorf("final %t, last %d, event (-want +got):\n%s", event.Final(), events.LastID(), diff)
	}
}

// TestBadEventStreams are those that another connection would not make better.
func TestBadEventStreams(t *testing.T) {
	t.Parallel()
	for name, handle := range map[string]http.HandlerFunc{
		"something else":     func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, `{"id":1}`) },
		"no JSON":            func(w http.ResponseWriter, _ *http.Request) { stream(w, "id: 1\ndata: x\n\n") },
		"an endless line":    func(w http.ResponseWriter, _ *http.Request) { stream(w, "data: "+strings.Repeat("x", 2<<20)) },
		"an endless message": func(w http.ResponseWriter, _ *http.Request) { stream(w, strings.Repeat("data: xxxxxxxx\n", 2<<17)) },
		"refused": func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusUnauthorized, `{"error":"Unauthorized"}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int64
			events := serve(t, func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				handle(w, r)
			}).Events(t.Context(), client.EventsFilter{})
			defer events.Close()
			if event, err := events.Next(); err == nil || client.NoAnswer(err) {
				t.Errorf("event is %+v, error %v", event, err)
			}
			if n := requests.Load(); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func TestCloseEndsNext(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		stream(w, "event: hello\nid: 1\ndata: {}\n\n")
		<-r.Context().Done()
	})
	events := c.Events(t.Context(), client.EventsFilter{})
	for range 2 { // the second finds it open
		if err := events.Open(); err != nil {
			t.Fatal(err)
		}
	}
	result := make(chan error)
	go func() {
		_, err := events.Next()
		result <- err
	}()
	for range 2 {
		if err := events.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("Next ended with %v, want a cancellation", err)
	}
}

// TestEventStreamTimes runs in virtual time: a connection that says nothing is given up, and the server names the pause after a break.
func TestEventStreamTimes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		first           func(*http.Request) io.ReadCloser // body of the first connection
		atLeast, atMost time.Duration                     // until the second
	}{
		"silence": {
			func(r *http.Request) io.ReadCloser { return silent(r.Context(), "event: hello\nid: 1\ndata: {}\n\n") },
			45 * time.Second, 46 * time.Second,
		},
		"break": {
			func(*http.Request) io.ReadCloser {
				return io.NopCloser(strings.NewReader("retry: 2000\nevent: hello\nid: 1\ndata: {}\n\n"))
			},
			time.Second, 2 * time.Second,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				c := connect(t, client.Config{URL: "http://server", HTTPClient: &http.Client{
					Transport: transport(func(r *http.Request) (*http.Response, error) {
						requests++
						resp := response(http.StatusOK, "", "id: 2\ndata: {}\n\n")
						if requests == 1 {
							resp.Body = tc.first(r)
						}
						resp.Header.Set("Content-Type", "text/event-stream; charset=utf-8")
						return resp, nil
					}),
				}})
				began := time.Now()
				events := c.Events(t.Context(), client.EventsFilter{})
				defer events.Close()
				event, err := events.Next()
				if err != nil || event.ID != 2 {
					t.Errorf("event is %+v, error %v", event, err)
				}
				if took := time.Since(began); requests != 2 || took < tc.atLeast || took > tc.atMost {
					t.Errorf("%d requests in %v", requests, took)
				}
			})
		})
	}
}

// silent is a body that says something and then nothing until its request is given up.
func silent(ctx context.Context, text string) io.ReadCloser {
	return io.NopCloser(io.MultiReader(strings.NewReader(text), untilDone{ctx}))
}

type untilDone struct{ ctx context.Context }

func (r untilDone) Read([]byte) (int, error) {
	<-r.ctx.Done()
	return 0, r.ctx.Err()
}
