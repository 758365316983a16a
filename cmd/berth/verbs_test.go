package main

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

const jobsAnswer = `{
 "9":{"job_name":"n9","job_status":"SUBMITTED","job_substatus":5,"job_substatus_text":"Pulling the image: 3 of 9 MB","job_project":"p1",
  "job_submit_time":1791283320,"job_start_time":0,"job_end_time":0,"job_api_submission":{"machine":{"type":"n1","nodes":2}}},
 "100":{"job_name":"n100","job_status":"COMPLETED","job_substatus":0,"job_submit_time":1791283320,"job_start_time":1791283350,
  "job_end_time":1791283367,"job_walltime":"00:00:17","job_api_submission":{"machine":{"type":"n0","nodes":1}}},
 "12":{"job_name":"evil\u001b[31m","job_status":"PROCESSING STARTING","job_substatus":0,"job_submit_time":1791283320,
  "job_start_time":1791283350,"job_api_submission":{"machine":{"type":"n0","nodes":1}}}}`

const machinesAnswer = `{"n1":{"mc_name":"n1","mc_description":"half of it","mc_cores":2,"mc_ram":8,"mc_gpus":0,"mc_scale_min":1,"mc_scale_max":4},
"n0":{"mc_name":"n0","mc_description":"one core","mc_cores":1,"mc_ram":4,"mc_gpus":0,"mc_scale_min":1,"mc_scale_max":1}}`

const imagesAnswer = `{"images":[{"name":"docker.io/local/tools:latest","digest":"sha256:0123456789abcdef0123","size":12300000,"created":"2026-10-06T10:42:00Z"}]}`

func recorded() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"GET /v1/jobs/12":         text(200, queued),
		"GET /v1/jobs/13":         text(200, completed),
		"GET /v1/jobs/14":         text(200, failed),
		"GET /v1/jobs/12/output":  raw("one\n\xff\x00two\n"),
		"GET /jarvice/status":     text(200, `{"12":{}}`),
		"GET /jarvice/jobs":       text(200, jobsAnswer),
		"GET /jarvice/tail":       text(200, "last\n"),
		"GET /jarvice/output":     text(200, "two\n"),
		"POST /jarvice/shutdown":  text(200, `{"status":"shutdown requested"}`),
		"POST /jarvice/terminate": text(200, `{"status":"terminated"}`),
		"GET /jarvice/machines":   text(200, machinesAnswer),
		"GET /v1/images":          text(200, imagesAnswer),
		"DELETE /v1/images":       text(200, `{"status":"removed"}`),
		"POST /jarvice/batch":     text(200, `{"name":"n12","number":12}`),
		"POST /jarvice/submit":    text(200, `{"name":"n12","number":12}`),
		"POST /v1/images/pull":    text(200, `{"progress":"3 of 9 MB"}`+"\n"+imagesAnswer),
	}
}

