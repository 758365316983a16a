package main

import (
	"context"
	"net/http"
	"strings"
	"testing"
)

const (
	historyAnswer = `{"number":12,"status":"SUBMITTED","state":"queued","events":[
{"id":1,"number":12,"kind":"submitted","at":"2026-10-06T10:42:00Z","state":"queued","by":"ada","from":"127.0.0.1"}],
"waiting":{"position":2,"blockers":[{"kind":"queue","number":11,"detail":"job 11 goes first"},{"kind":"job","number":10,"detail":""},
{"kind":"resources","number":0,"detail":""}],"estimated_start":"2026-10-06T12:00:00Z"}}`
	lifeAnswer = `{"number":14,"status":"COMPLETED WITH ERROR","state":"failed","events":[
{"id":1,"number":14,"kind":"submitted","at":"2026-10-06T10:42:00Z","state":"queued","by":"ada"},
{"id":2,"number":14,"kind":"placed","at":"2026-10-06T10:42:01Z","state":"starting"},
{"id":3,"number":14,"kind":"waiting","at":"2026-10-06T10:42:02Z","state":"starting","wait":"image","detail":"Pulling x: 3 of 9 MB"},
{"id":4,"number":14,"kind":"waiting","at":"2026-10-06T10:42:03Z","state":"starting"},
{"id":5,"number":14,"kind":"started","at":"2026-10-06T10:42:04Z","state":"running"},
{"id":6,"number":14,"kind":"signaled","at":"2026-10-06T10:42:05Z","state":"running","by":"ada","signal":20},
{"id":7,"number":14,"kind":"signaled","at":"2026-10-06T10:42:06Z","state":"running","by":"ada","signal":40},
{"id":8,"number":14,"kind":"action-requested","at":"2026-10-06T10:42:07Z","state":"running","by":"bob","detail":"save"},
{"id":9,"number":14,"kind":"stop-requested","at":"2026-10-06T10:42:08Z","state":"running","by":"ada"},
{"id":10,"number":14,"kind":"terminate-requested","at":"2026-10-06T10:42:09Z","state":"running","by":"ada"},
{"id":11,"number":14,"kind":"stopping","at":"2026-10-06T10:42:10Z","state":"stopping"},
{"id":12,"number":14,"kind":"future","at":"2026-10-06T10:42:11Z","state":"stopping","detail":"some\u001bthing"},
{"id":13,"number":14,"kind":"ended","at":"2026-10-06T10:42:12Z","state":"failed","exit":{"known":true,"ran":true,"code":137,"signal":9}}]}`
	infoAnswer = `{"url":null,"about":null,"help":null,"address":"10.0.0.2","password":null,
"actions":{"save":{"alt":"Write it down"},"quit":{"alt":""}}}`
	metricsAnswer = `{"nodes":[{"cpu_percent":97,"memory_used":1610612736,"memory_total":4294967296,"sampled":"2026-10-06T10:59:55Z"},
{"cpu_percent":0,"memory_used":0,"memory_total":4294967296,"sampled":"2026-10-06T10:59:55Z"}]}`
	teamJobsAnswer = `{"9":{"job_name":"n9","job_status":"PROCESSING STARTING","job_substatus":8,"job_substatus_text":"Suspended by user",
"job_owner_username":"bob","job_submit_time":1791283320,"job_start_time":1791283350,"job_api_submission":{"machine":{"type":"n0"}}}}`
	suspended = `{"number":15,"name":"n15","status":"PROCESSING STARTING","substatus":8,"substatus_text":"Suspended by user","state":"running",
"machine":"n0","nodes":1,"submitted":"2026-10-06T10:42:00Z","started":"2026-10-06T10:42:30Z"}`
)

