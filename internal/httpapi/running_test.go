package httpapi

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
	"github.com/berth-hpc/berth/internal/screenshot"
)

// TestRunningJobs checks what the operations on a running job answer, in every way to send parameters, byte by byte.
func TestRunningJobs(t *testing.T) {
	job := with("number", number(runningJob))
	tests := map[string]struct {
		operation string
		p         map[string]string
		set       func(*testAPI)
		body      string
	}{
		"signal":             {"signal", merged(job, map[string]string{"signal": "9"}), nil, `{"signal":9,"pid":17}`},
		"signal by default":  {"signal", merged(job, map[string]string{"signal": ""}), nil, `{"signal":20,"pid":17}`},
		"action":             {"action", merged(job, map[string]string{"action": "refresh"}), nil, `{"status":"action requested"}`},
		"info of a bare job": {"info", job, nil, `{"url":null,"about":null,"help":null,"address":null,"password":null,"actions":{}}`},
		"info": {
			"info", job, func(a *testAPI) {
				a.infoOfJob = control.JobInfo{Address: "10.0.0.7", Actions: map[string]string{"refresh": "Load <again>", "x": ""}}
			},
			`{"url":null,"about":null,"help":null,"address":"10.0.0.7","password":null,` +
				`"actions":{"refresh":{"alt":"Load <again>"},"x":{"alt":""}}}`,
		},
		"metrics": {
			"metrics", job, func(a *testAPI) {
				a.nodes = []control.NodeMetrics{{CPU: 97, MemoryUsed: 5 << 20, MemoryTotal: 1 << 30}, {CPU: 20, MemoryUsed: 1500, MemoryTotal: 1 << 30}}
			},
			`{"summary":{"cpu_used":59,"memory_used":5121,"memory_total":2097152},` +
				`"itemized":{"cpu_used":[97,20],"memory_used":[5120,1],"memory_total":[1048576,1048576]}}`,
		},
		"metrics of nothing": {
			"metrics", job, nil,
			`{"summary":{"cpu_used":0,"memory_used":0,"memory_total":0},"itemized":{"cpu_used":[],"memory_used":[],"memory_total":[]}}`,
		},
		"teamusers": {"teamusers", with(), nil, `{"ada":{"email":"ada@example.org","name":"ada"},"bob":{"email":"","name":"bob"}}`},
		"alone":     {"teamusers", map[string]string{"username": "root", "apikey": adminKey}, nil, `{"root":{"email":"","name":"root"}}`},
	}
	for name, tt := range tests {
		a := newTestAPI(t)
		if tt.set != nil {
			tt.set(a)
		}
		for way, send := range ways() {
			got := send(a, "/jarvice/"+tt.operation, tt.p)
			if got.status != http.StatusOK || got.body != tt.body || got.header.Get("Content-Type") != contentJSON {
				t.Errorf("%s, %s: status %d, %s: %s", name, way, got.status, got.header.Get("Content-Type"), got.body)
			}
		}
	}
}

// TestScreenshot: the type is exact, and booleans come as clients send them.
func TestScreenshot(t *testing.T) {
	for name, tt := range map[string]struct {
		p    map[string]string
		want screenshot.Size
	}{
		"as it is": {nil, screenshot.Size{}},
		"smaller":  {map[string]string{"width": "400", "height": "300"}, screenshot.Size{Width: 400, Height: 300}},
		"emphatic": {map[string]string{"width": "400", "emphatic": "True"}, screenshot.Size{Width: 400, Emphatic: true}},
	} {
		for way, send := range ways() {
			a := newTestAPI(t)
			got := send(a, "/jarvice/screenshot", merged(with("number", number(runningJob)), tt.p))
			if got.status != http.StatusOK || got.body != "\x89PNG\r\n" || got.header.Get("Content-Type") != "image/png" || a.wantedSize != tt.want {
				t.Errorf("%s, %s: status %d, %s, %+v", name, way, got.status, got.header.Get("Content-Type"), a.wantedSize)
			}
		}
	}
	a := newTestAPI(t)
	a.fail["Screenshot"] = &berth.Error{Kind: berth.Unsupported, Msg: "Invalid image", Detail: "no desktop"}
	got := a.get("/jarvice/screenshot?username=ada&number=8&apikey=" + testKey)
	if text := got.errorText(t); got.status != http.StatusNotImplemented || text != "Invalid image: no desktop" {
		t.Errorf("status %d: %s", got.status, text)
	}
}

