package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// rendering measures the pure part of a submission, with AppDefs of all shapes.
func (b *bench) rendering() error {
	texts, err := b.appDefs()
	if err != nil {
		return err
	}
	n := b.pick(1000, 5) * len(texts)
	apps := make([]*appdef.AppDef, len(texts))
	began := time.Now()
	for i := range n {
		if apps[i%len(apps)], err = appdef.Parse(texts[i%len(texts)]); err != nil {
			return err
		}
	}
	parsed := time.Since(began)
	values := map[string]json.RawMessage{}
	for _, key := range []string{"text", "script", "file", "-case", "-r"} { // what the commands require; each leaves the others' alone
		values[key] = json.RawMessage(`"in/x"`)
	}
	began = time.Now()
	for i := range n {
		app := apps[i%len(apps)]
		if _, err := appdef.Render(app, app.Commands[i/len(apps)%len(app.Commands)].Key, values, appdef.Environment{Cores: 1, Nodes: 1, MachineType: "n0"}); err != nil {
			return err
		}
	}
	rendered := time.Since(began)
	const catalogue = 40
	b.printf("\n| AppDefs of %d shapes, one core | a second | %d take |\n|---|---|---|\n", len(texts), catalogue)
	for _, row := range []struct {
		what string
		took time.Duration
	}{{"parsed and validated", parsed}, {"rendered", rendered}} {
		b.printf("| %s | %.0f | %v |\n", row.what, rate(n, row.took), (row.took / time.Duration(n) * catalogue).Round(time.Microsecond))
	}
	return nil
}

// iconBytes is the size of the icon that public AppDefs usually have.
const iconBytes = 12_500

// appDefs returns the AppDefs of the tests that are good, with icons.
func (b *bench) appDefs() ([][]byte, error) {
	files, err := filepath.Glob(filepath.Join(b.root, "internal/appdef/testdata/catalogue/*.json"))
	if err != nil {
		return nil, err
	}
	icon := base64.StdEncoding.EncodeToString(make([]byte, iconBytes))
	var texts [][]byte
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var members map[string]json.RawMessage
		if json.Unmarshal(text, &members) != nil {
			continue // one that has to be refused
		}
		members["image"] = json.RawMessage(`{"type": "image/png", "data": "` + icon + `"}`)
		if text, err = json.Marshal(members); err != nil {
			return nil, err
		}
		if _, err := appdef.Parse(text); err == nil {
			texts = append(texts, text)
		}
	}
	if len(texts) == 0 {
		return nil, errors.New("there are no AppDefs in the module")
	}
	return texts, nil
}
