package client

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

const (
	appsPath = "/v1/apps"
	// pullTime is how long the server may take to bring an image from its registry before it answers.
	pullTime = time.Hour
)

// App is an application of the catalogue: an image with an AppDef, which says what commands it has.
type App struct {
	// ID is what a submission names, [A-Za-z0-9._-].
	ID string `json:"id"`
	// Owner is the user who added it.
	Owner string `json:"owner"`
	// Team may use it besides its owner, and Public applications everybody may.
	Team   string `json:"team"`
	Public bool   `json:"public"`
	// Certified applications may get a token of the job, whoever submits them.
	Certified bool   `json:"certified"`
	Image     string `json:"image"`
	// Price is for each job and hour.
	Price   float64   `json:"price"`
	Created time.Time `json:"created,omitzero"`
	Updated time.Time `json:"updated,omitzero"`
	// Commands are the keys of its commands, in their order.
	Commands []string `json:"commands"`
}

// AppDetails is an application with its AppDef.
type AppDetails struct {
	App App `json:"app"`
	// AppDef is the AppDef, its members in their order.
	AppDef json.RawMessage `json:"appdef"`
	// Raw is the server's answer.
	Raw json.RawMessage `json:"-"`
}

// NewApp is a request for an entry of the catalogue.
type NewApp struct {
	ID    string `json:"id"`
	Image string `json:"image"`
	// AppDef is JSON. Empty: that of the image, its file /etc/NAE/AppDef.json; the server pulls the image for it.
	AppDef json.RawMessage `json:"appdef,omitempty"`
	// PullSecret is base64 of a Docker "auths" JSON for the image's registry.
	PullSecret string `json:"pull_secret,omitempty"`
	// Team may use it besides its owner. Public and Certified are for administrators to give.
	Team      string  `json:"team,omitempty"`
	Public    bool    `json:"public,omitempty"`
	Certified bool    `json:"certified,omitempty"`
	Price     float64 `json:"price,omitempty"`
}

// AppChange is what changes of an application; nil fields stay as they are.
type AppChange struct {
	Image  *string         `json:"image,omitempty"`
	AppDef json.RawMessage `json:"appdef,omitempty"`
	// PullSecret is for the registry of another image, as in NewApp; it is not kept.
	PullSecret string `json:"pull_secret,omitempty"`

	Team      *string  `json:"team,omitempty"` // empty is no team
	Public    *bool    `json:"public,omitempty"`
	Certified *bool    `json:"certified,omitempty"`
	Price     *float64 `json:"price,omitempty"`
}

// ChangedApp is an application as it is after a request.
type ChangedApp struct {
	App App `json:"app"`
	// Warnings are doubtful things in the AppDef that do no harm, each as "place: sentence".
	Warnings []string `json:"warnings,omitempty"`
}

// Apps lists the applications that the caller may submit, ordered by ID.
func (c *Client) Apps(ctx context.Context) ([]App, error) {
	var answer struct {
		Apps []App `json:"apps"`
	}
	_, err := c.get(ctx, appsPath, nil, &answer)
	return answer.Apps, err
}

// App returns an application with its AppDef.
func (c *Client) App(ctx context.Context, id string) (AppDetails, error) {
	var details AppDetails
	raw, err := c.decode(ctx, call{method: http.MethodGet, path: appsPath, under: []string{id}}, &details)
	details.Raw = raw
	return details, err
}

// AddApp adds an application to the catalogue. It is never repeated.
func (c *Client) AddApp(ctx context.Context, app NewApp) (ChangedApp, error) {
	var answer ChangedApp
	_, err := c.send(ctx, call{method: http.MethodPost, path: appsPath, longPoll: pullTime}, app, &answer)
	return answer, err
}

// ChangeApp changes an application and returns it as it is then. Jobs that were submitted keep what they have. Another image is what
// /jarvice/pull gives it.
func (c *Client) ChangeApp(ctx context.Context, id string, change AppChange) (ChangedApp, error) {
	var answer ChangedApp
	req := call{method: http.MethodPatch, path: appsPath, under: []string{id}, longPoll: pullTime}
	_, err := c.send(ctx, req, change, &answer)
	return answer, err
}

// RemoveApp takes an application from the catalogue; its jobs go on.
func (c *Client) RemoveApp(ctx context.Context, id string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: appsPath, under: []string{id}})
	return err
}

// Validate returns nil when the server would take the text as an AppDef, else an Error that names the places. It needs no
// credentials.
func (c *Client) Validate(ctx context.Context, appdef []byte) error {
	if appdef == nil {
		appdef = []byte{} // nil would be a request without a body
	}
	_, err := c.do(ctx, call{method: http.MethodPost, path: "/jarvice/validate", body: appdef})
	return err
}
