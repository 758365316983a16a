package httpapi

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

func TestApps(t *testing.T) {
	wire := strings.NewReplacer(`"step":1`, `"step":"1"`, `"size":65536`, `"size":"65536"`).Replace(testAppDef)
	entry := func(id, certified string) string {
		return `"` + id + `":{"id":"` + id + `","price":0.25,"owner":null,"arch":"x86_64","src":"","walltime":"24:00:00",` +
			`"repo":"docker.io/library/debian:12","privs":[],"updated":1694000520,"checkedout":false,"certified":` + certified + `,"data":` + wire + `}`
	}
	mine, public := entry("my-app_1", "false"), entry("openfoam", "true")
	tests := map[string]struct {
		p    map[string]string
		want string
		asks control.ApplicationsFilter
	}{
		"all":            {with("name", "all"), "{" + mine + "," + public + "}", control.ApplicationsFilter{}},
		"no name":        {with(), "{" + mine + "," + public + "}", control.ApplicationsFilter{}},
		"one":            {with("name", "openfoam", "version", ""), "{" + public + "}", control.ApplicationsFilter{Name: "openfoam"}},
		"of a version":   {with("version", "1"), "{}", control.ApplicationsFilter{Version: 1}},
		"no such one":    {with("name", "../x"), "{}", control.ApplicationsFilter{Name: "../x"}},
		"huge version":   {with("version", "9999999999"), "{" + mine + "," + public + "}", control.ApplicationsFilter{Version: 1<<31 - 1}},
		"no credentials": {map[string]string{"name": "all", "username": "", "apikey": ""}, "{" + public + "}", control.ApplicationsFilter{}},
	}
	a := newTestAPI(t)
	for name, tt := range tests {
		for way, send := range ways() {
			got := send(a, "/api//jarvice/apps", tt.p)
			if diff := cmp.Diff(tt.want, got.body); got.status != http.StatusOK || diff != "" {
				t.Errorf("%s, %s: status %d (-want +got)\n%s", name, way, got.status, diff)
			}
			if a.appsFilter != tt.asks {
				t.Errorf("%s: control was asked for %+v", name, a.appsFilter)
			}
		}
	}
	if got := a.get("/jarvice/appdef?name=my-app_1&" + asAda); got.status != http.StatusOK || got.body != wire {
		t.Errorf("appdef: status %d: %s", got.status, got.body)
	}
}

// TestUnreadableAppDef checks that one broken entry hides no others.
func TestUnreadableAppDef(t *testing.T) {
	a := newTestAPI(t)
	a.apps[0].AppDef = `{"commands":{}}`
	if got := a.get("/jarvice/apps?" + asAda); !strings.Contains(got.body, `"my-app_1":{`) || !strings.Contains(got.body, `"data":{}}`) ||
		!strings.Contains(got.body, `"openfoam":{`) {
		t.Errorf("status %d: %s", got.status, got.body)
	}
	if got := a.get("/jarvice/appdef?name=my-app_1&" + asAda); got.status != 500 || got.errorText(t) != "Internal error" {
		t.Errorf("alone: status %d: %s", got.status, got.body)
	}
	if log := a.log.String(); !strings.Contains(log, "application=my-app_1") {
		t.Errorf("the log says: %s", log)
	}
}