func controlled() map[string]http.HandlerFunc {
	routes := recorded()
	for route, answer := range map[string]string{
		"POST /jarvice/signal":    `{"signal":20,"pid":7}`,
		"POST /jarvice/action":    `{"status":"action requested"}`,
		"GET /jarvice/info":       infoAnswer,
		"GET /v1/jobs/12/metrics": metricsAnswer,
		"GET /v1/jobs/12/events":  historyAnswer,
		"GET /v1/jobs/14/events":  lifeAnswer,
		"GET /v1/jobs/15":         suspended,
		"GET /jarvice/teamjobs":   teamJobsAnswer,
	} {
		routes[route] = text(http.StatusOK, answer)
	}
	return routes
}

const completionEnd = "Completion ended with directive: ShellCompDirectiveNoFileComp\n"

func TestControlVerbs(t *testing.T) {
	t.Parallel()
	f := newFake(t, controlled())
	for name, tc := range map[string]struct {
		args []string
		want result
	}{
		"signal":           {[]string{"signal", "12"}, result{Stdout: "job 12: signal 20 (TSTP) sent to process 7\n"}},
		"signal by number": {[]string{"signal", "12", "40"}, result{Stdout: "job 12: signal 40 sent to process 7\n"}},
		"signal as JSON":   {[]string{"signal", "12", "--json"}, result{Stdout: "{\n  \"signal\": 20,\n  \"pid\": 7\n}\n"}},
		"action":           {[]string{"action", "12", "save"}, result{Stdout: "job 12: action requested\n"}},
		"action as JSON": {
			[]string{"action", "12", "save", "--json"},
			result{Stdout: "{\n  \"action\": \"save\",\n  \"job\": \"12\",\n  \"status\": \"action requested\"\n}\n"},
		},
		"info": {
			[]string{"info", "12"},
			result{Stdout: "address       10.0.0.2\naction        quit\naction        save: Write it down\n"},
		},
		"metrics": {
			[]string{"metrics", "12"},
			result{Stdout: `NODE  CPU  MEMORY   OF       MEASURED
1     97%  1.5 GiB  4.0 GiB  2026-10-06 12:59:55
2     0%   0 B      4.0 GiB  2026-10-06 12:59:55
`},
		},
		"events of a queued job": {
			[]string{"events", "12"},
			result{Stdout: `2026-10-06 12:42:00  submitted by ada

position      2 in the queue
held back by  job 11 goes first
held back by  job 10
held back by  resources
starts by     2026-10-06 14:00:00
`},
		},
		"events of an ended job": {
			[]string{"events", "14"},
			result{Stdout: `2026-10-06 12:42:00  submitted by ada
2026-10-06 12:42:01  got its resources
2026-10-06 12:42:02  waits for image: Pulling x: 3 of 9 MB
2026-10-06 12:42:03  waits no more
2026-10-06 12:42:04  started
2026-10-06 12:42:05  signal 20 (TSTP) sent by ada
2026-10-06 12:42:06  signal 40 sent by ada
2026-10-06 12:42:07  action save started by bob
2026-10-06 12:42:08  shutdown requested by ada
2026-10-06 12:42:09  terminate requested by ada
2026-10-06 12:42:10  stopping
2026-10-06 12:42:11  future: some` + "\uFFFD" + `thing
2026-10-06 12:42:12  ended by signal 9 (KILL)
`},
		},
		"status of a queued job says why": {
			[]string{"status", "12"},
			result{Stdout: `job           12
name          20261006104200-995TB-jarvice-batch-ada_s1
status        SUBMITTED
state         queued
waits for     Waiting for resources
position      2 in the queue
held back by  job 11 goes first
held back by  job 10
held back by  resources
starts by     2026-10-06 14:00:00
owner         ada
label         night run
application   jarvice-batch Batch
image         docker.io/local/tools:latest
machine       n1, 2 nodes
submitted     2026-10-06 12:42:00
`},
		},
		"status of a suspended job": {
			[]string{"status", "15"},
			result{Stdout: `job           15
name          n15
status        PROCESSING STARTING
state         running
now           Suspended by user
machine       n0, 1 node
submitted     2026-10-06 12:42:00
started       2026-10-06 12:42:30
walltime      00:17:30
`},
		},
		"jobs of the team": {
			[]string{"jobs", "--team"},
			result{Stdout: `NUMBER  OWNER  NAME  STATUS               WAITS FOR          MACHINE  SUBMITTED            TIME
9       bob    n9    PROCESSING STARTING  Suspended by user  n0       2026-10-06 12:42:00  00:17:30
`},
		},
		"completion of actions": {[]string{"__complete", "action", "12", ""}, result{Stdout: "quit\nsave\tWrite it down\n:4\n", Stderr: completionEnd}},
		"completion of jobs":    {[]string{"__complete", "signal", ""}, result{Stdout: "9\tSUBMITTED\n12\tPROCESSING STARTING\n100\tCOMPLETED\n:4\n", Stderr: completionEnd}},
		"completion is over":    {[]string{"__complete", "info", "12", ""}, result{Stdout: ":4\n", Stderr: completionEnd}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, tc.want, f.berth(t, tc.args...))
		})
	}
}

