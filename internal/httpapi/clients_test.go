package httpapi

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// clientRequest is a request in the shape in which a real client sends it, and what that client does with the answer.
type clientRequest struct {
	method, path string
	header       map[string]string
	body         string
	// needs is what the client needs of the answer besides a 200 with exactly its content type.
	contentType string
	needs       func(t *testing.T, body string)
}

const (
	form     = "application/x-www-form-urlencoded"
	keyFirst = "?apikey=adaskey1&username=ada"
)

// clientRequests are those of the public clients of the API, by client and operation.
func clientRequests(t *testing.T) map[string]clientRequest {
	t.Helper()
	const json, text = contentJSON, contentText
	plain := map[string]string{"Accept": "*/*"}
	python := map[string]string{"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "OpenAPI-Generator/1.0.14/python"}
	java := map[string]string{"Accept": "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", "Content-Type": json}
	labelled := func(label string) map[string]string { return map[string]string{"Accept": "*/*", "Content-Type": label} }
	return map[string]clientRequest{
		// The generated Python client: GET, the key first, Python's True, strict types.
		"python status":   {"GET", "/jarvice/status" + keyFirst + "&number=9", python, "", json, oneStatus("9")},
		"python jobs":     {"GET", "/jarvice/jobs" + keyFirst + "&completed=True", python, "", json, jobEntries(9)},
		"python teamjobs": {"GET", "/jarvice/teamjobs" + keyFirst + "&completed=False", python, "", json, jobEntries(7, 8)},
		"python users":    {"GET", "/jarvice/teamusers" + keyFirst, python, "", json, keys("ada", "bob")},
		"python signal":   {"GET", "/jarvice/signal" + keyFirst + "&number=8&signal=18", python, "", json, exactly(`{"signal":18,"pid":17}`)},
		"python action":   {"GET", "/jarvice/action" + keyFirst + "&action=refresh&number=8", python, "", json, exactly(`{"status":"action requested"}`)},
		"python info":     {"GET", "/jarvice/info" + keyFirst + "&number=8", python, "", json, keys("about", "actions", "address", "help", "password", "url")},
		"python metrics":  {"GET", "/jarvice/metrics" + keyFirst + "&number=8", python, "", json, keys("itemized", "summary")},
		"python events":   {"GET", "/jarvice/events" + keyFirst + "&number=7", python, "", text, noJSON},
		"python machines": {"GET", "/jarvice/machines" + keyFirst + "&name=all", python, "", json, keys("n0", "n1")},
		"python live":     {"GET", "/jarvice/live", python, "", json, exactly(`{"status":"OK"}`)},

		"python apps":     {"GET", "/jarvice/apps" + keyFirst + "&name=all", python, "", json, appEntries("my-app_1", "openfoam")},
		"python public":   {"GET", "/jarvice/apps?name=all&version=2", python, "", json, appEntries("openfoam")},
		"python appdef":   {"GET", "/jarvice/appdef" + keyFirst + "&name=openfoam", python, "", json, appDef},
		"python queues":   {"GET", "/jarvice/queues" + keyFirst + "&info=1&name=all", python, "", json, queueList("big", "default")},
		"python connect":  {"GET", "/jarvice/connect" + keyFirst + "&number=8", python, "", json, keys("address", "password")},
		"python submit":   {"POST", "/jarvice/submit", labelled(json), validApplication, json, submittedJob},
		"python validate": {"POST", "/jarvice/validate", labelled(json), testAppDef, json, exactly(`{"valid":true}`)},

		// The newer command line: a base address that ends in /api/, and its own credentials in what it sends again.
		"newcli submit": {
			"POST", "/api//jarvice/submit", labelled(json),
			batchWith(t, "job_label", "x", "application", map[string]any{"command": "Batch", "geometry": "1280x720", "parameters": map[string]any{}}),
			json, submittedJob,
		},
		"newcli application": {
			"POST", "/api//jarvice/submit", labelled(json),
			`{"app":"openfoam","application":{"command":"Run","geometry":"1280x720","parameters":{"-z":2.5,"flag":true,"none":null}},` +
				`"machine":{"nodes":1,"type":"n0"},"user":{"apikey":"adaskey1","username":"ada"},"vault":{"force":false,"name":"ephemeral","readonly":false}}`,
			json, submittedJob,
		},
		"newcli apps":      {"GET", "/api//jarvice/apps" + keyFirst + "&name=openfoam", python, "", json, appEntries("openfoam")},
		"newcli no app":    {"GET", "/api//jarvice/apps" + keyFirst + "&name=nope", python, "", json, appEntries()},
		"newcli connect":   {"GET", "/api//jarvice/connect" + keyFirst + "&number=8", python, "", json, keys("address", "password")},
		"newcli output":    {"GET", "/api//jarvice/output" + keyFirst + "&number=9&lines=0", python, "", text, noJSON},
		"newcli tail":      {"GET", "/api//jarvice/tail" + keyFirst + "&number=8&lines=0", python, "", text, noJSON},
		"newcli shutdown":  {"GET", "/api//jarvice/shutdown" + keyFirst + "&number=7", python, "", json, exactly(`{"status":"shutdown requested"}`)},
		"newcli terminate": {"GET", "/api//jarvice/terminate" + keyFirst + "&name=" + jobName, python, "", json, exactly(`{"status":"terminated"}`)},

		// The older command line: GET with + for blanks, and the content type byte by byte.
		"oldcli status":  {"GET", "/jarvice/status?username=ada&apikey=adaskey1&number=8", plain, "", json, oneStatus("8")},
		"oldcli jobs":    {"GET", "/jarvice/jobs?username=ada&apikey=adaskey1&label=my+label", plain, "", json, jobEntries(7, 8)},
		"oldcli tail":    {"GET", "/jarvice/tail?username=ada&apikey=adaskey1&number=8", plain, "", text, exactly("a\nb\nc\n")},
		"oldcli apps":    {"GET", "/jarvice/apps?username=ada&apikey=adaskey1", plain, "", json, appEntries("my-app_1", "openfoam")},
		"oldcli connect": {"GET", "/jarvice/connect?username=ada&apikey=adaskey1&number=8", plain, "", json, keys("address", "password")},
		"oldcli application": {
			"POST", "/jarvice/submit", labelled(json),
			change(t, validApplication, `"checkedout":false`, `"checkedout":true`, `"vault":{`, `"licenses":"","vault":{"password":"","objects":[],`),
			json, submittedJob,
		},
		"oldcli both": {"GET", "/jarvice/shutdown?username=ada&apikey=adaskey1&number=8&name=" + jobName, plain, "", json, exactly(`{"status":"shutdown requested"}`)},
		"oldcli submit": {
			"POST", "/jarvice/submit", labelled(json), batchWith(t, "staging", false, "checkedout", false, "machine.nodes", nil), json, submittedJob,
		},

		// The front ends of batch systems: GET with sorted keys, and numbers as keys of the listing.
		"hpc live":     {"GET", "/jarvice/live", nil, "", json, keys("status")},
		"hpc machines": {"GET", "/jarvice/machines?apikey=adaskey1&username=ada", nil, "", json, keys("n0", "n1")},
		"hpc sinfo":    {"GET", "/jarvice/queues?apikey=adaskey1&info=true&username=ada", nil, "", json, queuesByName("big", "default")},
		"hpc queue":    {"GET", "/jarvice/queues?apikey=adaskey1&info=true&name=big&username=ada", nil, "", json, queuesByName("big")},
		"hpc qconf":    {"GET", "/jarvice/queues?apikey=adaskey1&username=ada", nil, "", json, exactly(`["big","default"]`)},
		"hpc sbatch":   {"POST", "/jarvice/submit", labelled(json), validScript, json, submittedJob},
		"hpc qsub": {
			"POST", "/jarvice/submit", labelled(json), change(t, validScript, `"job_label":"SBATCH"`, `"job_label":"SGE","licenses":"x:1","job_project":"p"`,
				`"ZWNobyBoaQo="`, `""`, `"mc_name":""`, `"mc_name":"n1"`, `"type":"n1"`, `"type":""`), json, submittedJob,
		},
		"hpc squeue":    {"GET", "/jarvice/jobs?apikey=adaskey1&username=ada", nil, "", json, jobEntries(7, 8)},
		"hpc qacct":     {"GET", "/jarvice/jobs?apikey=adaskey1&completed=true&username=ada", nil, "", json, jobEntries(9)},
		"hpc scancel":   {"GET", "/jarvice/shutdown?apikey=adaskey1&number=7&username=ada", nil, "", json, keys("status")},
		"hpc scancel-f": {"GET", "/jarvice/terminate?apikey=adaskey1&number=8&username=ada", nil, "", json, keys("status")},

		// Nextflow's plugin: a POST with the parameters in the query, labelled as JSON, with an empty body.
		"nextflow batch": {
			"POST", "/jarvice/batch", java, `{"container":{"jobscript":"IyEvYmluL2Jhc2gKZWNobyBoaQo=","image":"library/debian:12"},` +
				`"vault":null,"machine":{"type":"n0","nodes":1},"job_label":"nf-hello","user":{"username":"ada","apikey":"adaskey1"}}`,
			json, submittedJob,
		},
		"nextflow status":   {"POST", "/jarvice/status?username=ada&apikey=adaskey1&number=8", java, "", json, oneStatus("8")},
		"nextflow output":   {"POST", "/jarvice/output?username=ada&apikey=adaskey1&number=9&lines=0", java, "", text, noJSON},
		"nextflow shutdown": {"POST", "/jarvice/shutdown?username=ada&apikey=adaskey1&number=8", java, "", json, keys("status")},

		// The scripts of a patched Nextflow: neither body nor label.
		"nxf jobs": {"POST", "/jarvice/jobs?username=ada&apikey=adaskey1&label=my+label&exactmatch=True&all=True", plain, "", json, jobEntries(7, 8, 9)},
		"nxf application": {
			"POST", "/jarvice/submit", labelled(json), change(t, validApplication, `"gen_sshkey":true`, `"publicip":false,"job_priority":"normal"`),
			json, submittedJob,
		},
		"nxf submit": {
			"POST", "/jarvice/batch", labelled(json), batchWith(t, "publicip", false, "container.pullsecret", "eyJhdXRocyI6\ne30=", "job_priority", "normal"),
			json, submittedJob,
		},

		// A batch service: urlencoded forms, a doubled slash, thousands with commas.
		"dragen submit": {
			"POST", "//jarvice/submit", labelled(json),
			batchWith(t, "application", map[string]any{"command": "x", "geometry": "1,920x1,080"}, "job_priority", ""), json, submittedJob,
		},
		"dragen machines":  {"POST", "/jarvice/machines", labelled(form), "apikey=adaskey1&username=ada", json, keys("n0", "n1")},
		"dragen status":    {"POST", "/jarvice/status", labelled(form), "apikey=adaskey1&number=9&username=ada", json, oneStatus("9")},
		"dragen tail":      {"POST", "/jarvice/tail", labelled(form), "apikey=adaskey1&lines=100&number=8&username=ada", text, exactly("a\nb\nc\n")},
		"dragen terminate": {"POST", "/jarvice/terminate", labelled(form), "apikey=adaskey1&number=8&username=ada", json, exactly(`{"status":"terminated"}`)},

		// Shell scripts around curl: JSON labelled as a form, and empty parameters.
		"curl validate":    {"POST", "/jarvice/validate", labelled(form), testAppDef, json, exactly(`{"valid":true}`)},
		"curl application": {"POST", "/jarvice/submit", labelled(form), strings.ReplaceAll(validApplication, `,"`, `, "`), json, submittedJob},
		"curl connect":     {"GET", "/jarvice/connect?username=ada&apikey=adaskey1&number=8", plain, "", json, keys("address", "password")},
		"curl submit":      {"POST", "/jarvice/submit", labelled(form), strings.ReplaceAll(validBatch, ",", ", "), json, submittedJob},
		"curl info":        {"GET", "/jarvice/info?username=ada&apikey=adaskey1&number=8", plain, "", json, keys("about", "actions", "address", "help", "password", "url")},
		"curl action":      {"GET", "/jarvice/action?username=ada&apikey=adaskey1&number=8&action=refresh", plain, "", json, keys("status")},
		"curl call":        {"POST", "/jarvice/status", labelled(form), `{"username":"ada","apikey":"adaskey1","name":"","number":"8"}`, json, oneStatus("8")},
		"curl shutdown":    {"POST", "/jarvice/shutdown", labelled(form), "username=ada&apikey=adaskey1&name=" + jobName, json, keys("status")},
	}
}

const jobName = "20230906104200-995TB-jarvice-batch-ada_s1"

func TestRequestsOfClients(t *testing.T) {
	for name, request := range clientRequests(t) {
		t.Run(name, func(t *testing.T) {
			a := newTestAPI(t)
			req := a.request(request.method, request.path, nil)
			if request.method == http.MethodPost {
				req = a.request(request.method, request.path, strings.NewReader(request.body))
			}
			for field, value := range request.header {
				req.Header.Set(field, value)
			}
			got := a.do(req)
			if types := got.header.Values("Content-Type"); got.status != 200 || !slices.Equal(types, []string{request.contentType}) {
				t.Fatalf("status %d, Content-Type %q: %s", got.status, types, got.body)
			}
			request.needs(t, got.body)
		})
	}
}

// TestErrorsOfClients checks what clients make of errors: one decodes all of them as texts, another looks for the member error only.
func TestErrorsOfClients(t *testing.T) {
	a := newTestAPI(t)
	hpcJob := change(t, validScript, `"openfoam"`, `"jarvice-ubuntu"`)
	for name, tt := range map[string]struct {
		got    answer
		status int
	}{
		"a job of an unknown image":  {a.send(http.MethodPost, "/jarvice/submit", contentJSON, hpcJob), 404},
		"poll of info before it ran": {a.get("/jarvice/info?username=ada&apikey=adaskey1&number=7"), 404},
		"poll of an unknown job":     {a.send(http.MethodPost, "/jarvice/status?username=ada&apikey=adaskey1&number=4711", contentJSON, ""), 404},
		"validation of no AppDef":    {a.send(http.MethodPost, "/jarvice/validate", form, "AppDef.json"), 400},
		"script to an unknown queue": {a.get("/jarvice/queues?apikey=adaskey1&info=true&name=nope&username=ada"), 404},
		"connect before it ran":      {a.get("/jarvice/connect?username=ada&apikey=adaskey1&number=7"), 404},
		"unescaped key":              {a.get("/jarvice/status?username=ada&apikey=a;b+c&number=8"), 401},
	} {
		if text := tt.got.errorText(t); tt.got.status != tt.status || text == "" {
			t.Errorf("%s: status %d: %s", name, tt.got.status, text)
		}
	}
}

// decode decodes an answer as clients do, and checks that it is an object without the member error.
func decode(t *testing.T, body string) map[string]json.RawMessage {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(body), &members); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if _, there := members["error"]; there {
		t.Errorf("a success with an error: %s", body)
	}
	return members
}