// lifeOfAJob is one record of every kind.
func lifeOfAJob() []berth.Record {
	return []berth.Record{
		record(1, 0, berth.StateQueued, berth.Event{Kind: berth.EventSubmitted, By: "ada", From: "10.1.2.3"}),
		record(2, 1*time.Second, berth.StateQueued, berth.Event{Kind: berth.EventWaiting, Wait: berth.WaitResources}),
		record(3, 2*time.Second, berth.StateStarting, berth.Event{Kind: berth.EventPlaced, Hosts: []string{"node1"}, Attempt: "berth-8-a"}),
		record(4, 3*time.Second, berth.StateStarting, berth.Event{Kind: berth.EventWaiting, Wait: berth.WaitImage, Detail: "12 of\n45 MB"}),
		record(5, 3*time.Second, berth.StateStarting, berth.Event{Kind: berth.EventWaiting}),
		record(6, 4*time.Second, berth.StateRunning, berth.Event{Kind: berth.EventStarted}),
		record(7, 5*time.Second, berth.StateRunning, berth.Event{Kind: berth.EventSignaled, Signal: 20, By: "bob"}),
		record(8, 6*time.Second, berth.StateRunning, berth.Event{Kind: berth.EventActionRequested, Detail: "refresh", By: "ada"}),
		record(9, 7*time.Second, berth.StateRunning, berth.Event{Kind: berth.EventStopRequested, By: "ada"}),
		record(10, 7*time.Second, berth.StateRunning, berth.Event{Kind: berth.EventTerminateRequested, By: berth.WishByWalltime}),
		record(11, 8*time.Second, berth.StateStopping, berth.Event{Kind: berth.EventStopping}),
		record(12, 9*time.Second, berth.StateTerminated, berth.Event{
			Kind: berth.EventEnded, Exit: berth.Exit{Known: true, Ran: true, Code: 137, Signal: 9, OutOfMemory: true, Detail: "killed"},
		}),
		record(13, 9*time.Second, berth.StateFailed, berth.Event{Kind: berth.EventEnded}),
		record(14, 9*time.Second, berth.StateCanceled, berth.Event{Kind: berth.EventEnded, Exit: berth.Exit{Known: true}}),
		record(15, 9*time.Second, berth.StateFailed, berth.Event{Kind: berth.EventEnded, Exit: berth.Exit{Known: true, Ran: true, Code: 3}}),
		record(16, 9*time.Second, berth.StateCanceled, berth.Event{Kind: berth.EventRefused, Detail: "no such image"}),
	}
}