// TestAppsGoAwayWhileListed checks what a listing does when an entry cannot be had any more, or not now.
func TestAppsGoAwayWhileListed(t *testing.T) {
	a := newTestAPI(t)
	a.fail["Definition of my-app_1"] = errNoApplication
	if got := a.get("/jarvice/apps?" + asAda); got.status != http.StatusOK || !strings.HasPrefix(got.body, `{"openfoam":{"id":"openfoam",`) {
		t.Errorf("the first one: status %d: %s", got.status, got.body)
	}
	a.fail["Definition of openfoam"] = errNoApplication
	if got := a.get("/jarvice/apps?" + asAda); got.status != http.StatusOK || got.body != "{}" {
		t.Errorf("both: status %d: %s", got.status, got.body)
	}
	a.fail["Definition of my-app_1"], a.fail["Definition of openfoam"] = nil, berth.Errorf(berth.Unavailable, "The database cannot answer now")
	if got := a.get("/jarvice/apps?" + asAda); got.status != 503 || got.errorText(t) != "The database cannot answer now" {
		t.Errorf("not now: status %d: %s", got.status, got.body)
	}
	// What has begun to go out is broken off, so that nobody takes it for a whole answer.
	a.apps[0].AppDef = strings.Replace(testAppDef, `"author":"a"`, `"author":"`+strings.Repeat("a", 1<<20)+`"`, 1)
	resp, err := http.DefaultClient.Do(a.request(http.MethodGet, "/jarvice/apps?"+asAda, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("later: status %d, %d bytes and no error", resp.StatusCode, len(body))
	}
}

func TestAppRefusals(t *testing.T) {
	for operation, refusals := range map[string]map[string]refusal{
		"appdef": {
			"no name":        {with("apikey", "x"), 400, "Required parameter(s) missing: name"},
			"unknown":        {with("name", "nope"), 404, "Application Not Found"},
			"of the team":    {with("name", "my-app_1", "username", "bob", "apikey", otherKey), 200, ""},
			"no credentials": {map[string]string{"name": "openfoam"}, 400, "User required"},
			"wrong key":      {with("name", "openfoam", "apikey", "x"), 401, "Unauthorized"},
		},
		"apps": {
			"wrong key":    {with("apikey", "x"), 401, "Unauthorized"},
			"unknown user": {with("username", "eve"), 401, "Unauthorized"},
			"key only":     {map[string]string{"apikey": testKey}, 400, "User required"},
			"name only":    {map[string]string{"username": testUser}, 400, "Required parameter(s) missing"},
			"version":      {map[string]string{"version": "two"}, 400, "Bad Request: version: "},
		},
		"queues": {"unknown": {with("name", "nope", "info", "true"), 404, "Queue not found"}},
	} {
		a := newTestAPI(t)
		for name, want := range refusals {
			for way, send := range ways() {
				got := send(a, "/jarvice/"+operation, want.p)
				if got.status != want.status || want.status >= 400 && !matches(got.errorText(t), want.text) {
					t.Errorf("%s, %s, %s: status %d: %s", operation, name, way, got.status, got.body)
				}
			}
		}
	}
}

// TestWrongBearerOfApps checks that a wrong key is not taken for none.
func TestWrongBearerOfApps(t *testing.T) {
	a := newTestAPI(t)
	for header, status := range map[string]int{"Bearer nope": 401, "Bearer adaskey1": 200, "": 200} {
		req := a.request(http.MethodGet, "/jarvice/apps", nil)
		req.Header.Set("Authorization", header)
		if got := a.do(req); got.status != status {
			t.Errorf("%q: status %d: %s", header, got.status, got.body)
		}
	}
}

func TestValidate(t *testing.T) {
	a := newTestAPI(t)
	text := "{\"name\":\"Firm™ 100% & more;+\"}"
	for _, label := range []string{form, contentJSON, "", "multipart/form-data; boundary=x"} {
		for _, method := range []string{http.MethodPost, http.MethodGet} {
			got := a.send(method, "/api//jarvice/validate?username=eve&apikey=x", label, text)
			if got.status != http.StatusOK || got.body != `{"valid":true}` || a.validated != text {
				t.Errorf("%s as %q: status %d: %s of %q", method, label, got.status, got.body, a.validated)
			}
		}
	}
	a.fail["Validate"] = &berth.Error{Kind: berth.Invalid, Msg: "Invalid AppDef", Detail: "commands: nothing was sent"}
	for body, want := range map[string]string{
		"": "Invalid AppDef: is not JSON", "name=x": "Invalid AppDef: is not JSON", text: "Invalid AppDef: commands: nothing was sent",
	} {
		if got := a.send(http.MethodPost, "/jarvice/validate", form, body); got.status != 400 || got.errorText(t) != want {
			t.Errorf("%q: status %d: %s", body, got.status, got.body)
		}
	}
	large := `{"name":"` + strings.Repeat("x", maxAppDef) + `"}`
	if got := a.send(http.MethodPost, "/jarvice/validate", form, large); got.status != 413 {
		t.Errorf("a large one: status %d: %s", got.status, got.body)
	}
}

// TestQueues checks the three forms that clients want; each is refused by the clients of the others.
func TestQueues(t *testing.T) {
	const big = `{"name":"big","app":"openfoam","machine":"n1","size":4}`
	const standard = `{"name":"default","app":"","machine":"n0","size":1}`
	a := newTestAPI(t)
	for name, tt := range map[string]struct {
		p    map[string]string
		want string
	}{
		"names":        {with(), `["big","default"]`},
		"all":          {with("name", "all", "info", ""), `["big","default"]`},
		"false":        {with("info", "False"), `["big","default"]`},
		"0":            {with("info", "0"), `["big","default"]`},
		"true":         {with("info", "true"), `{"big":` + big + `,"default":` + standard + `}`},
		"True of one":  {with("info", "True", "name", "big"), `{"big":` + big + `}`},
		"1":            {with("info", "1"), `[` + big + `,` + standard + `]`},
		"-2 of one":    {with("info", "-2", "name", "default"), `[` + standard + `]`},
		"name of one":  {with("name", "default"), `["default"]`},
		"another word": {with("info", "no"), `["big","default"]`},
	} {
		for way, send := range ways() {
			if got := send(a, "/jarvice/queues", tt.p); got.status != http.StatusOK || got.body != tt.want {
				t.Errorf("%s, %s: status %d: %s", name, way, got.status, got.body)
			}
		}
	}
	a.allQueues = nil
	for info, want := range map[string]string{"": "[]", "true": "{}", "1": "[]"} {
		if got := a.get("/jarvice/queues?info=" + info + "&" + asAda); got.body != want {
			t.Errorf("none, info=%s: %s", info, got.body)
		}
	}
}

func TestConnect(t *testing.T) {
	a := newTestAPI(t)
	for _, want := range []string{`{"address":null,"password":null}`, `{"address":"10.8.0.2","password":"p<"}`} {
		if got := a.get("/jarvice/connect?number=8&" + asAda); got.status != http.StatusOK || got.body != want {
			t.Errorf("status %d: %s, want %s", got.status, got.body, want)
		}
		a.connection = control.Connection{Address: "10.8.0.2", Password: "p<"}
	}
	a.infoOfJob = control.JobInfo{URL: new("http://x/"), Help: new("<p>")}
	if got := a.get("/jarvice/info?number=8&" + asAda); !strings.Contains(got.body, `{"url":"http://x/","about":null,"help":"<p>","address":null`) {
		t.Errorf("info: %s", got.body)
	}
}

func TestCatalogueFailures(t *testing.T) {
	secret := errors.New("secret cause")
	for path, fails := range map[string]string{
		"/jarvice/apps?": "Applications", "/jarvice/appdef?name=openfoam&": "Application", "/jarvice/queues?": "Queues",
		"/jarvice/validate?x={}&": "Validate", "/jarvice/connect?number=8&": "Connect", "/v1/apps?": "Applications",
		"/v1/apps/openfoam?": "Application", "/v1/queues?": "Queues", "/v1/users/ada/variables?": "Variables",
	} {
		a := newTestAPI(t)
		a.fail[fails] = secret
		method, body := http.MethodGet, ""
		if fails == "Validate" {
			method, body = http.MethodPost, "{}"
		}
		got := a.send(method, path+asAda, "", body)
		if text := got.errorText(t); got.status != 500 || text != "Internal error" {
			t.Errorf("%s: status %d: %s", path, got.status, text)
		}
	}
}

func TestOwnApps(t *testing.T) {
	a := newTestAPI(t)
	app := func(id, image, price string, public bool) string {
		shared := map[bool]string{false: `"public":false,"certified":false`, true: `"public":true,"certified":true`}[public]
		return `{"id":"` + id + `","owner":"ada","team":"lab",` + shared + `,"image":"` + image + `","price":` + price +
			`,"created":"2023-09-06T10:42:00Z","updated":"2023-09-06T11:42:00Z","commands":["Run","Batch"]}`
	}
	const image, added = "docker.io/library/debian:12", "local/x:latest"
	const warned = `,"warnings":[]}`
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/v1/apps", "", 200, `{"apps":[` + app("my-app_1", image, "0.25", false) + "," + app("openfoam", image, "0.25", true) + `]}`},
		{"GET", "/v1/apps/openfoam", "", 200, `{"app":` + app("openfoam", image, "0.25", true) + `,"appdef":` + testAppDef + `}`},
		{"GET", "/v1/apps/nope", "", 404, `{"error":"Application Not Found"}`},
		{"POST", "/v1/apps", `{"id":"a","image":"local/x:latest","price":1.5}`, 200, `{"app":` + app("a", added, "1.5", false) + warned},
		{"POST", "/v1/apps", `{"id":"openfoam","image":"x"}`, 409, `{"error":"There is an application openfoam already"}`},
		{"POST", "/v1/apps", `{"id":"one-more","image":"x"}`, 429, `{"error":"You have too many applications: 100"}`},
		{"POST", "/v1/apps", `{"id":"a","image":"x","public":true}`, 403, `{"error":"Only an administrator may make an application public or certify it"}`},
		{"PATCH", "/v1/apps/my-app_1", `{"team":"","certified":false}`, 200, `{"app":` + app("my-app_1", image, "0.25", false) + warned},
		{"PATCH", "/v1/apps/nope", `{"price":2}`, 404, `{"error":"Application Not Found"}`},
		{"DELETE", "/v1/apps/my-app_1", "", 200, `{"status":"removed"}`},
		{"DELETE", "/v1/apps/nope", "", 404, `{"error":"Application Not Found"}`},
	} {
		got := a.send(tt.method, tt.path+"?"+asAda, contentJSON, tt.body)
		if got.status != tt.status || got.body != tt.want {
			t.Errorf("%s %s %s: status %d: %s\nwant %s", tt.method, tt.path, tt.body, got.status, got.body, tt.want)
		}
	}
}

