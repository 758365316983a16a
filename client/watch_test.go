package client_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/client"
)

// lifeServer is a server with events and one job, 12.
type lifeServer struct {
	// onOpen runs before a stream is opened, and onRead when the answer about the job is made but not sent; both with the count of
	// such requests.
	onOpen, onRead func(n int)

	mu           sync.Mutex
	states       []string // of the job, the last one is the present one
	grown        chan struct{}
	asked        []string
	opened, read int
}

// newLifeServer returns a server whose job is in this state.
func newLifeServer(state string) *lifeServer {
	nothing := func(int) {}
	return &lifeServer{states: []string{state}, grown: make(chan struct{}, 10), onOpen: nothing, onRead: nothing}
}

// become gives the job another state and tells of it.
func (s *lifeServer) become(state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states = append(s.states, state)
	s.grown <- struct{}{}
}

func (s *lifeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.URL.Path)
	if r.URL.Path == "/v1/events" {
		s.opened++
		n := s.opened
		s.mu.Unlock()
		s.onOpen(n)
		s.stream(w, r)
		return
	}
	s.read++
	n, state := s.read, s.states[len(s.states)-1]
	s.mu.Unlock()
	s.onRead(n)
	status := map[string]client.Status{"completed": client.StatusCompleted}[state]
	answer(w, http.StatusOK, fmt.Sprintf(`{"number":12,"state":%q,"status":%q}`, state, cmp.Or(status, client.StatusProcessing)))
}

// stream tells what happens from now on, or after the last ID, which is a count of states.
func (s *lifeServer) stream(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	sent := len(s.states)
	s.mu.Unlock()
	if last, err := strconv.Atoi(r.Header.Get("Last-Event-ID")); err == nil {
		sent = last
	}
	stream(w, fmt.Sprintf("event: hello\nid: %d\ndata: {}\n\n", sent))
	for {
		s.mu.Lock()
		for ; sent < len(s.states); sent++ {
			stream(w, fmt.Sprintf("id: %d\ndata: {\"number\":12,\"state\":%q}\n\n", sent+1, s.states[sent]))
		}
		s.mu.Unlock()
		select {
		case <-s.grown:
		case <-r.Context().Done():
			return
		}
	}
}

// TestWaitIsTold lets the job end at the moments between the requests, and wants them to be the only ones.
func TestWaitIsTold(t *testing.T) {
	t.Parallel()
	const job, events = "/v1/jobs/12", "/v1/events"
	// at lets the job end while an answer is on its way that does not say so.
	at := func(read int, before ...string) func(*lifeServer) {
		return func(s *lifeServer) {
			s.onRead = func(n int) {
				if n != read {
					return
				}
				for _, state := range append(before, "completed") {
					s.become(state)
				}
			}
		}
	}
	for name, tc := range map[string]struct {
		prepare func(*lifeServer)
		want    []string
	}{
		"before":                    {func(s *lifeServer) { s.become("completed") }, []string{job}},
		"before the stream is open": {at(1), []string{job, events, job}},
		"when the stream is open":   {at(2), []string{job, events, job, job}},
		"after something else":      {at(2, "stopping"), []string{job, events, job, job}},
		"after a broken connection": {
			func(s *lifeServer) {
				at(2)(s)
				s.onOpen = func(n int) {
					if n == 1 {
						panic(http.ErrAbortHandler)
					}
				}
			},
			[]string{job, events, events, job, job},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newLifeServer("running")
			tc.prepare(server)
			got, err := serve(t, server.ServeHTTP).Wait(t.Context(), client.Number(12))
			if err != nil || got.Status != client.StatusCompleted {
				t.Errorf("job is %+v, error %v", got, err)
			}
			if diff := gocmp.Diff(tc.want, server.asked); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	server := newLifeServer("queued")
	next := map[int]string{2: "starting", 3: "starting", 4: "running", 5: "completed"}
	server.onRead = func(n int) {
		if state := next[n]; state != "" {
			server.become(state)
		}
	}
	var got []string
	for job, err := range serve(t, server.ServeHTTP).Watch(t.Context(), client.Number(12)) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, job.State)
	}
	if diff := gocmp.Diff([]string{"queued", "starting", "running", "completed"}, got); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
}

func TestWatchCanBeLeft(t *testing.T) {
	t.Parallel()
	server := newLifeServer("running")
	c := serve(t, server.ServeHTTP)
	for _, err := range c.Watch(t.Context(), client.Number(12)) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	if len(server.asked) != 1 {
		t.Errorf("requests are %v", server.asked)
	}
}

// TestWaitWithoutEvents is about servers and proxies without a stream of events: the server holds back its answer instead.
func TestWaitWithoutEvents(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		events          transport
		atLeast, atMost time.Duration
	}{
		"no such path": {func(*http.Request) (*http.Response, error) { return response(404, "", `{"error":"Not found"}`), nil }, 0, 0},
		"a proxy that holds it back": {
			func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() },
			10 * time.Second, 10 * time.Second,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var asked []string
				c := connect(t, client.Config{URL: "http://server", HTTPClient: &http.Client{
					Transport: transport(func(r *http.Request) (*http.Response, error) {
						asked = append(asked, r.URL.RequestURI())
						switch {
						case r.URL.Path == "/v1/events":
							return tc.events(r)
						case r.URL.RawQuery == "":
							return response(200, "", `{"number":12,"status":"PROCESSING STARTING"}`), nil
						}
						return response(200, "", finished), nil
					}),
				}})
				began := time.Now()
				job, err := c.Wait(t.Context(), client.Number(12))
				if err != nil || job.Status != client.StatusFailed {
					t.Errorf("job is %+v, error %v", job, err)
				}
				if diff := gocmp.Diff([]string{"/v1/jobs/12", "/v1/events?number=12", "/v1/jobs/12?wait=30s"}, asked); diff != "" {
					t.Errorf("requests (-want +got):\n%s", diff)
				}
				if took := time.Since(began); took < tc.atLeast || took > tc.atMost {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

func TestWaitGoesOnOverARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		c := connect(t, client.Config{URL: "http://server", HTTPClient: &http.Client{
			Transport: transport(func(*http.Request) (*http.Response, error) {
				requests++
				switch {
				case requests == 1:
					return response(200, "", `{"number":12,"status":"PROCESSING STARTING"}`), nil
				case requests <= 12:
					return nil, errBroken
				default:
					return response(200, "", finished), nil
				}
			}),
		}})
		job, err := c.Wait(t.Context(), client.Number(12))
		if err != nil || job.Status != client.StatusFailed {
			t.Errorf("job is %v, error %v", job.Status, err)
		}
	})
}

// TestWaitDoesNotSpin is about a server that answers at once although it was asked to hold the answer back.
func TestWaitDoesNotSpin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		c := connect(t, client.Config{URL: "http://server", HTTPClient: &http.Client{
			Transport: transport(func(*http.Request) (*http.Response, error) {
				requests++
				return response(200, "", `{"number":12,"status":"SUBMITTED"}`), nil
			}),
		}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := c.Wait(ctx, client.Number(12)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v", err)
		}
		if requests > 63 { // the first look, the stream that is none, and one each second
			t.Errorf("%d requests in a minute", requests)
		}
	})
}
