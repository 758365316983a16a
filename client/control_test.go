package client_test

import (
	"encoding/json"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/client"
)

var morning = time.Date(2026, 11, 24, 6, 0, 0, 0, time.UTC)

// exchange is what an operation sends, and what it makes of the answer.
type exchange struct {
	call   func(*testing.T, *client.Client) (any, error)
	want   string // method and URI
	body   string // of the request
	answer string
	result any
}

func checkExchanges(t *testing.T, exchanges map[string]exchange) {
	t.Helper()
	for name, tc := range exchanges {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result, err := tc.call(t, serve(t, expect(t, tc.want, tc.body, tc.answer)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.result, result); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

func TestControl(t *testing.T) {
	t.Parallel()
	signaled := func(t *testing.T, c *client.Client) (any, error) {
		answer, err := c.Signal(t.Context(), client.Number(12), client.SignalSuspend)
		return answer, err
	}
	checkExchanges(t, map[string]exchange{
		"signal": {
			call: signaled, want: "POST /jarvice/signal?number=12&signal=20&username=ada", answer: `{"signal":20,"pid":7}`,
			result: client.Signaled{Signal: 20, PID: 7, Raw: json.RawMessage(`{"signal":20,"pid":7}`)},
		},
		"signal to an image with an answer of its own": {
			call: signaled, want: "POST /jarvice/signal?number=12&signal=20&username=ada", answer: `{"pid":"all of them"}`,
			result: client.Signaled{Raw: json.RawMessage(`{"pid":"all of them"}`)},
		},
		"action": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return nil, c.Action(t.Context(), client.Name("n"), "a b")
			},
			want: "POST /jarvice/action?action=a+b&name=n&username=ada", answer: `{"status":"action requested"}`,
		},
		"info": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				info, err := c.Info(t.Context(), client.Number(12))
				info.Raw = nil
				return info, err
			},
			want:   "GET /jarvice/info?number=12&username=ada",
			answer: `{"url":null,"about":null,"help":null,"address":"10.0.0.2","password":null,"actions":{"save":{"alt":"Write it down"}}}`,
			result: client.Info{Address: "10.0.0.2", Actions: map[string]client.ActionInfo{"save": {Description: "Write it down"}}},
		},
		"metrics": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				metrics, err := c.Metrics(t.Context(), client.Number(12))
				return metrics.Nodes, err
			},
			want:   "GET /v1/jobs/12/metrics?username=ada",
			answer: `{"nodes":[{"cpu_percent":97,"memory_used":123,"memory_total":456,"sampled":"2026-11-24T06:00:00Z"}]}`,
			result: []client.NodeMetrics{{CPUPercent: 97, MemoryUsed: 123, MemoryTotal: 456, Sampled: morning}},
		},
		"events of a job": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				history, err := c.JobEvents(t.Context(), client.Number(3))
				history.Raw, history.Events[0].Raw = nil, nil
				return []any{history, history.LastID()}, err
			},
			want: "GET /v1/jobs/3/events?username=ada",
			answer: `{"number":3,"status":"SUBMITTED","state":"queued","events":[
{"id":12,"number":3,"kind":"submitted","at":"2026-11-24T06:00:00Z","state":"queued","by":"ada","from":"127.0.0.1"}],
"waiting":{"position":2,"blockers":[{"kind":"queue","number":2,"detail":"job 2 goes first"}],"estimated_start":"2026-11-24T06:00:00Z"}}`,
			result: []any{client.History{
				Number: 3, Status: client.StatusSubmitted, State: "queued",
				Events: []client.Event{{ID: 12, Number: 3, Kind: "submitted", At: morning, State: "queued", By: "ada", From: "127.0.0.1"}},
				Waiting: &client.Waiting{
					Position: 2, EstimatedStart: morning,
					Blockers: []client.Blocker{{Kind: "queue", Number: 2, Detail: "job 2 goes first"}},
				},
			}, int64(12)},
		},
		"jobs of the team": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				jobs, err := c.TeamJobs(t.Context(), client.JobsFilter{Completed: true})
				var owners []string
				for _, job := range jobs {
					owners = append(owners, job.Owner)
				}
				return owners, err
			},
			want:   "GET /jarvice/teamjobs?completed=true&username=ada",
			answer: `{"10":{"job_owner_username":"ada"},"9":{"job_owner_username":"bob"}}`,
			result: []string{"bob", "ada"},
		},
		"users of the team": {
			call: func(t *testing.T, c *client.Client) (any, error) { return c.TeamUsers(t.Context()) },
			want: "GET /jarvice/teamusers?username=ada", answer: `{"bob":{"email":"b@x"},"ada":{"email":"a@x","name":"ada"}}`,
			result: []client.TeamUser{{Name: "ada", Email: "a@x"}, {Name: "bob", Email: "b@x"}},
		},
	})
}

// TestActsAreSentOnce is about a server that breaks the connection: nobody knows whether it did it.
func TestActsAreSentOnce(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(*testing.T, *client.Client) error{
		"signal": func(t *testing.T, c *client.Client) error {
			_, err := c.Signal(t.Context(), client.Number(12), 20)
			return err
		},
		"action": func(t *testing.T, c *client.Client) error { return c.Action(t.Context(), client.Number(12), "x") },
		"add a user": func(t *testing.T, c *client.Client) error {
			_, err := c.AddUser(t.Context(), client.NewUser{Name: "bob"})
			return err
		},
		"add a key": func(t *testing.T, c *client.Client) error {
			_, err := c.AddKey(t.Context(), "bob", client.KeyRequest{})
			return err
		},
		"revoke a key": func(t *testing.T, c *client.Client) error { return c.RevokeKey(t.Context(), "bob", "k1") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int64
			c := serve(t, func(http.ResponseWriter, *http.Request) {
				requests.Add(1)
				panic(http.ErrAbortHandler)
			})
			if err := act(t, c); !client.NoAnswer(err) {
				t.Errorf("error is %v, want that no answer came", err)
			}
			if n := requests.Load(); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func TestSignalWithoutJSON(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "<html>") })
	if _, err := c.Signal(t.Context(), client.Number(12), 20); err == nil {
		t.Error("no error")
	}
}
