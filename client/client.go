// Package client talks to a berth server: it submits batch jobs and applications, follows them, reads their output, has shells in them,
// suspends and ends them, and manages images, applications, queues, machine types and accounts. It needs nothing but the standard library.
//
//	c, err := client.New(client.Config{URL: "http://127.0.0.1:8080", APIKey: key})
//	...
//	submitted, err := c.Batch(ctx, client.Submission{
//		Container: &client.Container{Image: "local/tools:latest", JobScript: "hostname"},
//		Machine:   &client.MachineRequest{Type: "n0", Nodes: 1},
//	})
//	...
//	job, err := c.Wait(ctx, client.Number(submitted.Number))
//
// A job is named by a [Ref], its number or its name. What the server refuses is an [*Error].
//
// Wait, Watch, Events and FollowOutput are told by the server what happens; nothing asks again and again. They go on over breaks of the
// connection and restarts of the server.
//
// # Retries
//
// Reads, and submissions, are sent again after an error of the connection and after 502, 503, 504 and a 429 that names a time,
// a bounded number of times with growing, random pauses. A submission is safe to send again because it carries an idempotency
// key: the server answers a key that it knows with the job that it made the first time. Nothing else is sent twice.
package client

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Config says where the server is and who asks. Only URL is required.
type Config struct {
	// URL is the server's address, http or https. A path is kept, so a server behind a prefix works; so does the ending /api
	// that other JARVICE clients want.
	URL string
	// Username is the account's name. The server takes the account from the key when it is empty.
	Username string
	// APIKey authenticates the account. It travels in the Authorization header only. Empty: only Live, Ready and Validate
	// are allowed.
	APIKey string
	// HTTPClient sends the requests; nil is one of its own with the defaults of net/http. Its Timeout should be 0, because it
	// would end long reads as well: bound calls with their contexts. It is copied, and the copy follows no redirects.
	HTTPClient *http.Client
	// UserAgent names the program in the server's log; empty is "berth-client".
	UserAgent string
	// Attempts is how often a request that may be repeated is sent in all; 0 is 5, 1 is without repetition.
	Attempts int
	// Backoff is the pause before the first repetition, half of it random. It doubles up to 3 s. 0 is 200 ms.
	Backoff time.Duration
	// AttemptTimeout bounds each attempt of a request with a short answer; 0 is one minute. Streams are bounded by their
	// contexts only.
	AttemptTimeout time.Duration
}

// Client calls a server. It is safe for concurrent use and starts nothing by itself.
type Client struct {
	base           *url.URL
	username       string
	apikey         string
	userAgent      string
	http           *http.Client
	retry          retryPolicy
	attemptTimeout time.Duration
}

// New returns a client, or an error when the configuration cannot work. It does not contact the server.
func New(cfg Config) (*Client, error) {
	base, err := parseBase(cfg.URL)
	if err != nil {
		return nil, err
	}
	if strings.ContainsFunc(cfg.APIKey, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("the API key holds a character that no key has")
	}
	hc := &http.Client{}
	if cfg.HTTPClient != nil {
		*hc = *cfg.HTTPClient
	}
	// A redirected POST would arrive as a GET without a body, and the key would go to an address that nobody configured.
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{
		base:           base,
		username:       cfg.Username,
		apikey:         cfg.APIKey,
		userAgent:      cmp.Or(cfg.UserAgent, "berth-client"),
		http:           hc,
		retry:          retryPolicy{attempts: cmp.Or(max(cfg.Attempts, 0), 5), first: cmp.Or(cfg.Backoff, 200*time.Millisecond)},
		attemptTimeout: cmp.Or(cfg.AttemptTimeout, time.Minute),
	}, nil
}

// URL returns the server's address as the client understood it, without credentials.
func (c *Client) URL() string { return c.base.String() }

func parseBase(address string) (*url.URL, error) {
	if address == "" {
		return nil, errors.New("no server URL")
	}
	base, err := url.Parse(address)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, fmt.Errorf("server URL %q is not of the form http://HOST:PORT", address)
	}
	if base.User != nil {
		return nil, errors.New("the server URL may not hold credentials")
	}
	base.RawQuery, base.Fragment, base.RawPath = "", "", ""
	// Our own endpoints do not exist below /api, and those of JARVICE exist without it too.
	base.Path = strings.TrimRight(strings.TrimSuffix(strings.TrimRight(base.Path, "/"), "/api"), "/")
	return base, nil
}
