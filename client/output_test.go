package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/berth-hpc/berth/client"
)

// outputServer serves the output of job 12, which grows, over connections that break and end early.
type outputServer struct {
	t       *testing.T
	content []byte

	mu      sync.Mutex
	random  *rand.Rand
	written int // how much of the content the job has written
	ended   bool
}

func (s *outputServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.random.IntN(8) == 0 {
		answer(w, http.StatusServiceUnavailable, `{"error":"starting"}`)
		return
	}
	switch r.URL.Path {
	case "/jarvice/status":
		answer(w, http.StatusOK, `{"12":{}}`)
	case "/v1/jobs/12":
		status := client.StatusProcessing
		if s.ended {
			status = client.StatusCompleted
		}
		answer(w, http.StatusOK, fmt.Sprintf(`{"number":12,"status":%q}`, status))
		s.grow() // also between the question and the next connection
	case "/v1/jobs/12/output":
		s.stream(w, r)
	default:
		s.t.Errorf("request for %s", r.URL)
	}
}

// stream sends a random part of what is there, and then ends cleanly or breaks.
func (s *outputServer) stream(w http.ResponseWriter, r *http.Request) {
	offset, err := strconv.Atoi(r.URL.Query().Get("offset"))
	if err != nil || offset > s.written || r.URL.Query().Get("raw") != "1" {
		s.t.Errorf("request for %s with %d bytes there", r.URL, s.written)
		return
	}
	wasEnded := s.ended
	s.grow()
	w.Header().Set("Content-Type", "application/octet-stream")
	rest := s.content[offset:s.written]
	if wasEnded && s.random.IntN(2) == 0 {
		_, _ = w.Write(rest)
		return
	}
	_, _ = w.Write(rest[:s.random.IntN(len(rest)+1)])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func (s *outputServer) grow() {
	s.written = min(len(s.content), s.written+s.random.IntN(2000))
	s.ended = s.written == len(s.content)
}

func TestFollowOutputIsExactOverBrokenConnections(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1))
			content := make([]byte, 20_000)
			for i := range content {
				content[i] = byte(random.IntN(256)) // mostly no UTF-8
			}
			server := &outputServer{t: t, content: content, random: random}
			c := serve(t, server.ServeHTTP)
			output := c.FollowOutput(t.Context(), client.Name("n12"), 0)
			defer output.Close()
			got, err := io.ReadAll(output)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, content) {
				t.Errorf("%d bytes that differ from the %d written", len(got), len(content))
			}
			if output.Offset() != int64(len(content)) {
				t.Errorf("offset is %d", output.Offset())
			}
		})
	}
}

func TestOpenOutputFromOffset(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if got, want := r.URL.RequestURI(), "/v1/jobs/12/output?offset=3&raw=1&username=ada"; got != want {
			t.Errorf("request for %s, want %s", got, want)
		}
		_, _ = io.WriteString(w, "rest")
	})
	output := c.OpenOutput(t.Context(), client.Number(12), 3)
	defer output.Close()
	got, err := io.ReadAll(output)
	if err != nil || string(got) != "rest" || output.Offset() != 7 {
		t.Errorf("got %q, error %v, offset %d", got, err, output.Offset())
	}
}

// TestFollowOutputOfTextDoesNotGuess is about a server that changes the bytes: their count is no offset.
func TestFollowOutputOfTextDoesNotGuess(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "part")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	output := c.FollowOutput(t.Context(), client.Number(12), 0)
	defer output.Close()
	got, err := io.ReadAll(output)
	if err == nil || string(got) != "part" {
		t.Errorf("got %q, error %v; want the part and an error", got, err)
	}
}

func TestFollowOutputOfNoJob(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusNotFound, `{"error":"Not found"}`)
	})
	output := c.FollowOutput(t.Context(), client.Number(12), 0)
	defer output.Close()
	_, err := io.ReadAll(output)
	if refused, ok := errors.AsType[*client.Error](err); !ok || refused.StatusCode != http.StatusNotFound {
		t.Errorf("error is %v, want a refusal with 404", err)
	}
}

func TestFollowOutputGivesUp(t *testing.T) {
	t.Parallel()
	server := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	once := connect(t, client.Config{URL: serve(t, server).URL(), Attempts: 1})
	output := once.FollowOutput(t.Context(), client.Number(12), 0)
	defer output.Close()
	if _, err := io.ReadAll(output); err == nil {
		t.Error("no error although every connection broke")
	}
}

func TestCloseEndsARead(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "x")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	output := c.FollowOutput(t.Context(), client.Number(12), 0)
	first := make([]byte, 1)
	if _, err := io.ReadFull(output, first); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		_, err := output.Read(make([]byte, 1))
		ended <- err
	}()
	for range 2 {
		if err := output.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("read ended with %v, want a cancellation", err)
	}
}

func TestFollowOutputEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	output := c.FollowOutput(ctx, client.Number(12), 0)
	defer output.Close()
	if _, err := io.ReadAll(output); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v, want the deadline", err)
	}
}
