package httpapi

import (
	"context"
	"strings"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/appdef"
	"github.com/berth-hpc/berth/internal/control"
)

// testAppDef has what strictly typed clients stumble over: size and step as numbers, and an order of commands and parameters.
const testAppDef = `{"name":"Test <app>","description":"d","author":"a","licensed":false,"appdefversion":2,"walltime":"24:00:00",` +
	`"classifications":["x"],"machines":["n*"],"vault-types":["NONE"],"commands":{` +
	`"Run":{"path":"/usr/bin/run","interactive":true,"name":"Run","description":"d","parameters":{` +
	`"-z":{"name":"z","description":"d","type":"RANGE","min":1,"max":5,"step":1,"required":false,"positional":false,"value":2},` +
	`"-f":{"name":"f","description":"d","type":"UPLOAD","target":"JARVICE/f","size":65536,"filter":".x","required":false}}},` +
	`"Batch":{"path":"/bin/sh","interactive":false,"name":"Batch","description":"d","parameters":{}}}}`

// catalogue is the part of the scripted control that knows applications.
type catalogue struct {
	apps      []berth.Application
	allQueues []berth.Queue
	// What the last call of these operations was given.
	application control.BatchRequest
	validated   string
	appsFilter  control.ApplicationsFilter
	newApp      control.ApplicationRequest
	appChange   control.ApplicationChange
	queue       berth.Queue
	queueName   string
	variable    [3]string
	// connection is what Connect tells.
	connection control.Connection
}

func newCatalogue() catalogue {
	app := func(id string, public bool) berth.Application {
		return berth.Application{
			ID: id, Owner: testUser, Team: "lab", Public: public, Certified: public, Image: "docker.io/library/debian:12",
			AppDef: testAppDef, Commands: []string{"Run", "Batch"}, Price: 0.25, Created: submittedAt(), Updated: submittedAt().Add(time.Hour),
		}
	}
	return catalogue{
		apps: []berth.Application{app("my-app_1", false), app("openfoam", true)},
		allQueues: []berth.Queue{
			{Name: "big", Application: "openfoam", Machine: "n1", Size: 4}, {Name: "default", Machine: "n0", Size: 1},
		},
	}
}

var errNoApplication = &berth.Error{Kind: berth.NotFound, Msg: "Application Not Found"}

