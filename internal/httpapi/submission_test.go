package httpapi

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
)

const validBatch = `{"container":{"image":"library/debian:12","jobscript":"echo hi"},"machine":{"type":"n0","nodes":1},` +
	`"vault":{"name":"ephemeral"},"user":{"username":"ada","apikey":"adaskey1"}}`

// batchWith returns the valid submission with members replaced; a nil value takes one away, a path is a.b.
func batchWith(t *testing.T, pairs ...any) string {
	t.Helper()
	var sub map[string]any
	if err := json.Unmarshal([]byte(validBatch), &sub); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		object := sub
		path := strings.Split(pairs[i].(string), ".")
		for _, name := range path[:len(path)-1] {
			inner, ok := object[name].(map[string]any)
			if !ok {
				inner = map[string]any{}
				object[name] = inner
			}
			object = inner
		}
		if last := path[len(path)-1]; pairs[i+1] == nil {
			delete(object, last)
		} else {
			object[last] = pairs[i+1]
		}
	}
	text, err := json.Marshal(sub)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestSubmissionsOfClients sends what real clients send, in their shapes.
func TestSubmissionsOfClients(t *testing.T) {
	base := berth.Submission{
		Container: berth.Container{Image: "library/debian:12", JobScript: "echo hi"},
		Machine:   berth.MachineRequest{Type: "n0", Nodes: 1},
		Vault:     berth.VaultRequest{Name: "ephemeral"},
	}
	with := func(change func(*berth.Submission)) berth.Submission {
		sub := base
		change(&sub)
		return sub
	}
	tests := map[string]struct {
		path, contentType, body string
		want                    berth.Submission
	}{
		"curl of the documentation, newlines stripped": {
			"/jarvice/batch", "application/x-www-form-urlencoded",
			`{ "vault": { "name": "ephemeral", "readonly": false, "force": false }, "machine": { "type": "n0", "nodes": 1 },` +
				` "container": { "image": "library/debian:12", "jobscript": "echo hi && ls $HOME" },` +
				` "user": { "username": "ada", "apikey": "adaskey1" } }`,
			with(func(s *berth.Submission) { s.Container.JobScript = "echo hi && ls $HOME" }),
		},
		"Nextflow: base64 script, null vault": {
			"/jarvice/batch", "application/json",
			`{"container":{"jobscript":"IyEvYmluL2Jhc2gKZWNobyBoaQo=","image":"library/debian:12"},"vault":null,` +
				`"machine":{"type":"n0","nodes":1},"job_label":"nf-hello","user":{"username":"ada","apikey":"adaskey1"}}`,
			with(func(s *berth.Submission) {
				s.Container.JobScript, s.Label, s.Vault.Name = "IyEvYmluL2Jhc2gKZWNobyBoaQo=", "nf-hello", ""
			}),
		},
		"patched Nextflow: lines with doubled newlines": {
			"/jarvice/batch", "application/json",
			`{"checkedout":false,"container":{"image":"library/debian:12","jobscript":"#!/bin/bash\n\necho hi\n\n","pullsecret":"e30="},` +
				`"machine":{"type":"n0","nodes":1},"vault":{"name":"data","readonly":false,"force":false},"publicip":false,` +
				`"user":{"username":"ada","apikey":"adaskey1"},"job_priority":"normal"}`,
			with(func(s *berth.Submission) {
				s.Container.JobScript, s.Vault.Name, s.Priority = "#!/bin/bash\n\necho hi\n\n", "data", "normal"
			}),
		},
		"a client that knows only submit": {
			"/api//jarvice/submit", "application/json",
			`{"app":"","staging":false,"container":{"image":"library/debian:12","jobscript":"echo hi"},"machine":{"type":"n0"},` +
				`"application":{"command":"Batch","geometry":"1,920x1,080","walltime":"0:20:00","parameters":{"a":1}},` +
				`"user":{"username":"ada","apikey":"adaskey1"}}`,
			with(func(s *berth.Submission) { s.Geometry, s.Walltime, s.Vault.Name = "1,920x1,080", 20*time.Minute, "" }),
		},
		"numbers and booleans as text": {
			"/jarvice/batch", "application/json",
			`{"container":{"image":"library/debian:12","jobscript":"echo hi","interactive":"true"},"machine":{"type":"n0","nodes":"1"},` +
				`"vault":{"name":"data","readonly":"True","force":"","objects":[ ],"password":""},"job_priority":10,` +
				`"user":{"username":"ada","apikey":"adaskey1"},"identity":{"username":"flo","uid":"1000","gid":1000}}`,
			with(func(s *berth.Submission) {
				s.Container.Interactive, s.Priority = true, "10"
				s.Vault = berth.VaultRequest{Name: "data", ReadOnly: true}
				s.Identity = &berth.Identity{Username: "flo", Group: "nimbix", UID: 1000, GID: 1000}
			}),
		},
		"everything": {
			"/jarvice/batch", "application/json",
			`{"container":{"image":"library/debian:12","jobscript":"echo hi"},"machine":{"type":"n0","nodes":1},"vault":{},` +
				`"application":{"walltime":"100:00:01","geometry":""},"job_label":"ä <b>","job_project":"p-1","queue":"q","licenses":"a:1",` +
				`"identity":{},"unknown":{"deep":[1,{"x":null}]},"hpc":null,"user":{"username":"ada","apikey":"adaskey1"}}`,
			with(func(s *berth.Submission) {
				s.Walltime, s.Vault.Name = 100*time.Hour+time.Second, ""
				s.Label, s.Project, s.Queue, s.Licenses = "ä <b>", "p-1", "q", "a:1"
				s.Identity = new(berth.DefaultIdentity)
			}),
		},
		"objects": {
			"/jarvice/batch", "application/json",
			change(t, validBatch, `"vault":{"name":"ephemeral"}`, `"vault":{"name":"s3","objects":["a/b","","dir/"],"bucket":"b"}`),
			with(func(s *berth.Submission) {
				s.Vault = berth.VaultRequest{Name: "s3", Objects: []string{"a/b", "", "dir/"}, Bucket: "b"}
			}),
		},
		"the last of two members": {
			"/jarvice/batch", "application/json",
			strings.Replace(validBatch, `"machine":`, `"machine":{"type":"zz","nodes":9},"machine":`, 1), base,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := newTestAPI(t)
			got := a.send(http.MethodPost, tt.path, tt.contentType, tt.body)
			const want = `{"name":"20230906104200-AAAAA-jarvice-batch-ada_s1","number":123065}`
			if got.status != http.StatusOK || got.body != want {
				t.Fatalf("status %d: %s", got.status, got.body)
			}
			if types := got.header.Values("Content-Type"); !slices.Equal(types, []string{"application/json"}) {
				t.Errorf("Content-Type %q", types)
			}
			if diff := cmp.Diff(tt.want, a.batch.Submission); diff != "" {
				t.Errorf("submission (-want +got)\n%s", diff)
			}
		})
	}
}

