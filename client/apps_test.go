package client_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/client"
)

const toolAnswer = `{"id":"tool","owner":"ada","team":"fluids","public":true,"certified":true,"image":"docker.io/local/tool:latest","price":0.5,` +
	`"created":"2026-11-24T06:00:00Z","updated":"2026-11-24T06:00:00Z","commands":["Run","Shell"]}`

var tool = client.App{
	ID: "tool", Owner: "ada", Team: "fluids", Public: true, Certified: true, Image: "docker.io/local/tool:latest", Price: 0.5,
	Created: morning, Updated: morning, Commands: []string{"Run", "Shell"},
}

func TestApps(t *testing.T) {
	t.Parallel()
	no, team, image, price := false, "", "local/tool:2", 0.0
	checkExchanges(t, map[string]exchange{
		"list": {
			call: func(t *testing.T, c *client.Client) (any, error) { return c.Apps(t.Context()) },
			want: "GET /v1/apps?username=ada", answer: `{"apps":[` + toolAnswer + `]}`, result: []client.App{tool},
		},
		"show": {
			call: func(t *testing.T, c *client.Client) (any, error) { return c.App(t.Context(), "tool") },
			want: "GET /v1/apps/tool?username=ada", answer: `{"app":` + toolAnswer + `,"appdef":{"b":1,"a":2}}`,
			result: client.AppDetails{
				App: tool, AppDef: json.RawMessage(`{"b":1,"a":2}`), Raw: json.RawMessage(`{"app":` + toolAnswer + `,"appdef":{"b":1,"a":2}}`),
			},
		},
		"add": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return c.AddApp(t.Context(), client.NewApp{
					ID: "tool", Image: "local/tool", AppDef: json.RawMessage("{ \"b\": \"<&>\",\n\"a\": 2}"), PullSecret: "eA==", Team: "fluids",
					Public: true, Certified: true, Price: 0.5,
				})
			},
			want: "POST /v1/apps?username=ada",
			body: `{"id":"tool","image":"local/tool","appdef":{"b":"<&>","a":2},"pull_secret":"eA==","team":"fluids","public":true,"certified":true,` +
				`"price":0.5}`,
			answer: `{"app":` + toolAnswer + `,"warnings":["x: the key is unknown"]}`,
			result: client.ChangedApp{App: tool, Warnings: []string{"x: the key is unknown"}},
		},
		"add with the AppDef of the image": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return c.AddApp(t.Context(), client.NewApp{ID: "tool", Image: "local/tool"})
			},
			want: "POST /v1/apps?username=ada", body: `{"id":"tool","image":"local/tool"}`,
			answer: `{"app":` + toolAnswer + `,"warnings":[]}`, result: client.ChangedApp{App: tool, Warnings: []string{}},
		},
		"change": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return c.ChangeApp(t.Context(), "tool", client.AppChange{Team: &team, Public: &no, Image: &image, Price: &price})
			},
			want: "PATCH /v1/apps/tool?username=ada", body: `{"image":"local/tool:2","team":"","public":false,"price":0}`,
			answer: `{"app":` + toolAnswer + `}`, result: client.ChangedApp{App: tool},
		},
		"change the AppDef": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return c.ChangeApp(t.Context(), "tool", client.AppChange{AppDef: json.RawMessage(`{}`), PullSecret: "eA==", Certified: &no})
			},
			want: "PATCH /v1/apps/tool?username=ada", body: `{"appdef":{},"pull_secret":"eA==","certified":false}`,
			answer: `{"app":` + toolAnswer + `}`, result: client.ChangedApp{App: tool},
		},
		"remove": {
			call: func(t *testing.T, c *client.Client) (any, error) { return nil, c.RemoveApp(t.Context(), "tool") },
			want: "DELETE /v1/apps/tool?username=ada", answer: `{"status":"removed"}`,
		},
		"validate sends the text as it is": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return nil, c.Validate(t.Context(), []byte("{ \"a\":\n<"))
			},
			want: "POST /jarvice/validate?username=ada", body: "{ \"a\":\n<", answer: `{"valid":true}`,
		},
		"submit": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				submitted, err := c.Submit(t.Context(), client.Submission{
					App:         "tool",
					Machine:     &client.MachineRequest{Type: "n0"},
					Application: &client.Application{Command: "Run", Parameters: map[string]any{"-n": 4, "-v": true, "text": "a b"}, Geometry: "800x600"},
				})
				return submitted.Number, err
			},
			want: "POST /jarvice/submit?username=ada",
			body: `{"app":"tool","machine":{"type":"n0"},"application":{"command":"Run","parameters":{"-n":4,"-v":true,"text":"a b"},` +
				`"geometry":"800x600"}}`,
			answer: `{"name":"n12","number":12}`, result: int64(12),
		},
	})
}

