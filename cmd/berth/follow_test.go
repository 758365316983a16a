package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// life is a job that goes on to its next stage when somebody has looked at the present one, and tells of it.
type life struct {
	output string
	stages []string
	ended  chan struct{}
	end    func() // closes ended
	looked chan struct{}

	mu             sync.Mutex
	present, shown int // stages
}

func newLife(output string, stages ...string) *life {
	ended := make(chan struct{})
	return &life{
		stages: stages, output: output, ended: ended, end: sync.OnceFunc(func() { close(ended) }), looked: make(chan struct{}, 1), shown: -1,
	}
}

func (l *life) routes() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"GET /v1/jobs/12":        l.job,
		"GET /v1/jobs/12/output": l.stream,
		"GET /v1/events":         l.events,
		"GET /jarvice/status":    text(200, `{"12":{}}`),
		"POST /jarvice/batch":    text(200, `{"name":"n12","number":12}`),
	}
}

func (l *life) job(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	l.shown = l.present
	stage := l.stages[l.present]
	if l.present == len(l.stages)-1 {
		l.end() // now, and not before: who watches has shown all the others
	}
	l.mu.Unlock()
	select {
	case l.looked <- struct{}{}:
	default:
	}
	text(200, stage)(w, r)
}

// events tells of every stage from now on.
func (l *life) events(w http.ResponseWriter, r *http.Request) {
	events(w, "event: hello\nid: 1\ndata: {}\n\n")
	for id := 2; ; {
		l.mu.Lock()
		if l.shown == l.present && l.present < len(l.stages)-1 {
			l.present++
			events(w, fmt.Sprintf("id: %d\ndata: %s\n\n", id, strings.ReplaceAll(l.stages[l.present], "\n", "")))
			id++
		}
		l.mu.Unlock()
		select {
		case <-l.looked:
		case <-r.Context().Done():
			return
		}
	}
}

func (l *life) stream(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("follow") == "1" {
		select {
		case <-l.ended:
		case <-r.Context().Done():
			return
		}
	}
	raw(l.output)(w, r)
}

const followed = `job 12 n12
job 12: queued: Waiting for resources
job 12: starting: Pulling the image: 3 of 9 MB
job 12: running
job 12: Shutting down
job 12: COMPLETED WITH ERROR: the command exited with code 3, after 00:00:17
`

func TestBatchFollow(t *testing.T) {
	t.Parallel()
	f := newFake(t, newLife("one\n\xff\x00two", queued, pulling, pulling, running, running, asked, stopping, failed).routes())
	check(t, result{Code: 3, Stdout: "one\n\xff\x00two", Stderr: followed},
		f.berth(t, "batch", "--image", "x", "-f", "-c", "id"))
}

func TestBatchFollowQuiet(t *testing.T) {
	t.Parallel()
	f := newFake(t, newLife("one\n", queued, running, failed).routes())
	check(t, result{Code: 3, Stdout: "one\n"}, f.berth(t, "batch", "--image", "x", "-f", "-q", "-c", "id"))
}

func TestBatchWait(t *testing.T) {
	t.Parallel()
	f := newFake(t, map[string]http.HandlerFunc{
		"POST /jarvice/batch": text(200, `{"name":"n13","number":13}`), "GET /v1/jobs/13": text(200, completed),
	})
	check(t, result{Stdout: "job 13 n13\n", Stderr: "job 13: COMPLETED: the command exited with code 0, after 00:00:17\n"},
		f.berth(t, "batch", "--image", "x", "--wait", "-c", "id"))
}

