package client_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/client"
)

// serve starts a server and returns a client of it that repeats almost at once.
func serve(t *testing.T, handler http.HandlerFunc) *client.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return connect(t, client.Config{URL: server.URL, Username: "ada", APIKey: "key1", Backoff: time.Millisecond})
}

func connect(t *testing.T, cfg client.Config) *client.Client {
	t.Helper()
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// answer writes a JSON answer.
func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

const finished = `{"number":12,"name":"n12","status":"COMPLETED WITH ERROR","substatus":0,"substatus_text":"","state":"failed",
"owner":"ada","image":"docker.io/local/x:latest","machine":"n0","nodes":1,"submitted":"2026-10-06T10:42:00Z",
"started":"2026-10-06T10:42:01Z","ended":"2026-10-06T10:42:18.5Z","walltime_seconds":17.5,
"end":{"reason":"exited","exit_code":3,"signal":0,"by":"","detail":""}}`

// expect answers one request, which must be this.
func expect(t *testing.T, request, body, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if got := r.Method + " " + r.URL.RequestURI(); got != request {
			t.Errorf("request is %s, want %s", got, request)
		}
		if got := r.Header.Get("Authorization"); got != "Bearer key1" {
			t.Errorf("Authorization is %q", got)
		}
		if got, _ := io.ReadAll(r.Body); string(got) != body {
			t.Errorf("body is %s, want %s", got, body)
		}
		answer(w, http.StatusOK, text)
	}
}

// TestRequests holds what each operation sends and what it makes of the answer.
func TestRequests(t *testing.T) {
	t.Parallel()
	end := time.Date(2026, 10, 6, 10, 42, 18, 500_000_000, time.UTC)
	for name, tc := range map[string]struct {
		call   func(*testing.T, *client.Client) (any, error)
		want   string // method and URI
		body   string // of the request
		answer string
		result any
	}{
		"status by number": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				entry, err := c.Status(t.Context(), client.Number(12))
				return []any{entry.Number, entry.Name, entry.Status, entry.Started().Unix()}, err
			},
			want:   "GET /jarvice/status?number=12&username=ada",
			answer: `{"12":{"job_name":"n12","job_status":"SUBMITTED","job_walltime":null,"job_start_time":7}}`,
			result: []any{int64(12), "n12", client.StatusSubmitted, int64(7)},
		},
		"status by name": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				entry, err := c.Status(t.Context(), client.Name("a b"))
				return entry.Number, err
			},
			want:   "GET /jarvice/status?name=a+b&username=ada",
			answer: `{"12":{}}`,
			result: int64(12),
		},
		"jobs in order": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				jobs, err := c.Jobs(t.Context(), client.JobsFilter{All: true, Label: "l", LabelExact: true})
				var numbers []int64
				for _, job := range jobs {
					numbers = append(numbers, job.Number)
				}
				return numbers, err
			},
			want:   "GET /jarvice/jobs?all=true&exactmatch=true&label=l&username=ada",
			answer: `{"10":{},"9":{},"100":{}}`,
			result: []int64{9, 10, 100},
		},
		"job": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				job, err := c.Job(t.Context(), client.Number(12))
				return []any{job.Ended, job.WalltimeSeconds, *job.End, job.ExitCode()}, err
			},
			want:   "GET /v1/jobs/12?username=ada",
			answer: finished,
			result: []any{end, 17.5, client.End{Reason: "exited", ExitCode: 3}, 3},
		},
		"tail": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				text, err := c.Tail(t.Context(), client.Number(12), 5)
				return string(text), err
			},
			want:   "GET /jarvice/tail?lines=5&number=12&username=ada",
			answer: "one\ntwo\n",
			result: "one\ntwo\n",
		},
		"output": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				text, err := c.Output(t.Context(), client.Name("n"), client.AllLines)
				return string(text), err
			},
			want:   "GET /jarvice/output?lines=0&name=n&username=ada",
			answer: "all\n",
			result: "all\n",
		},
		"shutdown": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return nil, c.Shutdown(t.Context(), client.Number(12))
			},
			want: "POST /jarvice/shutdown?number=12&username=ada", answer: `{"status":"shutdown requested"}`,
		},
		"terminate": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return nil, c.Terminate(t.Context(), client.Number(12))
			},
			want: "POST /jarvice/terminate?number=12&username=ada", answer: `{"status":"terminated"}`,
		},
		"machines from small to large": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				machines, err := c.Machines(t.Context(), "")
				var names []string
				for _, m := range machines {
					names = append(names, m.Name)
				}
				return names, err
			},
			want:   "GET /jarvice/machines?username=ada",
			answer: `{"a":{"mc_name":"a","mc_cores":2},"b":{"mc_name":"b","mc_cores":1}}`,
			result: []string{"b", "a"},
		},
		"live": {
			call: func(t *testing.T, c *client.Client) (any, error) { return nil, c.Live(t.Context()) },
			want: "GET /jarvice/live?username=ada", answer: `{"status":"OK"}`,
		},
		"ready": {
			call: func(t *testing.T, c *client.Client) (any, error) { return nil, c.Ready(t.Context()) },
			want: "GET /jarvice/ready?username=ada", answer: `{"status":"OK"}`,
		},
		"batch": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				submitted, err := c.Batch(t.Context(), client.Submission{
					Container:   &client.Container{Image: "x", JobScript: "id"},
					Machine:     &client.MachineRequest{Type: "n0", Nodes: 1},
					Application: &client.Application{Walltime: "00:01:00"},
				})
				submitted.Raw = nil
				return submitted, err
			},
			want:   "POST /jarvice/batch?username=ada",
			body:   `{"container":{"image":"x","jobscript":"id"},"machine":{"type":"n0","nodes":1},"application":{"walltime":"00:01:00"}}`,
			answer: `{"name":"n12","number":12}`,
			result: client.Submitted{Name: "n12", Number: 12},
		},
		"submit JSON without its credentials": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				submitted, err := c.SubmitJSON(t.Context(), []byte(`{"app":"a","big":12345678901234567890,"user":{"apikey":"other"}}`), "")
				return submitted.Number, err
			},
			want:   "POST /jarvice/submit?username=ada",
			body:   `{"app":"a","big":12345678901234567890}`,
			answer: `{"name":"n12","number":12}`,
			result: int64(12),
		},
		"images": {
			call: func(t *testing.T, c *client.Client) (any, error) { return c.Images(t.Context()) },
			want: "GET /v1/images?username=ada", answer: `{"images":[{"name":"x","digest":"sha256:1","size":5,"created":"2026-10-06T10:42:18.5Z"}]}`,
			result: []client.Image{{Name: "x", Digest: "sha256:1", Size: 5, Created: end}},
		},
		"remove an image": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return nil, c.RemoveImage(t.Context(), "local/x:1")
			},
			want: "DELETE /v1/images?name=local%2Fx%3A1&username=ada", answer: `{}`,
		},
	} {
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

func TestNew(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		url, key string
		want     string // "" is an error
	}{
		"plain":            {"http://h:1", "k", "http://h:1"},
		"slash":            {"http://h:1/", "k", "http://h:1"},
		"api":              {"https://h/api/", "k", "https://h"},
		"prefix":           {"https://h/berth/api", "k", "https://h/berth"},
		"empty":            {"", "k", ""},
		"no scheme":        {"h:1", "k", ""},
		"other scheme":     {"ftp://h", "k", ""},
		"no host":          {"http:///x", "k", ""},
		"credentials":      {"http://a:b@h", "k", ""},
		"no URL":           {"http://h:x", "k", ""},
		"key with newline": {"http://h", "k\nX-Evil: 1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := client.New(client.Config{URL: tc.url, APIKey: tc.key})
			if (err != nil) != (tc.want == "") {
				t.Fatalf("error is %v", err)
			}
			if err == nil && c.URL() != tc.want {
				t.Errorf("URL is %s, want %s", c.URL(), tc.want)
			}
		})
	}
}

