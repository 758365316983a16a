package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/berth-hpc/berth/client"
)

// exampleServer answers as a berth server does about one job.
func exampleServer() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/jarvice/batch":
			answer(w, http.StatusOK, `{"name":"20261006104200-995TB-jarvice-batch-ada_s1","number":12}`)
		case "/jarvice/submit":
			answer(w, http.StatusOK, `{"name":"20261006104200-995TB-numbers-ada_s1","number":12}`)
		case "/v1/jobs/12/output":
			w.Header().Set("Content-Type", "application/octet-stream")
			if r.URL.Query().Get("offset") == "0" {
				_, _ = io.WriteString(w, "node-1\n")
			}
		case "/jarvice/signal":
			answer(w, http.StatusOK, `{"signal":20,"pid":7}`)
		case "/v1/events":
			stream(w, "event: hello\nid: 40\ndata: {}\n\n"+
				"id: 41\nevent: started\ndata: {\"id\":41,\"number\":12,\"kind\":\"started\",\"state\":\"running\"}\n\n"+
				"id: 43\nevent: ended\ndata: {\"id\":43,\"number\":12,\"kind\":\"ended\",\"state\":\"failed\"}\n\n")
			<-r.Context().Done()
		case "/v1/jobs/12":
			answer(w, http.StatusOK, finished)
		default:
			answer(w, http.StatusNotFound, `{"error":"Not found"}`)
		}
	}))
}

func Example() {
	server := exampleServer()
	defer server.Close()

	ctx := context.Background()
	c, err := client.New(client.Config{URL: server.URL, Username: "ada", APIKey: "key"})
	if err != nil {
		panic(err)
	}
	submitted, err := c.Batch(ctx, client.Submission{
		Container: &client.Container{Image: "local/tools:latest", JobScript: client.EncodeScript("hostname")},
		Machine:   &client.MachineRequest{Type: "n0"},
	})
	if err != nil {
		panic(err)
	}
	job, err := c.Wait(ctx, client.Number(submitted.Number))
	if err != nil {
		panic(err)
	}
	fmt.Println(job.Number, job.Status, job.End.Reason, job.End.ExitCode)
	// Output: 12 COMPLETED WITH ERROR exited 3
}

func ExampleClient_Submit() {
	server := exampleServer()
	defer server.Close()

	c, err := client.New(client.Config{URL: server.URL, APIKey: "key"})
	if err != nil {
		panic(err)
	}
	submitted, err := c.Submit(context.Background(), client.Submission{
		App:         "numbers",
		Application: &client.Application{Command: "Run", Parameters: map[string]any{"last": 3, "-s": ", "}},
		Machine:     &client.MachineRequest{Type: "n0"},
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(submitted.Number, submitted.Name)
	// Output: 12 20261006104200-995TB-numbers-ada_s1
}

func ExampleClient_FollowOutput() {
	server := exampleServer()
	defer server.Close()

	c, err := client.New(client.Config{URL: server.URL, APIKey: "key"})
	if err != nil {
		panic(err)
	}
	output := c.FollowOutput(context.Background(), client.Number(12), 0)
	defer output.Close()
	if _, err := io.Copy(os.Stdout, output); err != nil {
		panic(err)
	}
	// Output: node-1
}

func ExampleError() {
	server := exampleServer()
	defer server.Close()

	c, err := client.New(client.Config{URL: server.URL, APIKey: "key"})
	if err != nil {
		panic(err)
	}
	err = c.Shutdown(context.Background(), client.Number(13))
	if refused, ok := errors.AsType[*client.Error](err); ok {
		fmt.Println(refused.StatusCode, refused.Message)
	}
	// Output: 404 Not found
}

func ExampleClient_Signal() {
	server := exampleServer()
	defer server.Close()

	c, err := client.New(client.Config{URL: server.URL, APIKey: "key"})
	if err != nil {
		panic(err)
	}
	got, err := c.Signal(context.Background(), client.Number(12), client.SignalSuspend)
	if err != nil {
		panic(err)
	}
	fmt.Println("signal", got.Signal, "to process", got.PID)
	// Output: signal 20 to process 7
}

func ExampleClient_Events() {
	server := exampleServer()
	defer server.Close()

	c, err := client.New(client.Config{URL: server.URL, APIKey: "key"})
	if err != nil {
		panic(err)
	}
	events := c.Events(context.Background(), client.EventsFilter{})
	defer events.Close()
	for event, err := range events.All() {
		if err != nil {
			panic(err)
		}
		fmt.Println(event.ID, "job", event.Number, event.Kind)
		if event.Final() {
			break
		}
	}
	// Output:
	// 41 job 12 started
	// 43 job 12 ended
}
