package client_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/client"
)

func TestErrors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		header [2]string
		body   string
		want   client.Error
	}{
		"ours":       {404, [2]string{}, `{"error":"Not found"}`, client.Error{StatusCode: 404, Message: "Not found"}},
		"empty":      {500, [2]string{}, ``, client.Error{StatusCode: 500, Message: "500 Internal Server Error"}},
		"plain text": {400, [2]string{}, "no\nmore", client.Error{StatusCode: 400, Message: "no"}},
		"page of a proxy": {
			502, [2]string{}, "<html><body>Bad</body></html>", client.Error{StatusCode: 502, Message: "502 Bad Gateway"},
		},
		"error is no text": {400, [2]string{}, `{"error":{"code":1}}`, client.Error{StatusCode: 400, Message: "map[code:1]"}},
		"retry later": {
			503,
			[2]string{"Retry-After", "2"},
			`{"error":"busy"}`,
			client.Error{StatusCode: 503, Message: "busy", RetryAfter: 2 * time.Second},
		},
		"redirect": {
			301,
			[2]string{"Location", "http://elsewhere/"},
			``,
			client.Error{StatusCode: 301, Message: "the server points to another address, http://elsewhere/"},
		},
		"success that is none": {204, [2]string{}, ``, client.Error{StatusCode: 204, Message: "204 No Content"}},
		"endless":              {400, [2]string{}, strings.Repeat("x", 1<<20), client.Error{StatusCode: 400, Message: strings.Repeat("x", 200) + "…"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if tc.header[0] != "" {
					w.Header().Set(tc.header[0], tc.header[1])
				}
				answer(w, tc.status, tc.body)
			}))
			t.Cleanup(server.Close)
			c := connect(t, client.Config{URL: server.URL, APIKey: "k", Attempts: 1})
			_, err := c.Status(t.Context(), client.Number(1))
			refused, ok := errors.AsType[*client.Error](err)
			if !ok {
				t.Fatalf("error is %v, want a *client.Error", err)
			}
			if diff := cmp.Diff(tc.want, *refused); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if client.NoAnswer(err) {
				t.Error("a refusal counts as no answer")
			}
		})
	}
}

func TestBadAnswers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		body string
		call func(*testing.T, *client.Client) error
	}{
		"no JSON": {`<html>`, func(t *testing.T, c *client.Client) error {
			_, err := c.Job(t.Context(), client.Number(1))
			return err
		}},
		"no job in the status": {`{}`, func(t *testing.T, c *client.Client) error {
			_, err := c.Status(t.Context(), client.Number(1))
			return err
		}},
		"key is no number": {`{"x":{}}`, func(t *testing.T, c *client.Client) error {
			_, err := c.Jobs(t.Context(), client.JobsFilter{})
			return err
		}},
		"number is text": {`{"name":"n","number":"12"}`, func(t *testing.T, c *client.Client) error {
			_, err := c.Batch(t.Context(), client.Submission{})
			return err
		}},
		"name that is not there": {`{}`, func(t *testing.T, c *client.Client) error {
			_, err := c.Resolve(t.Context(), client.Name("n"))
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requests := 0
			c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				requests++
				answer(w, http.StatusOK, tc.body)
			})
			if err := tc.call(t, c); err == nil {
				t.Error("no error")
			}
			if requests != 1 {
				t.Errorf("%d requests; a complete answer must not be asked for again", requests)
			}
		})
	}
}