func TestPullSecretIsHandedOnAndNotShown(t *testing.T) {
	a := newTestAPI(t)
	got := a.send(http.MethodPost, "/jarvice/batch", "", batchWith(t, "container.pullsecret", "e30=\n", "application.nosubmit", true))
	if a.batch.PullSecret != "e30=\n" {
		t.Errorf("control got the secret %q", a.batch.PullSecret)
	}
	if got.status != http.StatusOK || strings.Contains(got.body, "e30") || strings.Contains(got.body, testKey) {
		t.Errorf("status %d: %s", got.status, got.body)
	}
	if !strings.Contains(got.body, `"number":0,"job":{`) {
		t.Errorf("nosubmit answers %s", got.body)
	}
}

func TestVaultPasswordIsHandedOnAndNotShown(t *testing.T) {
	a := newTestAPI(t)
	got := a.send(http.MethodPost, "/jarvice/batch", "", batchWith(t, "vault.password", "correct horse", "vault.force", true, "application.nosubmit", true))
	if a.batch.VaultPassword != "correct horse" || !a.batch.Submission.Vault.Force {
		t.Errorf("control got %+v", a.batch)
	}
	for where, text := range map[string]string{"the answer": got.body, "the log": a.log.String()} {
		if strings.Contains(text, "correct horse") {
			t.Errorf("%s shows the password: %s", where, text)
		}
	}
	stored, err := json.Marshal(a.batch.Submission)
	if err != nil || strings.Contains(string(stored), "correct horse") {
		t.Errorf("the submission has the password: %s, %v", stored, err)
	}
}

