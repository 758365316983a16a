package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// call is one request.
type call struct {
	method string
	path   string
	// under are names below path, which come from elsewhere.
	under []string
	query url.Values
	// header is sent besides what every request has.
	header http.Header
	// body is sent as JSON, stream as it is; at most one is set.
	body   []byte
	stream io.Reader
	// size is the length of stream, 0 when it is not known.
	size int64
	// key is the idempotency key; a call with one may be repeated.
	key string
	// longPoll is how long the server was asked to hold the answer back.
	longPoll time.Duration
	// patient calls outlive a restart of the server.
	patient bool
}

func (r call) mayRepeat() bool { return r.method == http.MethodGet || r.key != "" }

// connectionError says that no complete answer came. Whether the server did what it was asked to is not known.
type connectionError struct{ err error }

func (e *connectionError) Error() string { return e.err.Error() }
func (e *connectionError) Unwrap() error { return e.err }

// NoAnswer says whether err means that no complete answer came: the server could not be reached, or the connection broke. Whether
// the server did what it was asked to is not known then.
func NoAnswer(err error) bool {
	_, ok := errors.AsType[*connectionError](err)
	return ok
}

// ended returns why ctx has ended: its error, and the cause when somebody named one.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// get reads a JSON answer into out and returns it as it came.
func (c *Client) get(ctx context.Context, path string, query url.Values, out any) (json.RawMessage, error) {
	return c.decode(ctx, call{method: http.MethodGet, path: path, query: query}, out)
}

// decode sends a call and reads its JSON answer into out. It returns the answer as it came.
func (c *Client) decode(ctx context.Context, req call, out any) (json.RawMessage, error) {
	raw, err := c.do(ctx, req)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return nil, fmt.Errorf("answer to %s %s: %w", req.method, req.path, err)
	}
	return raw, nil
}

// send sends a call with a JSON body and reads its JSON answer into out. It returns the answer as it came.
func (c *Client) send(ctx context.Context, req call, body, out any) (json.RawMessage, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // what people wrote as JSON is shown to them again
	if err := encoder.Encode(body); err != nil {
		return nil, fmt.Errorf("%s %s: %w", req.method, req.path, err)
	}
	req.body = bytes.TrimRight(text.Bytes(), "\n")
	return c.decode(ctx, req, out)
}

// do sends a call, again where that is safe and useful, and returns the whole body of its answer.
func (c *Client) do(ctx context.Context, req call) ([]byte, error) {
	policy := c.retry
	switch {
	case !req.mayRepeat():
		policy.attempts = 1
	case req.patient:
		policy = policy.patient()
	}
	var body []byte
	err := policy.run(ctx, func(ctx context.Context) (err error) {
		body, err = c.attempt(ctx, req)
		return err
	})
	return body, err
}

var errAttemptTimeout = errors.New("no answer in time")

// attempt sends a call once and reads the whole answer within the time of an attempt.
func (c *Client) attempt(ctx context.Context, req call) ([]byte, error) {
	limited, cancel := context.WithTimeoutCause(ctx, c.attemptTimeout+req.longPoll, errAttemptTimeout)
	defer cancel()
	resp, err := c.open(limited, req)
	if err != nil {
		return nil, c.attemptError(ctx, limited, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, c.attemptError(ctx, limited, &connectionError{fmt.Errorf("%s %s: %w", req.method, req.path, err)})
	}
	return body, nil
}

// attemptError tells the end of an attempt's time, which is the server's fault, from the end of the caller's context.
func (c *Client) attemptError(ctx, limited context.Context, err error) error {
	if ctx.Err() == nil && limited.Err() != nil {
		return &connectionError{fmt.Errorf("%w: %w", errAttemptTimeout, err)}
	}
	return err
}

// open sends a call once and returns the answer when its status is 200, or 206 for a part; the caller closes the body.
func (c *Client) open(ctx context.Context, req call) (*http.Response, error) {
	return c.openAs(ctx, req, http.StatusOK, http.StatusPartialContent)
}

// openAs is open for an answer of one of these statuses.
func (c *Client) openAs(ctx context.Context, req call, statuses ...int) (*http.Response, error) {
	httpReq, err := c.request(ctx, req)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(httpReq)
	switch {
	case err != nil && ctx.Err() != nil && !errors.Is(context.Cause(ctx), errAttemptTimeout):
		return nil, ended(ctx) // the caller gave up; that is no trouble of the connection
	case err != nil:
		return nil, &connectionError{connectionCause(req, err)}
	case !slices.Contains(statuses, resp.StatusCode):
		defer resp.Body.Close()
		return nil, responseError(resp)
	}
	return resp, nil
}

// connectionCause drops the query from the error of net/http: it is long and says nothing.
func connectionCause(req call, err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return fmt.Errorf("%s %s: %w", req.method, req.path, err)
}

// target returns the address of a call. A name must stay one segment of it, or it would be the address of something else.
func (c *Client) target(req call) (*url.URL, error) {
	segments := []string{req.path}
	for _, name := range req.under {
		if name == "" || name == "." || name == ".." {
			return nil, fmt.Errorf("%q is no name", name)
		}
		segments = append(segments, url.PathEscape(name))
	}
	return c.base.JoinPath(segments...), nil
}

func (c *Client) request(ctx context.Context, req call) (*http.Request, error) {
	target, err := c.target(req)
	if err != nil {
		return nil, err
	}
	query := url.Values{}
	maps.Copy(query, req.query)
	if c.username != "" && c.apikey != "" {
		query.Set("username", c.username)
	}
	target.RawQuery = query.Encode()

	body := req.stream
	if req.body != nil {
		body = bytes.NewReader(req.body)
	}
	httpReq, err := http.NewRequestWithContext(ctx, req.method, target.String(), body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", req.method, req.path, err)
	}
	maps.Copy(httpReq.Header, req.header)
	httpReq.Header.Set("User-Agent", c.userAgent)
	if c.apikey != "" {
		httpReq.Header.Set("Authorization", "Bearer "+c.apikey)
	}
	if req.key != "" {
		httpReq.Header.Set("Idempotency-Key", req.key)
	}
	switch {
	case req.body != nil:
		httpReq.Header.Set("Content-Type", "application/json")
	case req.stream != nil:
		httpReq.Header.Set("Content-Type", "application/octet-stream")
		// A server that refuses says so before gigabytes are on their way.
		httpReq.Header.Set("Expect", "100-continue")
		if req.size > 0 {
			httpReq.ContentLength = req.size
		}
	}
	return httpReq, nil
}
