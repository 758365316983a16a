package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/client"
)

// jobServer makes one job for each idempotency key, as the server does, and loses some of its answers.
type jobServer struct {
	mu   sync.Mutex
	jobs map[string]int
	keys []string
	lose func(request int, w http.ResponseWriter) bool
}

func (s *jobServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = io.Copy(io.Discard, r.Body)
	key := r.Header.Get("Idempotency-Key")
	s.keys = append(s.keys, key)
	if s.jobs[key] == 0 {
		s.jobs[key] = len(s.jobs) + 1
	}
	if s.lose(len(s.keys), w) {
		return
	}
	answer(w, http.StatusOK, `{"name":"n","number":`+strconv.Itoa(s.jobs[key])+`}`)
}

func TestSubmissionSurvivesLostAnswers(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(int, http.ResponseWriter) bool{
		"connection closed before the answer": func(n int, _ http.ResponseWriter) bool {
			if n <= 2 {
				panic(http.ErrAbortHandler)
			}
			return false
		},
		"answer broken off": func(n int, w http.ResponseWriter) bool {
			if n <= 2 {
				w.Header().Set("Content-Length", "100")
				_, _ = io.WriteString(w, `{"name":`)
				panic(http.ErrAbortHandler)
			}
			return false
		},
		"gateway lost it": func(n int, w http.ResponseWriter) bool {
			if n <= 2 {
				answer(w, http.StatusGatewayTimeout, "")
			}
			return n <= 2
		},
	} {
		for _, key := range []string{"", "mine"} {
			t.Run(name+" "+key, func(t *testing.T) {
				t.Parallel()
				checkOneJob(t, &jobServer{jobs: map[string]int{}, lose: lose}, key)
			})
		}
	}
}

// checkOneJob submits to a server that loses two answers, and wants one job and three requests with one key.
func checkOneJob(t *testing.T, server *jobServer, key string) {
	t.Helper()
	c := serve(t, server.ServeHTTP)
	submitted, err := c.Batch(t.Context(), client.Submission{IdempotencyKey: key})
	if err != nil {
		t.Fatal(err)
	}
	if submitted.Number != 1 || len(server.jobs) != 1 {
		t.Errorf("job %d of %d, want the only one", submitted.Number, len(server.jobs))
	}
	first := server.keys[0]
	if first == "" || (key != "" && first != key) {
		t.Errorf("first key is %q", first)
	}
	if diff := cmp.Diff([]string{first, first, first}, server.keys); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

func TestTwoSubmissionsHaveTwoKeys(t *testing.T) {
	t.Parallel()
	server := &jobServer{jobs: map[string]int{}, lose: func(int, http.ResponseWriter) bool { return false }}
	c := serve(t, server.ServeHTTP)
	for range 2 {
		if _, err := c.Batch(t.Context(), client.Submission{}); err != nil {
			t.Fatal(err)
		}
	}
	if len(server.jobs) != 2 {
		t.Errorf("%d jobs, want 2", len(server.jobs))
	}
}

// transport answers in memory, so that tests run in virtual time.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func response(status int, retryAfter, body string) *http.Response {
	header := http.Header{}
	if retryAfter != "" {
		header.Set("Retry-After", retryAfter)
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body))}
}

var errBroken = errors.New("connection reset")

func TestRepetitions(t *testing.T) {
	t.Parallel()
	status := func(ctx context.Context, c *client.Client) error {
		_, err := c.Status(ctx, client.Number(1))
		return err
	}
	batch := func(ctx context.Context, c *client.Client) error {
		_, err := c.Batch(ctx, client.Submission{})
		return err
	}
	shutdown := func(ctx context.Context, c *client.Client) error { return c.Shutdown(ctx, client.Number(1)) }
	remove := func(ctx context.Context, c *client.Client) error { return c.RemoveImage(ctx, "x") }
	load := func(ctx context.Context, c *client.Client) error {
		_, err := c.ImportImage(ctx, bytes.NewReader([]byte("tar")), client.ImageImport{})
		return err
	}
	broken := func(*http.Request) (*http.Response, error) { return nil, errBroken }
	always := func(code int, retryAfter string) transport {
		return func(*http.Request) (*http.Response, error) { return response(code, retryAfter, ""), nil }
	}
	for name, tc := range map[string]struct {
		call            func(context.Context, *client.Client) error
		server          transport
		requests        int
		atLeast, atMost time.Duration
	}{
		"read, broken":                 {status, broken, 5, 1500 * time.Millisecond, 3 * time.Second},
		"read, 503":                    {status, always(503, ""), 5, 1500 * time.Millisecond, 3 * time.Second},
		"read, 503 with a time":        {status, always(503, "7"), 5, 28 * time.Second, 28 * time.Second},
		"read, 503 with a long time":   {status, always(503, "3600"), 1, 0, 0},
		"read, 429 with a time":        {status, always(429, "1"), 5, 4 * time.Second, 4 * time.Second},
		"read, 429, a limit":           {status, always(429, ""), 1, 0, 0},
		"read, 500":                    {status, always(500, ""), 1, 0, 0},
		"read, 404":                    {status, always(404, ""), 1, 0, 0},
		"submission, broken":           {batch, broken, 5, 1500 * time.Millisecond, 3 * time.Second},
		"submission, 502":              {batch, always(502, ""), 5, 1500 * time.Millisecond, 3 * time.Second},
		"submission, 401":              {batch, always(401, ""), 1, 0, 0},
		"shutdown, broken":             {shutdown, broken, 1, 0, 0},
		"shutdown, 503":                {shutdown, always(503, "1"), 1, 0, 0},
		"removal of an image, broken":  {remove, broken, 1, 0, 0},
		"import of an image, broken":   {load, broken, 1, 0, 0},
		"read, server without answers": {status, func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }, 5, 301 * time.Second, 303 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				c := connect(t, client.Config{URL: "http://server", APIKey: "k", HTTPClient: &http.Client{
					Transport: transport(func(r *http.Request) (*http.Response, error) {
						requests++
						return tc.server(r)
					}),
				}})
				began := time.Now()
				err := tc.call(t.Context(), c)
				took := time.Since(began)
				if err == nil {
					t.Error("no error")
				}
				if requests != tc.requests {
					t.Errorf("%d requests, want %d", requests, tc.requests)
				}
				if took < tc.atLeast || took > tc.atMost {
					t.Errorf("pauses of %v, want %v to %v", took, tc.atLeast, tc.atMost)
				}
				if _, refused := errors.AsType[*client.Error](err); refused == client.NoAnswer(err) {
					t.Errorf("%v is neither or both of a refusal and no answer", err)
				}
			})
		})
	}
}

func TestContextEndsRepetition(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, client.Config{URL: "http://server", HTTPClient: &http.Client{
			Transport: transport(func(*http.Request) (*http.Response, error) { return response(503, "20", ""), nil }),
		}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := c.Status(ctx, client.Number(1)); err == nil {
			t.Error("no error")
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("it took %v, want 1s", took)
		}
	})
}

func TestCanceledCallSaysSo(t *testing.T) {
	t.Parallel()
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel(cause)
		<-r.Context().Done()
	})
	_, err := c.Status(ctx, client.Number(1))
	if !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
		t.Errorf("error is %v, want the cancellation and its cause", err)
	}
}
