package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/berth-hpc/berth/client"
	"github.com/berth-hpc/berth/internal/appdef"
)

// application is an AppDef with parameters of the usual kinds.
const application = `{"name":"Bench","description":"","author":"","licensed":false,"appdefversion":2,"classifications":[],"machines":["n*"],
 "vault-types":["FILE","NONE"],"image":null,"commands":{"Run":{"path":"/bin/true","interactive":false,"name":"Run","description":"","parameters":{
 "-n":{"type":"INT","name":"n","min":1,"max":100,"value":3,"required":true},
 "-x":{"type":"FLOAT","name":"x","min":0,"max":1,"precision":2,"value":0.5,"required":true},
 "-fast":{"type":"BOOL","name":"fast","value":false,"required":false},
 "-kind":{"type":"selection","name":"kind","values":["good","better"],"mvalues":["g","b"],"required":true},
 "cores":{"type":"CONST","name":"cores","value":"%CORES% of %MACHINETYPE%","positional":true,"required":true},
 "file":{"type":"FILE","name":"file","positional":true,"required":true},
 "COLOR":{"type":"STR","name":"color","value":"yellow","variable":true,"required":false}}}}}`

// apps measures submissions of an application beside batch jobs, and how long its AppDef takes to be validated and rendered.
func (b *bench) apps(ctx context.Context) (err error) {
	s := b.server("apps", "--cores", "1", "--network", "none")
	defer func() { err = errors.Join(err, s.Down(ctx)) }()
	if err := b.startBlocked(ctx, s); err != nil {
		return err
	}
	c, err := clientOf(s)
	if err != nil {
		return err
	}
	if _, err := c.AddApp(ctx, client.NewApp{ID: "bench", Image: image, AppDef: json.RawMessage(application)}); err != nil {
		return err
	}
	user := fmt.Sprintf(`"user":{"username":%q,"apikey":%q}}`, s.Vars["BERTH_USER"], s.Vars["BERTH_APIKEY"])
	const connections = 64
	posts := newCaller(connections)
	n := b.pick(20_000, 500)
	b.printf("| %d connections | submissions/s | latency | against batch |\n|---|---|---|---|\n", connections)
	var batch float64
	for _, kind := range []struct{ name, path, body string }{
		{"batch", "/jarvice/batch", fmt.Sprintf(`{"container":{"image":%q,"jobscript":"true"},"machine":{"type":"n0"},`, image)},
		{"application", "/jarvice/submit", `{"app":"bench","application":{"command":"Run","parameters":{"-n":7,"file":"in/x","-kind":"better"}},"machine":{"type":"n0"},`},
	} {
		body := []byte(kind.body + user)
		took, all, err := load(ctx, connections, n, func(ctx context.Context, _ int) error {
			_, err := posts.post(ctx, s.URL+kind.path, body)
			return err
		})
		if err != nil {
			return err
		}
		if batch == 0 {
			batch = rate(n, all)
		}
		b.printf("| %s | %.0f | %v | %.2f |\n", kind.name, rate(n, all), took, rate(n, all)/batch)
	}
	return b.rendering()
}

// rendering measures the pure part of a submission.
func (b *bench) rendering() error {
	n := b.pick(20_000, 100)
	began := time.Now()
	var app *appdef.AppDef
	for range n {
		var err error
		if app, err = appdef.Parse([]byte(application)); err != nil {
			return err
		}
	}
	parsed := time.Since(began)
	values := map[string]json.RawMessage{"-n": json.RawMessage("7"), "file": json.RawMessage(`"in/x"`), "-kind": json.RawMessage(`"better"`)}
	began = time.Now()
	for range n {
		if _, err := appdef.Render(app, "Run", values, appdef.Environment{Cores: 1, Nodes: 1, MachineType: "n0"}); err != nil {
			return err
		}
	}
	b.printf("\n| AppDef of %d bytes, one core | a second |\n|---|---|\n| parsed and validated | %.0f |\n| rendered | %.0f |\n",
		len(application), rate(n, parsed), rate(n, time.Since(began)))
	return nil
}