func TestEventsText(t *testing.T) {
	a := newTestAPI(t)
	a.records = lifeOfAJob()
	a.forecast = berth.Forecast{
		Position: 2, Start: submittedAt().Add(time.Hour),
		Blockers: []berth.Blocker{
			{Kind: berth.BlockerQueue, Number: 5, Detail: "job 5 goes first"},
			{Kind: berth.BlockerResources, Detail: "2 of 4 cores are free"},
			{Kind: berth.BlockerJob, Detail: "another job runs"},
		},
	}
	const events = "2023-09-06T10:42:00Z  submitted by ada\n" +
		"2023-09-06T10:42:01Z  waiting for resources\n" +
		"2023-09-06T10:42:02Z  placed on node1\n" +
		"2023-09-06T10:42:03Z  pulling the image: 12 of 45 MB\n" +
		"2023-09-06T10:42:03Z  waits no more\n" +
		"2023-09-06T10:42:04Z  started\n" +
		"2023-09-06T10:42:05Z  signal 20 sent by bob\n" +
		"2023-09-06T10:42:06Z  action \"refresh\" started by ada\n" +
		"2023-09-06T10:42:07Z  shutdown requested by ada\n" +
		"2023-09-06T10:42:07Z  termination requested by walltime limit\n" +
		"2023-09-06T10:42:08Z  stopping\n" +
		"2023-09-06T10:42:09Z  ended by signal 9, out of memory: killed\n" +
		"2023-09-06T10:42:09Z  ended, and how cannot be learned\n" +
		"2023-09-06T10:42:09Z  ended before its command ran\n" +
		"2023-09-06T10:42:09Z  ended with exit code 3\n" +
		"2023-09-06T10:42:09Z  refused: no such image\n"
	const waiting = "waits as number 2 of the queue\n" +
		"held back: job 5 goes first\n" +
		"held back: 2 of 4 cores are free\n" +
		"held back: another job runs\n"
	for n, want := range map[int]string{runningJob: events, queuedJob: events + waiting + "starts at 2023-09-06T11:42:00Z or before\n"} {
		for way, send := range ways() {
			got := send(a, "/jarvice/events", with("number", number(n)))
			if diff := cmp.Diff(want, got.body); diff != "" || got.header.Get("Content-Type") != contentText {
				t.Errorf("job %d, %s, %s (-want +got)\n%s", n, way, got.header.Get("Content-Type"), diff)
			}
		}
	}
	a.records, a.forecast = nil, berth.Forecast{Position: 1}
	got := a.get("/jarvice/events?number=7&" + asAda)
	if want := "waits as number 1 of the queue\nwhen it starts is not known\n"; got.body != want {
		t.Errorf("without a start: %s", got.body)
	}
}

// TestLeftOutEvents says how many are missing, and where.
func TestLeftOutEvents(t *testing.T) {
	a := newTestAPI(t)
	a.leftOut = 7
	for range control.FirstRecords + 1 {
		a.records = append(a.records, lifeOfAJob()[0])
	}
	lines := strings.Split(a.get("/jarvice/events?number=9&"+asAda).body, "\n")
	if len(lines) < control.FirstRecords || lines[control.FirstRecords] != "… 7 more …" {
		t.Errorf("the text is\n%s", strings.Join(lines, "\n"))
	}
	if got := a.get("/v1/jobs/9/events?" + asAda); !strings.HasSuffix(got.body, `,"left_out":7}`) {
		t.Errorf("the document is %s", got.body)
	}
}

// TestEveryEventHasASentence would fail for a kind that was added to the domain only.
func TestEveryEventHasASentence(t *testing.T) {
	for _, kind := range append(berth.EventKinds(), berth.EventSubmitted) {
		ev := berth.Event{Kind: kind, Wait: berth.WaitImage, Hosts: []string{"h"}, Detail: "d"}
		if sentence := eventSentence(ev); sentence == "" {
			t.Errorf("%s has no sentence", kind)
		}
		enum := loadContract(t).Components.Schemas["Event"].Value.Properties["kind"].Value
		if err := enum.VisitJSON(string(kind)); err != nil {
			t.Errorf("%s is not in the contract", kind)
		}
	}
}

func TestExplanation(t *testing.T) {
	a := newTestAPI(t)
	a.records = append(lifeOfAJob()[:2:2], lifeOfAJob()[11])
	a.forecast = berth.Forecast{Position: 2, Blockers: []berth.Blocker{{Kind: berth.BlockerQueue, Number: 5, Detail: "d"}}}
	got := a.get("/v1/jobs/7/events?" + asAda)
	want := `{"number":7,"status":"SUBMITTED","state":"queued","events":[` +
		`{"id":1,"number":8,"kind":"submitted","at":"2023-09-06T10:42:00Z","state":"queued","by":"ada","from":"10.1.2.3"},` +
		`{"id":2,"number":8,"kind":"waiting","at":"2023-09-06T10:42:01Z","state":"queued","wait":"resources"},` +
		`{"id":12,"number":8,"kind":"ended","at":"2023-09-06T10:42:09Z","state":"terminated",` +
		`"exit":{"known":true,"ran":true,"code":137,"signal":9,"out_of_memory":true,"node":"","detail":"killed"}}],` +
		`"waiting":{"position":2,"blockers":[{"kind":"queue","number":5,"detail":"d"}]}}`
	if diff := cmp.Diff(want, got.body); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	a.records = nil
	if got := a.get("/v1/jobs/9/events?" + asAda); got.body != `{"number":9,"status":"COMPLETED","state":"completed","events":[]}` {
		t.Errorf("ended job: %s", got.body)
	}
	for path, status := range map[string]int{"4711/events": 404, "x/events": 404, "4711/metrics": 404, "7/metrics": 404} {
		if got := a.get("/v1/jobs/" + path + "?" + asAda); got.status != status {
			t.Errorf("%s: status %d: %s", path, got.status, got.body)
		}
	}
}

