package client

import (
	"context"
	"net/http"
)

// Variables returns the variables of an account: what applications that ask for them find in the environment of its jobs.
func (c *Client) Variables(ctx context.Context, user string) (map[string]string, error) {
	var answer struct {
		Variables map[string]string `json:"variables"`
	}
	_, err := c.decode(ctx, call{method: http.MethodGet, path: usersPath, under: []string{user, "variables"}}, &answer)
	return answer.Variables, err
}

// SetVariable gives a variable of an account its value; an empty value removes it. Jobs that were submitted keep what they have.
func (c *Client) SetVariable(ctx context.Context, user, key, value string) error {
	body := struct {
		Value string `json:"value"`
	}{value}
	var answer struct{}
	req := call{method: http.MethodPut, path: usersPath, under: []string{user, "variables", key}}
	_, err := c.send(ctx, req, body, &answer)
	return err
}