func TestSubmissionRefusals(t *testing.T) {
	const malformed = "Missing or Malformed API Syntax: "
	long := strings.Repeat("x", 257)
	tests := map[string]struct {
		body   string
		status int
		text   string
	}{
		"empty":        {"", 400, malformed + "body: is empty, a JSON object is allowed"},
		"form":         {"a=b", 400, malformed + "body: is not a JSON object"},
		"list":         {"[]", 400, malformed + "body: is not a JSON object"},
		"null":         {"null", 400, malformed + "body: is not a JSON object"},
		"cut off":      {validBatch[:40], 400, malformed + "body: is not JSON: unexpected end of JSON input "},
		"behind":       {validBatch + "}", 400, malformed + "body: is not JSON: "},
		"not UTF-8":    {strings.Replace(validBatch, "echo", "\xff", 1), 400, malformed + "body: is not valid UTF-8"},
		"deep nesting": {`{"x":` + strings.Repeat(`{"x":`, 50_000) + `1` + strings.Repeat("}", 50_001), 400, malformed + "body: is not JSON: "},

		"no machine":        {batchWith(t, "machine", nil), 400, malformed + "machine: nothing was sent, an object with type and nodes is required"},
		"machine is a list": {batchWith(t, "machine", []int{}), 400, malformed + "machine: a list was sent, an object is allowed"},
		"no type":           {batchWith(t, "machine.type", nil), 400, malformed + "machine.type: nothing was sent, the name of a machine type is required"},
		"type null": {
			strings.Replace(validBatch, `"n0"`, "null", 1), 400,
			malformed + "machine.type: null was sent, the name of a machine type is required",
		},
		"type empty":         {batchWith(t, "machine.type", ""), 400, malformed + `machine.type: "" was sent, the name of a machine type is required`},
		"type is a number":   {batchWith(t, "machine.type", 5), 400, malformed + "machine.type: 5 was sent, a text is allowed"},
		"nodes 20000":        {batchWith(t, "machine.nodes", 20000), 400, malformed + "machine.nodes: 20000 was sent, a whole number from 1 to 10000 is allowed"},
		"nodes 0":            {batchWith(t, "machine.nodes", 0), 400, malformed + "machine.nodes: 0 was sent, a whole number from 1 to 10000 is allowed"},
		"nodes 10^30":        {strings.Replace(validBatch, `"nodes":1`, `"nodes":1e30`, 1), 400, malformed + "machine.nodes: 1e30 was sent, a whole number from 1 to 10000 is allowed"},
		"nodes as text":      {batchWith(t, "machine.nodes", "two"), 400, malformed + `machine.nodes: "two" was sent, a whole number from 1 to 10000 is allowed`},
		"nodes true":         {batchWith(t, "machine.nodes", true), 400, malformed + "machine.nodes: true was sent, a whole number from 1 to 10000 is allowed"},
		"image is an object": {batchWith(t, "container.image.x", 1), 400, ""},
		"script NUL": {
			batchWith(t, "container.jobscript", "a\x00b"), 400,
			malformed + "container.jobscript: a text with a NUL byte was sent, a text without one is allowed",
		},
		"script is a list": {batchWith(t, "container.jobscript", []string{"a"}), 400, malformed + "container.jobscript: a list was sent, a text is allowed"},
		"secret is a number": {
			batchWith(t, "container.pullsecret", 12345), 400,
			malformed + "container.pullsecret: a number was sent, a text is allowed",
		},
		"interactive":         {batchWith(t, "container.interactive", "maybe"), 400, malformed + `container.interactive: "maybe" was sent, true or false is allowed`},
		"container is a text": {batchWith(t, "container", "x"), 400, malformed + `container: "x" was sent, an object is allowed`},
		"image with newline":  {batchWith(t, "container.image", "a\nb"), 400, malformed + `container.image: "a\nb" was sent, a text without control characters is allowed`},
		"image too long":      {batchWith(t, "container.image", strings.Repeat("x", 1025)), 400, malformed + "container.image: a text of 1025 bytes was sent, at most 1024 are allowed"},
		"label too long":      {batchWith(t, "job_label", long), 400, malformed + "job_label: a text of 257 bytes was sent, at most 256 are allowed"},
		"label with escape":   {batchWith(t, "job_label", "\x1b[2J"), 400, malformed + `job_label: "\x1b[2J" was sent, a text without control characters is allowed`},
		"project":             {batchWith(t, "job_project", false), 400, malformed + "job_project: false was sent, a text is allowed"},
		"priority":            {batchWith(t, "job_priority", 1.5), 400, malformed + "job_priority: 1.5 was sent, a text or a whole number of 64 bits is allowed"},
		"walltime":            {batchWith(t, "application.walltime", "1:2:3"), 400, malformed + `application.walltime: "1:2:3" was sent, a time above 00:00:00 as HH:MM:SS is allowed`},
		"walltime 0":          {batchWith(t, "application.walltime", "00:00:00"), 400, malformed + "application.walltime: "},
		"walltime minutes":    {batchWith(t, "application.walltime", "00:60:00"), 400, malformed + "application.walltime: "},
		"walltime sign":       {batchWith(t, "application.walltime", "-1:00:00"), 400, malformed + "application.walltime: "},
		"walltime huge":       {batchWith(t, "application.walltime", "9999999:00:00"), 400, malformed + "application.walltime: "},
		"walltime number":     {batchWith(t, "application.walltime", 60), 400, malformed + "application.walltime: 60 was sent, a text is allowed"},
		"geometry":            {batchWith(t, "application.geometry", "big"), 400, malformed + `application.geometry: "big" was sent, WIDTHxHEIGHT in pixels is allowed, for example 1920x1080`},
		"geometry 0":          {batchWith(t, "application.geometry", "0x5"), 400, malformed + "application.geometry: "},
		"ipaddr": {
			batchWith(t, "application.ipaddr", "10.0.0.1x"), 400,
			malformed + `application.ipaddr: "10.0.0.1x" was sent, an IP address is allowed`,
		},
		"publicIP":        {batchWith(t, "publicip", "so"), 400, malformed + `publicIP: "so" was sent, true or false is allowed`},
		"vault password":  {batchWith(t, "vault.password", []string{"hunter2"}), 400, malformed + "vault.password: a list was sent, a text is allowed"},
		"password's line": {batchWith(t, "vault.password", "hunter2\n"), 400, malformed + "vault.password: a text was sent, a text without control characters is allowed"},
		"vault objects":   {batchWith(t, "vault.objects", "a"), 400, malformed + `vault.objects: "a" was sent, a list of texts is allowed`},
		"vault object":    {batchWith(t, "vault.objects", []any{"a", 1, nil}), 400, malformed + "vault.objects[1]: 1 was sent, a text is allowed; vault.objects[2]: null was sent, a text is allowed"},
		"an object's NUL": {batchWith(t, "vault.objects", []any{"a\x00"}), 400, malformed + "vault.objects[0]: a text with a NUL byte was sent, a text without one is allowed"},
		"many objects":    {batchWith(t, "vault.objects", make([]string, 1001)), 400, malformed + "vault.objects: a list of 1001 was sent, at most 1000 are allowed"},
		"a long object":   {batchWith(t, "vault.objects", []string{strings.Repeat("k", 1025)}), 400, malformed + "vault.objects[0]: a text of 1025 bytes was sent, at most 1024 are allowed"},
		"vault domain":    {batchWith(t, "vault.domain", "d"), 400, malformed + `vault.domain: "d" was sent, nothing is allowed: this server has no domains of vaults`},
		"vault list":      {batchWith(t, "vault", []int{1}), 400, malformed + "vault: a list was sent, an object is allowed"},
		"vault readonly":  {batchWith(t, "vault.readonly", 2), 400, malformed + "vault.readonly: 2 was sent, true or false is allowed"},
		"root by uid":     {batchWith(t, "identity.uid", 0), 400, malformed + "identity.uid: 0 was sent, a whole number from 1 to 2147483647 is allowed"},
		"root by gid":     {batchWith(t, "identity.gid", "0"), 400, malformed + `identity.gid: "0" was sent, a whole number from 1 to 2147483647 is allowed`},
		"root by name":    {batchWith(t, "identity.username", "root"), 400, malformed + `identity.username: "root" was sent, up to 32 of a-z A-Z 0-9 _ . - are allowed, a letter or _ first, and not root`},
		"user with colon": {batchWith(t, "identity.username", "a:b"), 400, malformed + "identity.username: "},
		"user is a list":  {batchWith(t, "user", []int{1}), 400, malformed + "user: a list was sent, an object is allowed"},
		"key is a number": {batchWith(t, "user.apikey", 123456789), 400, malformed + "user.apikey: a number was sent, a text is allowed"},
		"two problems":    {batchWith(t, "job_label", 1, "machine.nodes", 30000), 400, malformed + "job_label: 1 was sent, a text is allowed; machine.nodes: 30000 was sent, a whole number from 1 to 10000 is allowed"},

		"no user":         {batchWith(t, "user", nil), 400, malformed + "user.username: nothing was sent, the name of a user is required"},
		"no key":          {batchWith(t, "user.apikey", ""), 400, malformed + "user.apikey: nothing was sent, the user's API key is required"},
		"wrong key":       {batchWith(t, "user.apikey", "nope"), 401, "Not Authorized"},
		"unknown user":    {batchWith(t, "user.username", "bob"), 401, "Not Authorized"},
		"impossible user": {batchWith(t, "user.username", "a/../b"), 401, "Not Authorized"},
		"no image":        {batchWith(t, "container.image", nil), 400, "Invalid container in request: container.image: nothing was sent, the name of an image is required"},
	}
	a := newTestAPI(t)
	for name, tt := range tests {
		for _, path := range []string{"/jarvice/batch", "/jarvice/submit"} {
			got := a.send(http.MethodPost, path, "application/json", tt.body)
			if text := got.errorText(t); got.status != tt.status || tt.text != "" && !matches(text, tt.text) {
				t.Errorf("%s, %s: status %d: %s; want %d: %s", name, path, got.status, text, tt.status, tt.text)
			}
		}
	}
	if a.batch.Submission.Machine.Type != "" {
		t.Errorf("control was asked for %+v", a.batch)
	}
}