// TestVerbs holds what a person reads.
func TestVerbs(t *testing.T) {
	t.Parallel()
	f := newFake(t, recorded())
	for name, tc := range map[string]struct {
		args []string
		want result
	}{
		"status of a queued job": {
			[]string{"status", "12"},
			result{Stdout: `job           12
name          20261006104200-995TB-jarvice-batch-ada_s1
status        SUBMITTED
state         queued
waits for     Waiting for resources
owner         ada
label         night run
application   jarvice-batch Batch
image         docker.io/local/tools:latest
machine       n1, 2 nodes
submitted     2026-10-06 12:42:00
`},
		},
		"status of an ended job by name": {
			[]string{"status", "20261006104200-995TB-jarvice-batch-ada_s1", "14"},
			result{Stdout: `job           12
name          20261006104200-995TB-jarvice-batch-ada_s1
status        SUBMITTED
state         queued
waits for     Waiting for resources
owner         ada
label         night run
application   jarvice-batch Batch
image         docker.io/local/tools:latest
machine       n1, 2 nodes
submitted     2026-10-06 12:42:00

job           12
name          n12
status        COMPLETED WITH ERROR
state         failed
how it ended  the command exited with code 3
owner         ada
machine       n0, 1 node
submitted     2026-10-06 12:42:00
started       2026-10-06 12:42:30
ended         2026-10-06 12:42:47
walltime      00:00:17
`},
		},
		"status as JSON": {
			[]string{"status", "13", "--json"},
			result{Stdout: `{
  "number": 13,
  "name": "n13",
  "status": "COMPLETED",
  "state": "completed",
  "machine": "n0",
  "nodes": 1,
  "submitted": "2026-10-06T10:42:00Z",
  "started": "2026-10-06T10:42:30Z",
  "ended": "2026-10-06T10:42:47Z",
  "walltime_seconds": 17,
  "end": {
    "reason": "exited",
    "exit_code": 0,
    "signal": 0,
    "by": "",
    "detail": ""
  }
}
`},
		},
		"jobs": {
			[]string{"jobs", "--all"},
			result{Stdout: `NUMBER  NAME       STATUS               WAITS FOR                     MACHINE  SUBMITTED            TIME
9       n9         SUBMITTED            Pulling the image: 3 of 9 MB  n1 x 2   2026-10-06 12:42:00  -
12      evil` + "\uFFFD" + `[31m  PROCESSING STARTING  -                             n0       2026-10-06 12:42:00  00:17:30
100     n100       COMPLETED            -                             n0       2026-10-06 12:42:00  00:00:17
`},
		},
		"jobs of a project as JSON": {
			[]string{"jobs", "--project", "p1", "--json"},
			result{Stdout: `{
  "9": {
    "job_name": "n9",
    "job_status": "SUBMITTED",
    "job_substatus": 5,
    "job_substatus_text": "Pulling the image: 3 of 9 MB",
    "job_project": "p1",
    "job_submit_time": 1791283320,
    "job_start_time": 0,
    "job_end_time": 0,
    "job_api_submission": {
      "machine": {
        "type": "n1",
        "nodes": 2
      }
    }
  }
}
`},
		},
		"tail":                   {[]string{"tail", "12"}, result{Stdout: "last\n"}},
		"output byte for byte":   {[]string{"output", "14"}, result{Stdout: "one\n\xff\x00two\n"}},
		"output, last lines":     {[]string{"output", "14", "-n", "1"}, result{Stdout: "two\n"}},
		"wait for a good end":    {[]string{"wait", "13"}, result{Stderr: "job 13: COMPLETED: the command exited with code 0, after 00:00:17\n"}},
		"wait quietly":           {[]string{"wait", "-q", "14"}, result{Code: 3}},
		"shutdown":               {[]string{"shutdown", "12", "n13"}, result{Stdout: "job 12: shutdown requested\njob n13: shutdown requested\n"}},
		"terminate":              {[]string{"terminate", "12"}, result{Stdout: "job 12: terminated\n"}},
		"terminate as JSON":      {[]string{"terminate", "12", "--json"}, result{Stdout: "{\n  \"job\": \"12\",\n  \"status\": \"terminated\"\n}\n"}},
		"image remove":           {[]string{"image", "remove", "x"}, result{Stdout: "removed x\n"}},
		"version":                {[]string{"version"}, result{Stdout: "berth v1.2.3\n"}},
		"version as a flag":      {[]string{"--version"}, result{Stdout: "berth v1.2.3\n"}},
		"version as JSON":        {[]string{"version", "--json"}, result{Stdout: "{\n  \"version\": \"v1.2.3\"\n}\n"}},
		"completion of jobs":     {[]string{"__complete", "wait", ""}, result{Stdout: "9\tSUBMITTED\n12\tPROCESSING STARTING\n100\tCOMPLETED\n:4\n", Stderr: "Completion ended with directive: ShellCompDirectiveNoFileComp\n"}},
		"completion of machines": {[]string{"__complete", "batch", "--machine", ""}, result{Stdout: "n0\tone core\nn1\thalf of it\n:4\n", Stderr: "Completion ended with directive: ShellCompDirectiveNoFileComp\n"}},
		"wait for two ends": {
			[]string{"wait", "13", "14"},
			result{Code: 3, Stderr: "job 13: COMPLETED: the command exited with code 0, after 00:00:17\n" +
				"job 12: COMPLETED WITH ERROR: the command exited with code 3, after 00:00:17\n"},
		},
		"machines": {
			[]string{"machines"},
			result{Stdout: `NAME  CORES  RAM   GPUS  NODES  DESCRIPTION
n0    1      4 GB  0     1      one core
n1    2      8 GB  0     1-4    half of it
`},
		},
		"image list": {
			[]string{"image", "list"},
			result{Stdout: `NAME                          DIGEST               SIZE   CREATED
docker.io/local/tools:latest  sha256:0123456789ab  12 MB  2026-10-06 12:42:00
`},
		},
		"image list as JSON": {
			[]string{"image", "list", "--json"},
			result{Stdout: `{
  "images": [
    {
      "name": "docker.io/local/tools:latest",
      "digest": "sha256:0123456789abcdef0123",
      "size": 12300000,
      "created": "2026-10-06T10:42:00Z"
    }
  ]
}
`},
		},
		"image pull": {
			[]string{"image", "pull", "local/tools"},
			result{Stdout: "docker.io/local/tools:latest sha256:0123456789ab 12 MB\n", Stderr: "local/tools: 3 of 9 MB\n"},
		},
		"image pull, quiet": {
			[]string{"image", "pull", "local/tools", "-q"},
			result{Stdout: "docker.io/local/tools:latest sha256:0123456789ab 12 MB\n"},
		},
		"batch":         {[]string{"batch", "--image", "x", "-c", "id"}, result{Stdout: "job 12 n12\n"}},
		"batch as JSON": {[]string{"batch", "--image", "x", "--json", "-c", "id"}, result{Stdout: "{\n  \"name\": \"n12\",\n  \"number\": 12\n}\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, tc.want, f.berth(t, tc.args...))
		})
	}
}