func TestNodeMetrics(t *testing.T) {
	a := newTestAPI(t)
	a.nodes = []control.NodeMetrics{{CPU: 97, MemoryUsed: 5000, MemoryTotal: 1 << 30, Sampled: submittedAt()}, {}}
	got := a.get("/v1/jobs/8/metrics?" + asAda)
	want := `{"nodes":[{"cpu_percent":97,"memory_used":5000,"memory_total":1073741824,"sampled":"2023-09-06T10:42:00Z"},` +
		`{"cpu_percent":0,"memory_used":0,"memory_total":0}]}`
	if got.body != want {
		t.Errorf("status %d: %s", got.status, got.body)
	}
}

func TestTeamJobs(t *testing.T) {
	a := newTestAPI(t)
	if got := a.get("/jarvice/teamjobs?all=1&" + asAda); got.status != http.StatusOK || !a.filter.Team || !a.filter.All {
		t.Errorf("status %d, control got %+v", got.status, a.filter)
	}
}

// TestCallerComesFromTheLastUntrustedHop checks what trusted proxies tell.
func TestCallerComesFromTheLastUntrustedHop(t *testing.T) {
	local, inner := netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")
	for name, tt := range map[string]struct {
		trusted []netip.Prefix
		header  []string
		want    string
	}{
		"one proxy":         {[]netip.Prefix{local}, []string{"6.6.6.6, 192.0.2.9"}, "192.0.2.9"},
		"two proxies":       {[]netip.Prefix{local, inner}, []string{"6.6.6.6, 192.0.2.9,10.1.1.1"}, "192.0.2.9"},
		"two headers":       {[]netip.Prefix{local, inner}, []string{"6.6.6.6, 192.0.2.9", "10.1.1.1"}, "192.0.2.9"},
		"IPv6":              {[]netip.Prefix{local}, []string{"2001:DB8:0::1"}, "2001:db8::1"},
		"IPv4 as IPv6":      {[]netip.Prefix{local}, []string{"::ffff:192.0.2.9"}, "192.0.2.9"},
		"another proxy":     {[]netip.Prefix{inner}, []string{"192.0.2.9"}, "127.0.0.1"},
		"proxies only":      {[]netip.Prefix{local, inner}, []string{"10.1.1.1"}, "10.1.1.1"},
		"no header":         {[]netip.Prefix{local}, nil, "127.0.0.1"},
		"no address":        {[]netip.Prefix{local}, []string{"192.0.2.9, unknown"}, "127.0.0.1"},
		"nobody is trusted": {nil, []string{"192.0.2.9"}, "127.0.0.1"},
	} {
		a := newTestAPI(t, func(c *Config) { c.TrustedProxies = tt.trusted })
		req := a.request(http.MethodGet, "/jarvice/jobs?"+asAda, nil)
		for _, value := range tt.header {
			req.Header.Add("X-Forwarded-For", value)
		}
		a.do(req)
		if a.from != tt.want {
			t.Errorf("%s: control was told that it comes from %q; want %q", name, a.from, tt.want)
		}
	}
}

// TestCallerComesFromTheConnection checks that control learns the address of the connection, and not one that a header invents.
func TestCallerComesFromTheConnection(t *testing.T) {
	a := newTestAPI(t)
	req := a.request(http.MethodGet, "/jarvice/jobs?"+asAda, nil)
	req.Header.Set("X-Forwarded-For", "6.6.6.6")
	a.do(req)
	if a.from != "127.0.0.1" {
		t.Errorf("control was told that it comes from %q", a.from)
	}
}