func TestSubmitAndBatchDiffer(t *testing.T) {
	tests := map[string]struct {
		path, body string
		status     int
		text       string
	}{
		"batch without container": {"/jarvice/batch", batchWith(t, "container", nil), 400, "Invalid container in request: container: nothing was sent, an object is required"},
		"submit of nothing":       {"/jarvice/submit", batchWith(t, "container", nil), 400, "Missing or Malformed API Syntax: app: nothing was sent, an application or a container is required"},
		"no such application":     {"/jarvice/submit", batchWith(t, "app", "nope", "application.command", "Run"), 404, "Application Not Found"},
		"no command":              {"/jarvice/submit", batchWith(t, "app", "openfoam"), 400, "Missing or Malformed API Syntax: application.command: nothing was sent, a command of the application is required"},
		"batch of a script":       {"/jarvice/batch", batchWith(t, "hpc", map[string]any{}), 400, "Missing or Malformed API Syntax: hpc: an object was sent, nothing is allowed: /jarvice/submit takes the scripts of queues"},
		"application, wrong key":  {"/jarvice/submit", batchWith(t, "app", "openfoam", "application.command", "Run", "user.apikey", "x"), 401, "Not Authorized"},
	}
	a := newTestAPI(t)
	for name, tt := range tests {
		got := a.send(http.MethodPost, tt.path, "application/json", tt.body)
		if text := got.errorText(t); got.status != tt.status || text != tt.text {
			t.Errorf("%s: status %d: %s", name, got.status, text)
		}
	}
}