// TestOwnAppRequests checks what control is asked for.
func TestOwnAppRequests(t *testing.T) {
	a := newTestAPI(t)
	a.send(http.MethodPost, "/v1/apps?"+asRoot, "", `{"id":"a","image":"x","appdef":`+testAppDef+
		`,"pull_secret":"e30=\n","team":"lab","public":true,"certified":true,"price":3}`)
	want := control.ApplicationRequest{
		ID: "a", Image: "x", PullSecret: "e30=\n", AppDef: []byte(testAppDef), Team: "lab", Public: true, Certified: true, Price: 3,
	}
	if diff := cmp.Diff(want, a.newApp); diff != "" {
		t.Errorf("new application (-want +got)\n%s", diff)
	}
	a.send(http.MethodPost, "/v1/apps?"+asRoot, "", `{"id":"a","image":"x","appdef":null}`)
	if a.newApp.AppDef != nil {
		t.Errorf("null is the AppDef %q", a.newApp.AppDef)
	}
	a.send(http.MethodPatch, "/v1/apps/openfoam?"+asAda, "", `{"image":"y","appdef":{},"pull_secret":"s","team":"","public":false,"price":0}`)
	change := control.ApplicationChange{
		Image: new("y"), AppDef: []byte("{}"), PullSecret: "s", Team: new(""), Public: new(false), Price: new(0.0),
	}
	if diff := cmp.Diff(change, a.appChange); diff != "" {
		t.Errorf("change (-want +got)\n%s", diff)
	}
}

