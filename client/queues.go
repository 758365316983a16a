package client

import (
	"context"
	"net/http"
)

const queuesPath = "/v1/queues"

// Queue is a name for an application on a machine type, for submissions of HPC scripts.
type Queue struct {
	// Name is [A-Za-z0-9._-]. There always is one that is called default.
	Name string `json:"name"`
	// Application gives the image; empty until an administrator sets one.
	Application string `json:"application"`
	// Machine is the machine type for submissions that name none.
	Machine string `json:"machine"`
	// Size is the largest number of nodes of one job.
	Size int `json:"size"`
}

// Queues lists the queues, ordered by name.
func (c *Client) Queues(ctx context.Context) ([]Queue, error) {
	var answer struct {
		Queues []Queue `json:"queues"`
	}
	_, err := c.get(ctx, queuesPath, nil, &answer)
	return answer.Queues, err
}

// SetQueue makes a queue, or gives all its values to one that is there. Jobs that were submitted keep what they have.
func (c *Client) SetQueue(ctx context.Context, queue Queue) (Queue, error) {
	body := struct {
		Queue
		Name struct{} `json:"name,omitzero"` // it is in the path
	}{Queue: queue}
	var answer struct {
		Queue Queue `json:"queue"`
	}
	_, err := c.send(ctx, call{method: http.MethodPut, path: queuesPath, under: []string{queue.Name}}, body, &answer)
	return answer.Queue, err
}

// RemoveQueue removes a queue: no script can be sent to it any more. The queue default cannot be removed.
func (c *Client) RemoveQueue(ctx context.Context, name string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: queuesPath, under: []string{name}})
	return err
}