func TestSubmissionCredentialsElsewhere(t *testing.T) {
	body := batchWith(t, "user", nil)
	a := newTestAPI(t)
	if got := a.send(http.MethodPost, "/jarvice/batch?username=ada&apikey=adaskey1", "", body); got.status != http.StatusOK {
		t.Errorf("in the query: status %d: %s", got.status, got.body)
	}
	req := a.request(http.MethodPost, "/jarvice/batch?username=ada", strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+testKey)
	if got := a.do(req); got.status != http.StatusOK {
		t.Errorf("bearer: status %d: %s", got.status, got.body)
	}
}

func TestIdempotencyKey(t *testing.T) {
	a := newTestAPI(t)
	hashOf := func(key, body string) string {
		req := a.request(http.MethodPost, "/jarvice/batch", strings.NewReader(body))
		req.Header.Set("Idempotency-Key", key)
		if got := a.do(req); got.status != http.StatusOK {
			t.Fatalf("status %d: %s", got.status, got.body)
		}
		if a.batch.IdempotencyKey != key {
			t.Errorf("key %q became %q", key, a.batch.IdempotencyKey)
		}
		return a.batch.RequestHash
	}
	first := hashOf("k-1", validBatch)
	if same := hashOf("k-2", batchWith(t, "machine.nodes", "1", "unknown", 5)); same != first {
		t.Error("two submissions that mean the same have two hashes")
	}
	for name, body := range map[string]string{
		"script": batchWith(t, "container.jobscript", "echo ho"),
		"secret": batchWith(t, "container.pullsecret", "x"),
		"label":  batchWith(t, "job_label", "x"),
	} {
		if hashOf(strings.Repeat("~", 255), body) == first {
			t.Errorf("another %s has the same hash", name)
		}
	}
	for _, key := range []string{strings.Repeat("k", 256), "a b", "ä"} {
		req := a.request(http.MethodPost, "/jarvice/batch", strings.NewReader(validBatch))
		req.Header.Set("Idempotency-Key", key)
		if got := a.do(req); got.status != http.StatusBadRequest {
			t.Errorf("key %q: status %d: %s", key, got.status, got.body)
		}
	}
	a.send(http.MethodPost, "/jarvice/batch", "", validBatch)
	if a.batch.IdempotencyKey != "" || a.batch.RequestHash != "" {
		t.Errorf("without the header control gets %+v", a.batch)
	}
}

// TestLargeBodies checks that a body over the limit is answered, however its length is told.
func TestLargeBodies(t *testing.T) {
	a := newTestAPI(t)
	script := strings.Repeat("x", 7<<20)
	if got := a.send(http.MethodPost, "/jarvice/batch", "", batchWith(t, "container.jobscript", script)); got.status != http.StatusOK {
		t.Errorf("7 MiB: status %d: %s", got.status, got.body)
	}
	if len(a.batch.Submission.Container.JobScript) != len(script) {
		t.Errorf("the script came with %d bytes", len(a.batch.Submission.Container.JobScript))
	}
	large := batchWith(t, "container.jobscript", strings.Repeat("x", 10<<20))
	for name, req := range map[string]*http.Request{
		"length":  a.request(http.MethodPost, "/jarvice/batch", strings.NewReader(large)),
		"chunked": a.request(http.MethodPost, "/jarvice/batch", struct{ *strings.Reader }{strings.NewReader(large)}),
	} {
		got := a.do(req)
		if text := got.errorText(t); got.status != 413 || text != "Request too large: a body may have at most 8388608 bytes" {
			t.Errorf("%s: status %d: %s", name, got.status, text)
		}
	}
}