func TestOwnCatalogueRefusals(t *testing.T) {
	large := `{"id":"a","image":"x","appdef":{"x":"` + strings.Repeat("x", 2<<20) + `"}}`
	for name, tt := range map[string]struct {
		method, path, body string
		status             int
		text               string
	}{
		"app without ID":    {"POST", "/v1/apps", `{"image":"x"}`, 400, "Invalid parameter(s): id: nothing was sent, a text is required"},
		"app without image": {"POST", "/v1/apps", `{"id":"x"}`, 400, "Invalid parameter(s): image: nothing was sent, the name of an image is required"},
		"AppDef as text":    {"POST", "/v1/apps", `{"id":"x","image":"x","appdef":"{}"}`, 400, `Invalid parameter(s): appdef: "{}" was sent, an object is allowed`},
		"unknown member":    {"POST", "/v1/apps", `{"id":"x","image":"x","owner":"y"}`, 400, `Invalid parameter(s): "owner": is not known here, allowed are id, image, appdef, pull_secret, team, public, certified, price`},
		"price below 0":     {"PATCH", "/v1/apps/x", `{"price":-1}`, 400, "Invalid parameter(s): price: -1 was sent, a number from 0 on is allowed"},
		"secret as number":  {"POST", "/v1/apps", `{"id":"x","image":"x","pull_secret":123}`, 400, "Invalid parameter(s): pull_secret: a number was sent, a text is allowed"},
		"no change":         {"PATCH", "/v1/apps/x", `{}`, 400, "Invalid parameter(s): body: changes nothing, at least one member is required"},
		"large AppDef":      {"POST", "/v1/apps", large, 200, ""},
		"queue":             {"PUT", "/v1/queues/q", `{}`, 400, "Invalid parameter(s): machine: nothing was sent, a text is required"},
		"queue of size 0":   {"PUT", "/v1/queues/q", `{"machine":"n0","size":0}`, 400, "Invalid parameter(s): size: 0 was sent, a whole number from 1 to 1048576 is allowed"},
		"no administrator":  {"PUT", "/v1/queues/q", `{"machine":"n0"}`, 403, "Only an administrator may do this"},
		"variable":          {"PUT", "/v1/users/ada/variables/X", `{}`, 400, "Invalid parameter(s): value: nothing was sent, a text is required"},
		"variable as null":  {"PUT", "/v1/users/ada/variables/X", `{"value":null}`, 400, "Invalid parameter(s): value: "},
		"variable as list":  {"PUT", "/v1/users/ada/variables/X", `{"value":[]}`, 400, "Invalid parameter(s): value: a list was sent, a text is allowed"},
		"of somebody else":  {"GET", "/v1/users/bob/variables", "", 404, "User not found"},
	} {
		a := newTestAPI(t)
		got := a.send(tt.method, tt.path+"?"+asAda, contentJSON, tt.body)
		if got.status != tt.status || tt.text != "" && !matches(got.errorText(t), tt.text) {
			t.Errorf("%s: status %d: %s", name, got.status, got.body)
		}
	}
}