func TestMachinesAsJSON(t *testing.T) {
	t.Parallel()
	f := newFake(t, map[string]http.HandlerFunc{"GET /jarvice/machines": text(200, `{"n0":{"mc_name":"n0","mc_cores":1,"new":"<&>"}}`)})
	check(t, result{Stdout: "{\n  \"n0\": {\n    \"mc_name\": \"n0\",\n    \"mc_cores\": 1,\n    \"new\": \"<&>\"\n  }\n}\n"},
		f.berth(t, "machines", "--json", "n0"))
	check(t, []string{"GET /jarvice/machines?name=n0&username=ada"}, f.asked())
}

func TestAMachineTypeThatIsNotThere(t *testing.T) {
	t.Parallel()
	f := newFake(t, map[string]http.HandlerFunc{"GET /jarvice/machines": text(200, `{}`)})
	check(t, result{Code: 1, Stderr: "berth: machine type zz: Machine type not found (see them: berth machines)\n"}, f.berth(t, "machines", "zz"))
}

func TestFilters(t *testing.T) {
	t.Parallel()
	f := newFake(t, map[string]http.HandlerFunc{"GET /jarvice/jobs": text(200, `{}`)})
	want := result{Stdout: "NUMBER  NAME  STATUS  WAITS FOR  MACHINE  SUBMITTED  TIME\n"}
	check(t, want, f.berth(t, "jobs", "--completed", "--label", "a&b"))
	check(t, want, f.berth(t, "jobs"))
	check(t, []string{
		"GET /jarvice/jobs?completed=true&label=a%26b&username=ada",
		"GET /jarvice/jobs?username=ada",
	}, f.asked())
}