// TestControlAsJSON holds that the documents are printed as they came.
func TestControlAsJSON(t *testing.T) {
	t.Parallel()
	f := newFake(t, controlled())
	for verb, answer := range map[string]string{"info": infoAnswer, "metrics": metricsAnswer, "events": historyAnswer} {
		got := f.berth(t, verb, "12", "--json")
		check(t, strings.Join(strings.Fields(answer), ""), strings.Join(strings.Fields(got.Stdout), ""))
	}
}

func TestSignalNames(t *testing.T) {
	t.Parallel()
	f := newFake(t, controlled())
	for text, number := range map[string]string{"TSTP": "20", "SIGUSR1": "10", "usr2": "12", "cont": "18", "1": "1", "64": "64", "SYS": "31"} {
		before := len(f.asked())
		if got := f.berth(t, "signal", "12", text); got.Code != 0 {
			t.Errorf("%s: %+v", text, got)
		}
		check(t, []string{"POST /jarvice/signal?number=12&signal=" + number + "&username=ada"}, f.asked()[before:])
	}
	names := f.berth(t, "__complete", "signal", "12", "")
	if !strings.HasPrefix(names.Stdout, "HUP\n") {
		t.Errorf("completion is %q", names.Stdout)
	}
}

// TestSignalOfTheImage prints what a program of the image answers.
func TestSignalOfTheImage(t *testing.T) {
	t.Parallel()
	f := newFake(t, map[string]http.HandlerFunc{"POST /jarvice/signal": text(200, `{"held": true}`+"\n")})
	check(t, result{Stdout: "job 12: signal 20 (TSTP): {\"held\": true}\n"}, f.berth(t, "signal", "12"))
}

func TestControlErrors(t *testing.T) {
	t.Parallel()
	routes := controlled()
	routes["POST /jarvice/signal"] = text(404, `{"error":"Running job is not found"}`)
	routes["POST /jarvice/action"] = text(404, `{"error":"Job not found"}`)
	routes["GET /jarvice/info"] = text(404, `{"error":"Running job is not found"}`)
	routes["GET /v1/jobs/12/metrics"] = text(404, `{"error":"Metrics are not available yet"}`)
	f := newFake(t, routes)
	broken := newFake(t, map[string]http.HandlerFunc{"POST /jarvice/signal": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }})
	for name, tc := range map[string]struct {
		server *fake
		args   []string
		code   int
		want   string
	}{
		"not running":       {f, []string{"signal", "12"}, 1, "berth: job 12: Running job is not found (only running jobs take signals: berth status 12)\n"},
		"no such job":       {f, []string{"action", "12", "x"}, 1, "berth: job 12: Job not found (list your jobs: berth jobs --all)\n"},
		"nothing to say":    {f, []string{"info", "12"}, 1, "berth: job 12: Running job is not found (only running jobs say something: berth status 12)\n"},
		"not measured":      {f, []string{"metrics", "12"}, 1, "berth: job 12: Metrics are not available yet (only running jobs are measured, every few seconds: berth status 12)\n"},
		"no answer":         {broken, []string{"signal", "12"}, 1, "berth: job 12: POST /jarvice/signal: EOF (it may have arrived: berth events 12)\n"},
		"no such signal":    {f, []string{"signal", "12", "65"}, 2, "berth: \"65\" is no signal: give a number from 1 to 64, or a name such as TSTP, CONT or USR1 (see: berth signal --help)\n"},
		"no signal name":    {f, []string{"signal", "12", "SIG"}, 2, "berth: \"SIG\" is no signal: give a number from 1 to 64, or a name such as TSTP, CONT or USR1 (see: berth signal --help)\n"},
		"no action":         {f, []string{"action", "12"}, 2, "berth: give one JOB, its number or its name, and the NAME of an action (see: berth action --help)\n"},
		"events of nothing": {f, []string{"events"}, 2, "berth: give a JOB, its number or its name, or --follow for what happens to your jobs (see: berth events --help)\n"},
		"all of one job":    {f, []string{"events", "-f", "--all", "12"}, 2, "berth: --all goes with --follow and without a JOB (see: berth events --help)\n"},
		"events of no job":  {f, []string{"events", "99"}, 1, "berth: job 99: Not found (list your jobs: berth jobs --all)\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, result{Code: tc.code, Stderr: tc.want}, tc.server.berth(t, tc.args...))
		})
	}
}