// TestWhoMayChangeApps checks how rights are refused: for reading keys, and for what belongs to others.
func TestWhoMayChangeApps(t *testing.T) {
	a := newTestAPI(t)
	const asReader, asBob = "username=ada&apikey=" + readKey, "username=bob&apikey=" + otherKey
	for _, tt := range []struct{ method, path, body, text string }{
		{"POST", "/v1/apps?" + asReader, `{"id":"a","image":"x"}`, "This key may only read"},
		{"PATCH", "/v1/apps/openfoam?" + asReader, `{"price":1}`, "This key may only read"},
		{"PATCH", "/v1/apps/openfoam?" + asBob, `{"price":1}`, "Only its owner or an administrator may change an application"},
		{"DELETE", "/v1/apps/openfoam?" + asReader, "", "This key may only read"},
		{"PUT", "/v1/users/ada/variables/X?" + asReader, `{"value":"x"}`, "This key may only read"},
	} {
		got := a.send(tt.method, tt.path, contentJSON, tt.body)
		if got.status != 403 || got.errorText(t) != tt.text {
			t.Errorf("%s %s: status %d: %s", tt.method, tt.path, got.status, got.body)
		}
	}
}

// TestWhatIsNotThere checks that what the store says of unknown names is in the contract.
func TestWhatIsNotThere(t *testing.T) {
	a := newTestAPI(t)
	unknown := func(kind string) error {
		return &berth.Error{Kind: berth.Invalid, Msg: "There is no " + kind + " of that name", Detail: "x"}
	}
	a.fail["SetQueue"], a.fail["ChangeUser"], a.fail["AddTeam"] = unknown("application"), unknown("team"), unknown("user")
	for _, tt := range []struct{ method, path, body string }{
		{"PUT", "/v1/queues/q", `{"machine":"n0","application":"x"}`},
		{"PATCH", "/v1/users/ada", `{"team":"x"}`},
		{"POST", "/v1/teams", `{"name":"t","payer":"x"}`},
	} {
		got := a.send(tt.method, tt.path+"?"+asRoot, "", tt.body)
		if text := got.errorText(t); got.status != 400 || !matches(text, "There is no ") {
			t.Errorf("%s %s: status %d: %s", tt.method, tt.path, got.status, text)
		}
	}
}

func TestOwnQueuesAndVariables(t *testing.T) {
	a := newTestAPI(t)
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/v1/queues", "", 200, `{"queues":[{"name":"big","application":"openfoam","machine":"n1","size":4},` +
			`{"name":"default","application":"","machine":"n0","size":1}]}`},
		{"PUT", "/v1/queues/q", `{"application":"openfoam","machine":"n1"}`, 200, `{"queue":{"name":"q","application":"openfoam","machine":"n1","size":1}}`},
		{"DELETE", "/v1/queues/big", "", 200, `{"status":"removed"}`},
		{"DELETE", "/v1/queues/default", "", 409, `{"error":"The queue default cannot be removed"}`},
		{"DELETE", "/v1/queues/nope", "", 404, `{"error":"Queue not found"}`},
		{"GET", "/v1/users/ada/variables", "", 200, `{"variables":{"LICENSE":"<x>"}}`},
		{"GET", "/v1/users/root/variables", "", 200, `{"variables":{}}`},
		{"PUT", "/v1/users/ada/variables/LICENSE", `{"value":""}`, 200, `{"status":"set"}`},
		{"PUT", "/v1/users/ada/variables/LICENSE", `{"value":"a\n=b"}`, 200, `{"status":"set"}`},
	} {
		got := a.send(tt.method, tt.path+"?"+asRoot, contentJSON, tt.body)
		if got.status != tt.status || got.body != tt.want {
			t.Errorf("%s %s: status %d: %s", tt.method, tt.path, got.status, got.body)
		}
	}
	if want := (berth.Queue{Name: "q", Application: "openfoam", Machine: "n1", Size: 1}); a.queue != want {
		t.Errorf("control was asked for the queue %+v", a.queue)
	}
	if want := [3]string{"ada", "LICENSE", "a\n=b"}; a.variable != want {
		t.Errorf("control was asked for the variable %q", a.variable)
	}
}