// TestErrors holds the one line that a person reads when something is wrong, and the exit code.
func TestErrors(t *testing.T) {
	t.Parallel()
	routes := recorded()
	routes["GET /jarvice/tail"] = text(404, `{"error":"Running job is not found"}`)
	routes["GET /jarvice/output"] = text(404, `{"error":"Finished job is not found"}`)
	routes["POST /jarvice/shutdown"] = text(404, `{"error":"Running job is not found"}`)
	routes["POST /jarvice/terminate"] = text(500, `{"error":"Internal error"}`)
	routes["POST /jarvice/batch"] = text(400, `{"error":"Missing or Malformed API Syntax: machine.type \"zz\" is not one of n0, n1"}`)
	routes["GET /jarvice/jobs"] = text(401, `{"error":"Unauthorized"}`)
	routes["GET /jarvice/machines"] = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "https://h/jarvice/machines")
		w.WriteHeader(http.StatusMovedPermanently)
	}
	routes["POST /v1/images/pull"] = text(200, `{"error":"no such image\n\u001b[2J"}`)
	f := newFake(t, routes)
	for name, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no such job": {[]string{"status", "99"}, 1, "berth: job 99: Not found (list your jobs: berth jobs --all)\n"},
		"no tail": {
			[]string{"tail", "12"},
			1,
			"berth: job 12: Running job is not found (only running jobs have a tail; follow it: berth tail -f 12; read it after its end: berth output 12)\n",
		},
		"no output yet": {
			[]string{"output", "12"},
			1,
			"berth: job 12: it has not ended (read what is there: berth tail 12; wait for its end: berth wait 12)\n",
		},
		"no last lines yet": {
			[]string{"output", "12", "-n", "5"},
			1,
			"berth: job 12: Finished job is not found (read what is there: berth tail 12; wait for its end: berth wait 12)\n",
		},
		"ended already": {
			[]string{"shutdown", "12", "13"},
			1,
			"berth: job 12: Running job is not found (it has ended already: berth status 12)\n" +
				"berth: job 13: Running job is not found (it has ended already: berth status 13)\n",
		},
		"server trouble": {
			[]string{"terminate", "12"}, 1, "berth: job 12: Internal error (try again; the log of berthd says more)\n",
		},
		"bad submission": {
			[]string{"batch", "--image", "x", "-c", "id"},
			1,
			"berth: Missing or Malformed API Syntax: machine.type \"zz\" is not one of n0, n1\n",
		},
		"bad key": {
			[]string{"jobs"},
			1,
			"berth: Unauthorized (check the account: --user and --apikey, BERTH_USER and BERTH_APIKEY, or --credentials)\n",
		},
		"redirect": {
			[]string{"machines"},
			1,
			"berth: the server points to another address, https://h/jarvice/machines (set that address with --url or BERTH_URL)\n",
		},
		"refused pull":     {[]string{"image", "pull", "x"}, 1, "berth: image x: no such image \uFFFD[2J\n"},
		"unknown verb":     {[]string{"fly"}, 2, "berth: unknown command \"fly\" for \"berth\" (see: berth --help)\n"},
		"unknown image":    {[]string{"image", "fly"}, 2, "berth: unknown command \"fly\" for \"berth image\" (see: berth image --help)\n"},
		"unknown flag":     {[]string{"jobs", "--x"}, 2, "berth: unknown flag: --x (see: berth jobs --help)\n"},
		"misspelt verb":    {[]string{"statsu"}, 2, "berth: unknown command \"statsu\" for \"berth\": did you mean status? (see: berth --help)\n"},
		"no number":        {[]string{"tail", "1", "-n", "x"}, 2, "berth: --lines takes a whole number, and not \"x\" (see: berth tail --help)\n"},
		"no duration":      {[]string{"admin", "user", "add", "x", "--expires", "5d"}, 2, "berth: --expires takes a duration such as 30s, 10m or 24h, and not \"5d\" (see: berth admin user add --help)\n"},
		"no nodes":         {[]string{"batch", "--image", "x", "-c", "id", "--nodes", "0"}, 2, "berth: --nodes 0: a job has at least one node (see: berth batch --help)\n"},
		"no job named":     {[]string{"wait"}, 2, "berth: give a JOB, its number or its name (see: berth wait --help)\n"},
		"job 0":            {[]string{"status", "0"}, 2, "berth: \"0\" is no job number (see: berth status --help)\n"},
		"tail of two":      {[]string{"tail", "1", "2"}, 2, "berth: give one JOB, its number or its name (see: berth tail --help)\n"},
		"tail as JSON":     {[]string{"tail", "1", "--json"}, 2, "berth: the output of a job is no JSON: leave --json out (see: berth tail --help)\n"},
		"negative lines":   {[]string{"output", "1", "-n", "-1"}, 2, "berth: --lines cannot be negative (see: berth output --help)\n"},
		"no image":         {[]string{"batch", "-c", "id"}, 2, "berth: --image is missing: which image the job runs in (see: berth batch --help)\n"},
		"two scripts":      {[]string{"batch", "--image", "x", "-c", "id", "s"}, 2, "berth: -c and \"s\" say both what to run: leave one out (see: berth batch --help)\n"},
		"command, no --":   {[]string{"batch", "--image", "x", "ls", "y"}, 2, "berth: put -- in front of a command with arguments, and nothing before it (see: berth batch --help)\n"},
		"JSON and follow":  {[]string{"batch", "--image", "x", "-c", "id", "-f", "--json"}, 2, "berth: --json and --follow would mix on stdout: use --json --wait, or leave one out (see: berth batch --help)\n"},
		"dry and wait":     {[]string{"batch", "--image", "x", "-c", "id", "--wait", "--dry-run"}, 2, "berth: --dry-run makes no job to wait for (see: berth batch --help)\n"},
		"rootfs, no name":  {[]string{"image", "import", "--rootfs", "f"}, 2, "berth: --rootfs FILE.tar needs one NAME for the image (see: berth image import --help)\n"},
		"all or completed": {[]string{"jobs", "--all", "--completed"}, 2, "berth: if any flags in the group [all completed] are set none of the others can be; [all completed] were all set (see: berth jobs --help)\n"},
		"no script file": {
			[]string{"batch", "--image", "x", "/none"},
			1,
			"berth: open /none: no such file or directory (to run a command instead of a script: -- /none, or -c)\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, result{Code: tc.code, Stderr: tc.want}, f.berth(t, tc.args...))
		})
	}
}

