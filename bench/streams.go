package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/berth-hpc/berth/client"
	"github.com/berth-hpc/berth/internal/berthdtest"
)

func containsText(seen []byte, text string) bool { return bytes.Contains(seen, []byte(text)) }

// streams measures followers of a large output beside cat, what an idle event stream takes of the server's memory, how soon a change
// is seen, and the status with many connections.
func (b *bench) streams(ctx context.Context) (err error) {
	s := b.server("streams", "--cores", "4", "--network", "none")
	defer func() { err = errors.Join(err, s.Down(ctx)) }()
	if err := b.startWithImage(ctx, s); err != nil {
		return err
	}
	for _, measure := range []func(context.Context, *berthdtest.Server) error{b.followers, b.idleStreams, b.busyStatus} {
		if err := measure(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// followers have the output of one job read by many at once, and the same file by as many cat.
func (b *bench) followers(ctx context.Context, s *berthdtest.Server) error {
	c, err := clientOf(s)
	if err != nil {
		return err
	}
	size := b.pick(100<<20, 1<<20)
	readers := b.pick(200, 10)
	receipt, err := c.Batch(ctx, client.Submission{
		Container: &client.Container{Image: image, JobScript: "yes 'a line of output as many programs write them, of some length' | head -c " + strconv.Itoa(size)},
		Machine:   &client.MachineRequest{Type: "n0"},
	})
	if err != nil {
		return err
	}
	if _, err := c.Wait(ctx, client.Number(receipt.Number)); err != nil {
		return err
	}
	file := filepath.Join(s.Data, "jobs", "0", strconv.FormatInt(receipt.Number, 10), "output")
	cat, err := together(ctx, readers, func(ctx context.Context) error {
		return exec.CommandContext(ctx, "cat", file).Run() // its stdout is /dev/null
	})
	if err != nil {
		return err
	}
	query := url.Values{"username": {s.Vars["BERTH_USER"]}, "apikey": {s.Vars["BERTH_APIKEY"]}, "follow": {"1"}, "raw": {"1"}}.Encode()
	target := fmt.Sprintf("%s/v1/jobs/%d/output?%s", s.URL, receipt.Number, query)
	follow, err := together(ctx, readers, func(ctx context.Context) error {
		n, err := download(ctx, target)
		if err == nil && n < int64(size) {
			err = fmt.Errorf("a follower got %d bytes of more than %d", n, size)
		}
		return err
	})
	if err != nil {
		return err
	}
	b.printf("| %d readers of %d MB | time | against cat |\n|---|---|---|\n", readers, size>>20)
	b.printf("| cat of the file, piped to nobody | %v | 1.00 |\n", cat.Round(time.Millisecond))
	b.printf("| followers over HTTP | %v | %.2f |\n\n", follow.Round(time.Millisecond), follow.Seconds()/cat.Seconds())
	return nil
}

// together runs the same thing many times at once and returns how long all took.
func together(ctx context.Context, n int, run func(context.Context) error) (time.Duration, error) {
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for range n {
		group.Go(func() error { return run(ctx) })
	}
	err := group.Wait()
	return time.Since(began), err
}

func download(ctx context.Context, target string) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return 0, errors.New(resp.Status)
	}
	return io.Copy(io.Discard, resp.Body)
}

// idleStreams opens many event streams, looks at the server's memory, and measures how soon all of them see a change.
func (b *bench) idleStreams(ctx context.Context, s *berthdtest.Server) error {
	n := b.pick(1_000, 20)
	before, err := residentMB(s.Pid())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watchers, err := b.watchers(ctx, s)
	if err != nil {
		return err
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	opened := make(chan error, n)
	seen := make(chan time.Time, n)
	var reading sync.WaitGroup
	for i := range n {
		reading.Go(func() {
			watch(ctx, transport, s.URL+"/v1/events?all=1&"+watchers[i%len(watchers)], opened, seen)
		})
	}
	for range n {
		if err := <-opened; err != nil {
			return err
		}
	}
	time.Sleep(3 * time.Second)
	idle, err := residentMB(s.Pid())
	if err != nil {
		return err
	}
	c, err := clientOf(s)
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := c.Batch(ctx, noop()); err != nil {
		return err
	}
	var delays latencies
	for range n {
		delays = append(delays, (<-seen).Sub(began))
	}
	cancel()
	reading.Wait()
	b.printf("| %d idle event streams | |\n|---|---|\n| resident memory for each | %.1f kB |\n| a change reaches all of them | %v |\n\n",
		n, (idle-before)*1000/float64(n), delays)
	return nil
}

// watchers returns the credentials of some administrators: one user alone may not have so many streams.
func (b *bench) watchers(ctx context.Context, s *berthdtest.Server) ([]string, error) {
	c, err := clientOf(s)
	if err != nil {
		return nil, err
	}
	var credentials []string
	for i := range 4 {
		added, err := c.AddUser(ctx, client.NewUser{Name: fmt.Sprint("watcher", i), Admin: true})
		if err != nil {
			return nil, err
		}
		credentials = append(credentials, url.Values{"username": {added.User.Name}, "apikey": {added.APIKey}}.Encode())
	}
	return credentials, nil
}

// watch opens an event stream, tells when the server has greeted, and when the first event came.
func watch(ctx context.Context, transport *http.Transport, target string, opened chan<- error, seen chan<- time.Time) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		opened <- err
		return
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		opened <- err
		return
	}
	defer func() { _ = resp.Body.Close() }()
	if err := readUntil(resp.Body, "event: hello"); err != nil {
		opened <- err
		return
	}
	opened <- nil
	if readUntil(resp.Body, "event: submitted") == nil {
		seen <- time.Now()
	}
}

// busyStatus asks for the status of jobs from many connections.
func (b *bench) busyStatus(ctx context.Context, s *berthdtest.Server) error {
	const connections = 64
	c := newCaller(connections)
	credentials := url.Values{"username": {s.Vars["BERTH_USER"]}, "apikey": {s.Vars["BERTH_APIKEY"]}}.Encode()
	n := b.pick(100_000, 500)
	took, all, err := load(ctx, connections, n, func(ctx context.Context, _ int) error {
		_, err := c.post(ctx, s.URL+"/jarvice/status?number=1&"+credentials, nil)
		return err
	})
	if err != nil {
		return err
	}
	b.printf("| status, %d connections | |\n|---|---|\n| answers/s | %.0f |\n| latency | %v |\n", connections, rate(n, all), took)
	return nil
}
