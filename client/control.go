package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Shutdown asks for a graceful end; a queued job is canceled. It returns when the wish is on the server's disk and does not wait
// for the end. A job that has ended is an Error with status 404.
func (c *Client) Shutdown(ctx context.Context, ref Ref) error {
	return c.act(ctx, "/jarvice/shutdown", ref.values())
}

// Terminate asks for an immediate end, in any state. It returns when the wish is on the server's disk and does not wait for the
// end. A job that has ended is an Error with status 404.
func (c *Client) Terminate(ctx context.Context, ref Ref) error {
	return c.act(ctx, "/jarvice/terminate", ref.values())
}

// Action starts an action of the running job, one of those that Info names. It does not wait for its end; what the action prints is
// in the job's output. It is never repeated.
func (c *Client) Action(ctx context.Context, ref Ref, name string) error {
	query := ref.values()
	query.Set("action", name)
	return c.act(ctx, "/jarvice/action", query)
}

func (c *Client) act(ctx context.Context, path string, query url.Values) error {
	_, err := c.do(ctx, call{method: http.MethodPost, path: path, query: query})
	return err
}

// Signals that suspend a job and let it go on.
const (
	SignalContinue = 18
	SignalSuspend  = 20
)

// Signaled says which process of a job got which signal.
type Signaled struct {
	Signal int `json:"signal"`
	// PID is the number of the process inside the job.
	PID int `json:"pid"`
	// Raw is the server's answer. An image may handle signals by a program of its own, which writes what it likes.
	Raw json.RawMessage `json:"-"`
}

// Signal sends a signal, a Linux number from 1 to 64, to the application of a running job. The job has got it when Signal returns. It
// is never repeated.
func (c *Client) Signal(ctx context.Context, ref Ref, signal int) (Signaled, error) {
	query := ref.values()
	query.Set("signal", strconv.Itoa(signal))
	raw, err := c.do(ctx, call{method: http.MethodPost, path: "/jarvice/signal", query: query})
	if err != nil {
		return Signaled{}, err
	}
	if !json.Valid(raw) {
		return Signaled{}, fmt.Errorf("answer to the signal is no JSON: %s", firstLine(string(raw)))
	}
	var answer Signaled
	_ = json.Unmarshal(raw, &answer) // an image's own answer need not have these fields
	answer.Raw = raw
	return answer, nil
}

// Info is what a running job says about itself. Fields that it does not say are empty.
type Info struct {
	// URL is where to open the job in a browser.
	URL string `json:"url"`
	// About and Help are texts for people.
	About string `json:"about"`
	Help  string `json:"help"`
	// Address is the IP address of its first node.
	Address  string `json:"address"`
	Password string `json:"password"`
	// Actions are what Action may start, by name.
	Actions map[string]ActionInfo `json:"actions"`
	// Raw is the server's answer.
	Raw json.RawMessage `json:"-"`
}

// ActionInfo describes an action of a running job.
type ActionInfo struct {
	// Description is a text for people, may be empty.
	Description string `json:"alt"`
}

// Info returns what a running job says about itself. A job that does not run is an Error with status 404.
func (c *Client) Info(ctx context.Context, ref Ref) (Info, error) {
	var info Info
	raw, err := c.get(ctx, "/jarvice/info", ref.values(), &info)
	info.Raw = raw
	return info, err
}

// Connection is where a running interactive job can be reached. Fields that it does not have are empty.
type Connection struct {
	// Address is a host, perhaps with a port.
	Address  string `json:"address"`
	Password string `json:"password"`
	// Raw is the server's answer.
	Raw json.RawMessage `json:"-"`
}

// Connect returns where a running interactive job can be reached. Any other job is an Error with status 404.
func (c *Client) Connect(ctx context.Context, ref Ref) (Connection, error) {
	var connection Connection
	raw, err := c.get(ctx, "/jarvice/connect", ref.values(), &connection)
	connection.Raw = raw
	return connection, err
}

// ScreenshotSize is what is wanted of a picture, in pixels; 0 is any.
type ScreenshotSize struct {
	Width, Height int
	// Emphatic takes both as they are. Otherwise the picture keeps its proportions and only becomes smaller.
	Emphatic bool
}

// Screenshot returns a picture of the desktop of a running job as PNG. A job that does not run is an Error with status 404, one that has no
// desktop one with 501.
func (c *Client) Screenshot(ctx context.Context, ref Ref, size ScreenshotSize) ([]byte, error) {
	query := ref.values()
	for name, side := range map[string]int{"width": size.Width, "height": size.Height} {
		if side != 0 {
			query.Set(name, strconv.Itoa(side))
		}
	}
	if size.Emphatic {
		query.Set("emphatic", "true")
	}
	return c.do(ctx, call{method: http.MethodGet, path: "/jarvice/screenshot", query: query})
}

// Metrics is what a running job uses.
type Metrics struct {
	// Nodes are in the order of the job's nodes.
	Nodes []NodeMetrics `json:"nodes"`
	// Raw is the server's answer.
	Raw json.RawMessage `json:"-"`
}

// NodeMetrics is what one node of a job uses.
type NodeMetrics struct {
	// CPUPercent is the part of the node's cores that is in use, 0 to 100.
	CPUPercent int `json:"cpu_percent"`
	// MemoryUsed and MemoryTotal are in bytes.
	MemoryUsed  int64 `json:"memory_used"`
	MemoryTotal int64 `json:"memory_total"`
	// Sampled is when it was measured.
	Sampled time.Time `json:"sampled"`
}

// Metrics returns what a running job used when the server last measured it. A job that does not run, or was not measured yet, is an
// Error with status 404. A name costs a second request.
func (c *Client) Metrics(ctx context.Context, ref Ref) (Metrics, error) {
	number, err := c.Resolve(ctx, ref)
	if err != nil {
		return Metrics{}, err
	}
	var metrics Metrics
	metrics.Raw, err = c.get(ctx, jobPath(number)+"/metrics", nil, &metrics)
	return metrics, err
}