// TestEventsFollow shows the history of a job and goes on behind it, over a broken connection, to its end.
func TestEventsFollow(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"for people": {
			[]string{"events", "-f", "12"},
			`2026-10-06 12:42:00  job 12  submitted by ada
2026-10-06 12:43:00  job 12  started
2026-10-06 12:44:00  job 12  ended with exit code 3
`,
		},
		"for programs": {
			[]string{"events", "-f", "12", "--json"},
			`{"id":1,"number":12,"kind":"submitted","at":"2026-10-06T10:42:00Z","state":"queued","by":"ada","from":"127.0.0.1"}
{"id":2,"number":12,"kind":"started","at":"2026-10-06T10:43:00Z","state":"running"}
{"id":3,"number":12,"kind":"ended","at":"2026-10-06T10:44:00Z","state":"failed","exit":{"known":true,"ran":true,"code":3}}
`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			routes := controlled()
			var after []string
			routes["GET /v1/events"] = func(w http.ResponseWriter, r *http.Request) {
				after = append(after, r.Header.Get("Last-Event-ID"))
				if len(after) == 1 {
					events(w, "retry: 1\n\nevent: hello\nid: 1\ndata: {}\n\n"+
						`id: 2`+"\ndata: "+`{"id":2,"number":12,"kind":"started","at":"2026-10-06T10:43:00Z","state":"running"}`+"\n\n")
					panic(http.ErrAbortHandler)
				}
				events(w, "id: 3\n"+
					`data: {"id":3,"number":12,"kind":"ended","at":"2026-10-06T10:44:00Z","state":"failed","exit":{"known":true,"ran":true,"code":3}}`+"\n\n")
			}
			check(t, result{Stdout: tc.want}, newFake(t, routes).berth(t, tc.args...))
			check(t, []string{"1", "2"}, after)
		})
	}
}

// TestEventsOfEverything ends by Ctrl-C only.
func TestEventsOfEverything(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	f := newFake(t, map[string]http.HandlerFunc{"GET /v1/events": func(w http.ResponseWriter, r *http.Request) {
		events(w, "event: hello\nid: 1\ndata: {}\n\nid: 2\ndata: {\"number\":12,\"kind\":\"ended\",\"at\":\"2026-10-06T10:44:00Z\",\"state\":\"failed\"}\n\n")
		<-r.Context().Done()
	}})
	got := command{args: []string{"events", "-f", "--all"}, env: f.env(), stdout: onWrite(cancel)}.run(ctx, t)
	check(t, result{Code: 130, Stdout: "2026-10-06 12:44:00  job 12  ended: failed\n", Stderr: "berth: interrupted\n"}, got)
	check(t, []string{"GET /v1/events?all=true&username=ada"}, f.asked())
}