func exactly(want string) func(*testing.T, string) {
	return func(t *testing.T, body string) {
		t.Helper()
		if body != want {
			t.Errorf("answer %s, want %s", body, want)
		}
	}
}

func keys(want ...string) func(*testing.T, string) {
	return func(t *testing.T, body string) {
		t.Helper()
		if got := slices.Sorted(maps.Keys(decode(t, body))); !slices.Equal(got, want) {
			t.Errorf("members %q, want %q", got, want)
		}
	}
}

// noJSON holds for texts: a client decodes what happens to be JSON, and mangles it.
func noJSON(t *testing.T, body string) {
	t.Helper()
	if json.Valid([]byte(body)) || strings.Contains(body, "\r") {
		t.Errorf("text %q", body)
	}
}

// submittedJob decodes the number as clients written in Go do.
func submittedJob(t *testing.T, body string) {
	t.Helper()
	var job struct {
		Name   *string `json:"name"`
		Number *int    `json:"number"`
	}
	if err := json.Unmarshal([]byte(body), &job); err != nil || job.Name == nil || job.Number == nil {
		t.Errorf("%v: %s", err, body)
	}
	decode(t, body)
}

func oneStatus(number string) func(*testing.T, string) {
	return func(t *testing.T, body string) {
		t.Helper()
		entry := decode(t, body)[number]
		strict(t, entry, map[string]any{
			"job_name": "", "job_status": "", "job_substatus": 0, "job_start_time": 0, "job_end_time": 0, "job_submit_time": 0,
			"job_application": "", "job_command": "", "job_project": "",
		})
	}
}