func TestNoServer(t *testing.T) {
	t.Parallel()
	f := newFake(t, nil)
	f.Close()
	got := f.berth(t, "machines")
	if got.Code != 1 || got.Stdout != "" {
		t.Errorf("code %d, stdout %q", got.Code, got.Stdout)
	}
	check(t, "berth: no answer from "+f.URL+": GET /jarvice/machines: dial tcp "+f.Listener.Addr().String()+
		": connect: connection refused (is berthd running there? --url and BERTH_URL say where it is)\n", got.Stderr)
}

func TestHelp(t *testing.T) {
	t.Parallel()
	f := newFake(t, nil)
	for _, args := range [][]string{
		{},
		{"--help"},
		{"image"},
		{"batch", "--help"},
		{"completion", "bash"},
		{"admin"},
		{"admin", "user", "key"},
		{"signal", "--help"},
		{"events", "--help"},
		{"app"},
		{"app", "run", "--help"},
		{"admin", "queue"},
		{"admin", "user", "variable"},
	} {
		if got := f.berth(t, args...); got.Code != 0 || got.Stdout == "" || got.Stderr != "" {
			t.Errorf("%v: code %d, %d bytes on stdout, stderr %q", args, got.Code, len(got.Stdout), got.Stderr)
		}
	}
	if asked := f.asked(); len(asked) > 0 {
		t.Errorf("the server was asked: %v", asked)
	}
}

// write makes a file with this content.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