func (s *scripted) SubmitApplication(ctx context.Context, caller berth.Caller, req control.BatchRequest) (berth.Job, error) {
	if caller.ReadOnly {
		return berth.Job{}, errReadOnly
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.application = req
	if err := s.fail["SubmitApplication"]; err != nil {
		return berth.Job{}, err
	}
	if app := req.Submission.App; app != "" {
		if _, err := s.Application(ctx, caller, app); err != nil {
			return berth.Job{}, err
		}
	}
	job := berth.Job{
		Name: "20230906104200-AAAAA-openfoam-" + caller.User.Name + "_s1", Owner: caller.User.Name,
		State: berth.StateQueued, Submission: req.Submission, Submitted: submittedAt(),
	}
	if !req.Submission.NoSubmit {
		job.Number = 123066
	}
	return job, nil
}

func (s *scripted) Validate(_ context.Context, appdef []byte) error {
	s.validated = string(appdef)
	if !strings.HasPrefix(s.validated, "{") {
		return &berth.Error{Kind: berth.Invalid, Msg: "Invalid AppDef", Detail: "is not JSON"}
	}
	return s.fail["Validate"]
}

func (s *scripted) Applications(
	_ context.Context, caller berth.Caller, filter control.ApplicationsFilter,
) ([]berth.Application, error) {
	s.appsFilter = filter
	var found []berth.Application
	for _, app := range s.apps {
		if app.VisibleTo(caller.User) && (filter.Name == "" || filter.Name == app.ID) && filter.Version != 1 {
			app.AppDef = ""
			found = append(found, app)
		}
	}
	return found, s.fail["Applications"]
}

func (s *scripted) Application(_ context.Context, caller berth.Caller, id string) (berth.Application, error) {
	for _, app := range s.apps {
		if app.ID == id && app.VisibleTo(caller.User) {
			return app, s.fail["Application"]
		}
	}
	return berth.Application{}, errNoApplication
}

func (s *scripted) Definition(ctx context.Context, caller berth.Caller, app berth.Application) (control.Definition, error) {
	if err := s.fail["Definition of "+app.ID]; err != nil {
		return control.Definition{}, err
	}
	app, err := s.Application(ctx, caller, app.ID)
	if err != nil {
		return control.Definition{}, err
	}
	definition, err := appdef.Parse([]byte(app.AppDef))
	if err != nil {
		return control.Definition{}, err
	}
	wire, err := definition.Wire()
	return control.Definition{AppDef: definition, Wire: wire}, err
}

func (s *scripted) AddApplication(
	_ context.Context, caller berth.Caller, req control.ApplicationRequest,
) (berth.Application, error) {
	s.newApp = req
	switch {
	case caller.ReadOnly:
		return berth.Application{}, errReadOnly
	case req.Public && !caller.User.Admin:
		return berth.Application{}, berth.Errorf(berth.Forbidden, "Only an administrator may make an application public or certify it")
	case req.ID == "one-more":
		return berth.Application{}, &berth.Error{Kind: berth.LimitReached, Msg: "You have too many applications", Detail: "100"}
	case req.ID == "openfoam":
		return berth.Application{}, berth.Errorf(berth.Conflict, "There is an application openfoam already")
	}
	app := s.apps[0]
	app.ID, app.Image, app.Price = req.ID, req.Image, req.Price
	return app, s.fail["AddApplication"]
}

func (s *scripted) ChangeApplication(
	ctx context.Context, caller berth.Caller, id string, change control.ApplicationChange,
) (berth.Application, error) {
	if caller.ReadOnly {
		return berth.Application{}, errReadOnly
	}
	if caller.User.Name == "bob" {
		return berth.Application{}, berth.Errorf(berth.Forbidden, "Only its owner or an administrator may change an application")
	}
	s.appChange = change
	return s.Application(ctx, caller, id)
}

func (s *scripted) RemoveApplication(ctx context.Context, caller berth.Caller, id string) error {
	if caller.ReadOnly {
		return errReadOnly
	}
	_, err := s.Application(ctx, caller, id)
	return err
}

var errNoQueue = &berth.Error{Kind: berth.NotFound, Msg: "Queue not found"}

func (s *scripted) Queues(_ context.Context, _ berth.Caller, name string) ([]berth.Queue, error) {
	s.queueName = name
	if name == "" {
		return s.allQueues, s.fail["Queues"]
	}
	for _, q := range s.allQueues {
		if q.Name == name {
			return []berth.Queue{q}, s.fail["Queues"]
		}
	}
	return nil, errNoQueue
}

func (s *scripted) SetQueue(_ context.Context, caller berth.Caller, queue berth.Queue) error {
	if err := administers(caller); err != nil {
		return err
	}
	s.queue = queue
	return s.fail["SetQueue"]
}

func (s *scripted) RemoveQueue(_ context.Context, caller berth.Caller, name string) error {
	switch {
	case administers(caller) != nil:
		return administers(caller)
	case name == berth.DefaultQueue:
		return berth.Errorf(berth.Conflict, "The queue default cannot be removed")
	case name != "big":
		return errNoQueue
	default:
		return s.fail["RemoveQueue"]
	}
}

func (s *scripted) Variables(_ context.Context, caller berth.Caller, user string) (map[string]string, error) {
	if caller.User.Name != user && !caller.User.Admin {
		return nil, berth.Errorf(berth.NotFound, "User not found")
	}
	if user == "root" {
		return nil, nil
	}
	return map[string]string{"LICENSE": "<x>"}, s.fail["Variables"]
}

func (s *scripted) SetVariable(_ context.Context, caller berth.Caller, user, name, value string) error {
	if caller.ReadOnly {
		return errReadOnly
	}
	s.variable = [3]string{user, name, value}
	return s.fail["SetVariable"]
}

func (s *scripted) Connect(ctx context.Context, caller berth.Caller, ref control.JobRef) (control.Connection, error) {
	if err := s.order(ctx, caller, ref, "Connect"); err != nil {
		return control.Connection{}, err
	}
	return s.connection, nil
}