// queuesByName decodes queues as the front ends of batch systems do.
func queuesByName(want ...string) func(*testing.T, string) {
	return func(t *testing.T, body string) {
		t.Helper()
		keys(want...)(t, body)
		for _, queue := range decode(t, body) {
			strict(t, queue, map[string]any{"name": "", "app": "", "machine": "", "size": 0})
		}
	}
}

// queueList decodes queues as the generated client does.
func queueList(want ...string) func(*testing.T, string) {
	return func(t *testing.T, body string) {
		t.Helper()
		var queues []struct{ Name string }
		if err := json.Unmarshal([]byte(body), &queues); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		var got []string
		for _, q := range queues {
			got = append(got, q.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("queues %q, want %q", got, want)
		}
	}
}

// appEntries decodes a listing of applications as the generated client does.
func appEntries(want ...string) func(*testing.T, string) {
	return func(t *testing.T, body string) {
		t.Helper()
		keys(want...)(t, body)
		for _, entry := range decode(t, body) {
			strict(t, entry, map[string]any{"id": "", "arch": "", "src": "", "walltime": "", "repo": "", "updated": 0, "data": nil})
			members := decode(t, string(entry))
			if owner := string(members["owner"]); owner != "null" {
				t.Errorf("owner is %s", owner)
			}
			appDef(t, string(members["data"]))
		}
	}
}

// appDef decodes an AppDef as the generated client does, which wants texts where the files have numbers.
func appDef(t *testing.T, body string) {
	t.Helper()
	strict(t, json.RawMessage(body), map[string]any{"name": "", "description": "", "author": "", "appdefversion": 0})
	run := decode(t, string(decode(t, string(decode(t, body)["commands"]))["Run"]))
	parameters := decode(t, string(run["parameters"]))
	strict(t, parameters["-z"], map[string]any{"step": "", "type": ""})
	strict(t, parameters["-f"], map[string]any{"size": "", "target": ""})
}

// jobEntries decodes a listing by number, and each entry with the kinds that clients insist on.
func jobEntries(numbers ...int) func(*testing.T, string) {
	return func(t *testing.T, body string) {
		t.Helper()
		var entries map[int]json.RawMessage
		if err := json.Unmarshal([]byte(body), &entries); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		if got := slices.Sorted(maps.Keys(entries)); !slices.Equal(got, numbers) {
			t.Errorf("jobs %d, want %d", got, numbers)
		}
		for _, entry := range entries {
			strict(t, entry, map[string]any{
				"job_status": "", "job_substatus": 0, "job_label": "", "job_application": "", "job_owner_username": "", "job_payer": "",
				"job_submit_time": 0, "job_dashboard_visible": 0, "job_nodes": "", "job_stats": nil, "job_api_submission": nil,
			})
			members := decode(t, string(entry))
			if string(members["job_walltime"]) == "null" {
				t.Errorf("a walltime of null: %s", entry)
			}
			strict(t, decode(t, string(members["job_api_submission"]))["machine"], map[string]any{"type": "", "nodes": 0})
			strict(t, members["job_stats"], map[string]any{"queue_time": 0, "compute_time": 0})
		}
	}
}

// strict checks that members are there and of the kinds of the examples, with whole numbers as digits only.
func strict(t *testing.T, object json.RawMessage, kinds map[string]any) {
	t.Helper()
	members := decode(t, string(object))
	for name, kind := range kinds {
		raw, there := members[name]
		var text string
		var number int
		switch kind.(type) {
		case string:
			there = there && json.Unmarshal(raw, &text) == nil && raw[0] == '"'
		case int:
			there = there && json.Unmarshal(raw, &number) == nil && raw[0] != 'n'
		}
		if !there {
			t.Errorf("%s is %s", name, raw)
		}
	}
}

// TestEncodings checks that a client that takes no compression gets none.
func TestEncodings(t *testing.T) {
	a := newTestAPI(t)
	req := a.request(http.MethodGet, "/jarvice/jobs"+keyFirst, nil)
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.Header.Get("Content-Encoding") != "" || body[0] != '{' {
		t.Errorf("%v: %s", err, body)
	}
}
