package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
)

// AllLines asks Tail and Output for everything.
const AllLines = 0

// Tail returns the last lines of a running job's output as valid UTF-8. A job that does not run is an Error with status 404.
func (c *Client) Tail(ctx context.Context, ref Ref, lines int) ([]byte, error) {
	return c.lines(ctx, "/jarvice/tail", ref, lines)
}

// Output returns the last lines of an ended job's output as valid UTF-8. A job that has not ended is an Error with status 404. For
// the bytes as the job wrote them, or for more than fits into memory, use OpenOutput.
func (c *Client) Output(ctx context.Context, ref Ref, lines int) ([]byte, error) {
	return c.lines(ctx, "/jarvice/output", ref, lines)
}

func (c *Client) lines(ctx context.Context, path string, ref Ref, lines int) ([]byte, error) {
	query := ref.values()
	query.Set("lines", strconv.Itoa(max(lines, 0)))
	return c.do(ctx, call{method: http.MethodGet, path: path, query: query})
}

// OpenOutput reads a job's output as it is now, from the offset to its present end, in any state of the job.
func (c *Client) OpenOutput(ctx context.Context, ref Ref, offset int64) *OutputReader {
	return c.newOutputReader(ctx, ref, offset, false)
}

// FollowOutput reads a job's output from the offset on, as it is written, until the job has ended and all of it was read. A queued
// job's output begins when it runs. A connection that breaks, also by a restart of the server, is made again at the byte where
// it broke. The stream ends with ctx, or with an error when the server stays away.
func (c *Client) FollowOutput(ctx context.Context, ref Ref, offset int64) *OutputReader {
	return c.newOutputReader(ctx, ref, offset, true)
}

func (c *Client) newOutputReader(ctx context.Context, ref Ref, offset int64, follow bool) *OutputReader {
	r := &OutputReader{client: c, ref: ref, follow: follow}
	r.offset.Store(offset)
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	return r
}

// OutputReader reads the output of a job, every byte once and in order. It connects at the first Read. Read is for one goroutine;
// Close and Offset may be called from others. It must be closed.
type OutputReader struct {
	client *Client
	ctx    context.Context // of the stream's whole life, as the context of a request is
	cancel context.CancelCauseFunc
	ref    Ref
	number int64
	offset atomic.Int64
	follow bool
	// body is the present connection, nil when there is none.
	body io.ReadCloser
	// ended says that the job had ended before the present connection was made: the end of the stream is the end of the output.
	ended bool
	// exact says that the server sends the bytes as they are, so that their count is the offset in the output.
	exact bool
	// failures counts what went wrong since the last byte.
	failures int
}

// errClosed is what a Read returns after Close.
var errClosed = errors.New("output reader is closed")

// Offset returns where in the output the next Read begins.
func (r *OutputReader) Offset() int64 { return r.offset.Load() }

// Close ends the stream, also under a Read in another goroutine. It is safe to call twice.
func (r *OutputReader) Close() error {
	r.cancel(errClosed)
	return nil
}

// Read reads the next bytes. It returns io.EOF at the end of the output.
func (r *OutputReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if err := r.ctx.Err(); err != nil {
			r.disconnect()
			return 0, ended(r.ctx)
		}
		if r.body == nil {
			if err := r.connect(); err != nil {
				return 0, err
			}
		}
		n, err := r.body.Read(p)
		if n > 0 {
			r.failures = 0
			r.offset.Add(int64(n))
			return n, nil // an error comes again with the next Read
		}
		if err == nil {
			continue
		}
		r.disconnect()
		if err := r.ending(err); err != nil {
			return 0, err
		}
	}
}

func (r *OutputReader) disconnect() {
	if r.body != nil {
		_ = r.body.Close() // whatever it says, this connection is not used again
		r.body = nil
	}
}

// connect opens the stream at the offset. It tries often enough to outlive a restart of the server.
func (r *OutputReader) connect() error {
	policy := r.client.retry.patient()
	return policy.run(r.ctx, func(ctx context.Context) error {
		number, err := r.client.Resolve(ctx, r.ref)
		if err != nil {
			return err
		}
		r.number, r.ref = number, Number(number)
		query := url.Values{"offset": {strconv.FormatInt(r.offset.Load(), 10)}, "raw": {"1"}}
		if r.follow {
			query.Set("follow", "1")
		}
		//nolint:bodyclose // disconnect closes it
		resp, err := r.client.open(ctx, call{method: http.MethodGet, path: jobPath(number) + "/output", query: query})
		if err != nil {
			return err
		}
		r.body = resp.Body
		r.exact = resp.Header.Get("Content-Type") == "application/octet-stream"
		return nil
	})
}

// ending decides what the end of a connection means: nil to connect again, io.EOF at the end of the output.
func (r *OutputReader) ending(err error) error {
	if r.ctx.Err() != nil {
		return ended(r.ctx)
	}
	clean := errors.Is(err, io.EOF)
	if clean && (r.ended || !r.follow) {
		return io.EOF
	}
	if !clean {
		if !r.exact {
			return fmt.Errorf("output of job %d broke off, and this server cannot continue it: %w", r.number, err)
		}
		return r.afterBreak(err)
	}
	// The server ends a stream cleanly also when it stops itself. Only a job that has ended writes no more; then the connection
	// that is made next reads what was written in between.
	job, jobErr := r.client.job(r.ctx, r.number, look{})
	switch {
	case jobErr != nil:
		return r.afterBreak(jobErr)
	case job.Status.Ended():
		r.ended = true
		return nil
	default:
		return r.afterBreak(io.ErrUnexpectedEOF)
	}
}

// afterBreak waits before the next connection, or returns the error when there were too many breaks without a byte between them.
func (r *OutputReader) afterBreak(err error) error {
	if refused, ok := errors.AsType[*Error](err); ok && !refused.Temporary() {
		return err
	}
	r.failures++
	policy := r.client.retry.patient()
	if r.failures >= policy.attempts {
		return fmt.Errorf("output of job %d broke off: %w", r.number, err)
	}
	return policy.pause(r.ctx, r.failures, err)
}