func TestTailFollow(t *testing.T) {
	t.Parallel()
	const output = "1\n2\n3\n4\n"
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"from the beginning": {[]string{"tail", "-f", "12"}, output},
		"by name":            {[]string{"tail", "-f", "n12"}, output},
		"last lines":         {[]string{"tail", "-f", "12", "-n", "2"}, "3\n4\n"},
		"all lines":          {[]string{"tail", "-f", "12", "-n", "0"}, output},
		"more than there is": {[]string{"tail", "-f", "12", "-n", "9"}, output},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, newLife(output, running, failed).routes())
			check(t, result{
				Code: 3, Stdout: tc.want,
				Stderr: "job 12: running\njob 12: COMPLETED WITH ERROR: the command exited with code 3, after 00:00:17\n",
			}, f.berth(t, tc.args...))
		})
	}
}

// TestInterruptedFollowLeavesTheJob ends the program's context, as Ctrl-C does, at the first output.
func TestInterruptedFollowLeavesTheJob(t *testing.T) {
	t.Parallel()
	routes := newLife("", running).routes()
	routes["GET /v1/jobs/12/output"] = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = io.WriteString(w, "first\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	f := newFake(t, routes)
	ctx, cancel := context.WithCancel(t.Context())
	got := command{
		args: []string{"batch", "--image", "x", "-q", "-f", "-c", "id"}, env: f.env(), stdout: onWrite(cancel),
	}.run(ctx, t)
	check(t, result{
		Code: 130, Stdout: "first\n",
		Stderr: "berth: interrupted (job 12 goes on; follow it again: berth tail -f 12; end it: berth shutdown 12)\n",
	}, got)
	for _, request := range f.asked() {
		if strings.Contains(request, "shutdown") || strings.Contains(request, "terminate") {
			t.Errorf("the job was ended: %s", request)
		}
	}
}

func TestInterruptedWaitLeavesTheJob(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	f := newFake(t, map[string]http.HandlerFunc{"GET /v1/jobs/12": func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}})
	check(t, result{
		Code:   130,
		Stderr: "berth: interrupted (job 12 goes on; follow it again: berth tail -f 12; end it: berth shutdown 12)\n",
	}, command{args: []string{"wait", "12"}, env: f.env()}.run(ctx, t))
}

func TestInterruptedSubmissionNamesItsKey(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	f := newFake(t, map[string]http.HandlerFunc{"POST /jarvice/batch": func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}})
	check(t, result{
		Code:   130,
		Stderr: "berth: interrupted (it may have arrived; send it again with --idempotency-key k, which makes no second job)\n",
	}, command{args: []string{"batch", "--image", "x", "--idempotency-key", "k", "-c", "id"}, env: f.env()}.run(ctx, t))
}

type onWrite func()

func (f onWrite) Write(p []byte) (int, error) {
	f()
	return len(p), nil
}

// TestWaitIsTold holds that nobody asks again and again.
func TestWaitIsTold(t *testing.T) {
	t.Parallel()
	f := newFake(t, newLife("", running, failed).routes())
	check(t, result{Code: 3, Stderr: "job 12: COMPLETED WITH ERROR: the command exited with code 3, after 00:00:17\n"}, f.berth(t, "wait", "12"))
	if asked := f.asked(); len(asked) > 4 {
		t.Errorf("requests are %v", asked)
	}
}

// TestWaitOnATerminal rewrites one line while the job waits, and leaves nothing of it.
func TestWaitOnATerminal(t *testing.T) {
	t.Parallel()
	f := newFake(t, newLife("", queued, pulling, running, failed).routes())
	const erase = "\r\x1b[K"
	got := command{args: []string{"wait", "12"}, env: f.env(), terminal: true}.run(t.Context(), t)
	check(t, result{
		Code: 3,
		Stderr: erase + "job 12: queued: Waiting for resources" + erase + "job 12: starting: Pulling the image: 3 of 9 MB" +
			erase + "job 12: running\n" + "job 12: COMPLETED WITH ERROR: the command exited with code 3, after 00:00:17\n",
	}, got)
}

func TestWaitInterruptedByAMissingJob(t *testing.T) {
	t.Parallel()
	f := newFake(t, recorded())
	check(t, result{Code: 1, Stderr: "berth: job 99: Not found (list your jobs: berth jobs --all)\n"}, f.berth(t, "wait", "99"))
}