func TestQueues(t *testing.T) {
	t.Parallel()
	long := client.Queue{Name: "long", Application: "tool", Machine: "n1", Size: 4}
	const body = `{"application":"tool","machine":"n1","size":4}`
	shown := `{"name":"long",` + body[1:]
	checkExchanges(t, map[string]exchange{
		"list": {
			call: func(t *testing.T, c *client.Client) (any, error) { return c.Queues(t.Context()) },
			want: "GET /v1/queues?username=ada", answer: `{"queues":[` + shown + `]}`, result: []client.Queue{long},
		},
		"set": {
			call: func(t *testing.T, c *client.Client) (any, error) { return c.SetQueue(t.Context(), long) },
			want: "PUT /v1/queues/long?username=ada", body: body, answer: `{"queue":` + shown + `}`, result: long,
		},
		"remove": {
			call: func(t *testing.T, c *client.Client) (any, error) { return nil, c.RemoveQueue(t.Context(), "long") },
			want: "DELETE /v1/queues/long?username=ada", answer: `{"status":"removed"}`,
		},
	})
}

func TestVariables(t *testing.T) {
	t.Parallel()
	checkExchanges(t, map[string]exchange{
		"list": {
			call: func(t *testing.T, c *client.Client) (any, error) { return c.Variables(t.Context(), "bob") },
			want: "GET /v1/users/bob/variables?username=ada", answer: `{"variables":{"SERVER":"2080@x"}}`,
			result: map[string]string{"SERVER": "2080@x"},
		},
		"set": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return nil, c.SetVariable(t.Context(), "bob", "SERVER", "2080@x")
			},
			want: "PUT /v1/users/bob/variables/SERVER?username=ada", body: `{"value":"2080@x"}`, answer: `{"status":"set"}`,
		},
		"remove": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return nil, c.SetVariable(t.Context(), "bob", "SERVER", "")
			},
			want: "PUT /v1/users/bob/variables/SERVER?username=ada", body: `{"value":""}`, answer: `{"status":"set"}`,
		},
	})
}

func TestConnect(t *testing.T) {
	t.Parallel()
	checkExchanges(t, map[string]exchange{
		"connect": {
			call: func(t *testing.T, c *client.Client) (any, error) { return c.Connect(t.Context(), client.Name("n12")) },
			want: "GET /jarvice/connect?name=n12&username=ada", answer: `{"address":"10.0.0.2","password":null}`,
			result: client.Connection{Address: "10.0.0.2", Raw: json.RawMessage(`{"address":"10.0.0.2","password":null}`)},
		},
	})
}

// TestValidateWithoutAccount is how a build of an image does it: no key is sent, and also nothing is a body.
func TestValidateWithoutAccount(t *testing.T) {
	t.Parallel()
	var bodies []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(body))
		if r.Header.Get("Authorization") != "" {
			t.Error("credentials were sent")
		}
		answer(w, http.StatusBadRequest, `{"error":"commands: at least one command is needed"}`)
	})
	c = connect(t, client.Config{URL: c.URL()})
	for _, text := range [][]byte{nil, []byte(`{"commands":{}}`)} {
		refused, ok := errors.AsType[*client.Error](c.Validate(t.Context(), text))
		if !ok || refused.Message != "commands: at least one command is needed" {
			t.Errorf("error is %v", refused)
		}
	}
	if diff := cmp.Diff([]string{"", `{"commands":{}}`}, bodies); diff != "" {
		t.Errorf("bodies (-want +got):\n%s", diff)
	}
}