func TestParseRef(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"12": "12", " 012 ": "12", "20230906104200-995TB-jarvice-batch-me_s1": "20230906104200-995TB-jarvice-batch-me_s1",
		"": "error", "0": "error", "99999999999999999999": "error",
	} {
		ref, err := client.ParseRef(text)
		got := ref.String()
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("ParseRef(%q) is %s, want %s", text, got, want)
		}
	}
}

func TestSubmitJSONRefusesWhatIsNoObject(t *testing.T) {
	t.Parallel()
	c := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
	for _, text := range []string{"", "[]", "null", `"x"`, "{"} {
		if _, err := c.SubmitJSON(t.Context(), []byte(text), ""); err == nil {
			t.Errorf("no error for %q", text)
		}
	}
}

func TestExitCode(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		job  client.Job
		want int
	}{
		"completed":           {client.Job{Status: client.StatusCompleted, End: &client.End{ExitCode: 0}}, 0},
		"shut down by TERM":   {client.Job{Status: client.StatusCompleted, End: &client.End{Reason: "shutdown", ExitCode: 143}}, 0},
		"failed":              {client.Job{Status: client.StatusFailed, End: &client.End{ExitCode: 3}}, 3},
		"lost":                {client.Job{Status: client.StatusFailed, End: &client.End{ExitCode: -1}}, 1},
		"terminated, exit 0":  {client.Job{Status: client.StatusTerminated, End: &client.End{ExitCode: 0}}, 1},
		"canceled, no detail": {client.Job{Status: client.StatusCanceled}, 1},
	} {
		if got := tc.job.ExitCode(); got != tc.want {
			t.Errorf("%s: exit code is %d, want %d", name, got, tc.want)
		}
	}
}

func TestRawKeepsUnknownFields(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, `{"number":1,"new":true}`) })
	job, err := c.Job(t.Context(), client.Number(1))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(json.RawMessage(`{"number":1,"new":true}`), job.Raw); diff != "" {
		t.Errorf("raw (-want +got):\n%s", diff)
	}
}
