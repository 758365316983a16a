package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

// TestReports checks what administrators are told of everybody, and who is told nothing.
func TestReports(t *testing.T) {
	a := newTestAPI(t)
	a.jobs[2].Payer, a.jobs[2].Submission.Project, a.jobs[2].Submission.AppPrice = "bob", "=cmd()", 1.5
	a.jobs[2].Price, a.jobs[2].Submission.Machine.Nodes = 7.2, 2
	tests := map[string]struct {
		path, contentType, want string
	}{
		"license":  {"license", contentText, "free\n"},
		"projects": {"projects", contentJSON, `{"bob-wing":["ada","bob"]}`},
		"billing":  {"billing", contentCSV, "user,payer,jobs,node_seconds,compute_cost,app_cost\nada,ada,2,57,0.000000,0.000000\nada,bob,1,34,0.068000,0.007083\n"},
		"completed": {
			"billing?itemized=True&statuses=COMPLETED,CANCELED", contentCSV,
			"number,name,user,payer,project,application,command,machine,nodes,status,submitted,started,ended,node_seconds,app_price,price,compute_cost,app_cost\n" +
				"9," + a.jobs[2].Name + ",ada,bob,'=cmd(),jarvice-batch,Batch,n0,2,COMPLETED,2023-09-06T10:42:00Z,2023-09-06T10:42:03Z,2023-09-06T10:42:20Z,34,1.5,7.2,0.068000,0.007083\n",
		},
	}
	for name, tt := range tests {
		path, query, _ := strings.Cut(tt.path, "?")
		got := a.get("/jarvice/" + path + "?" + query + "&" + asRoot)
		if got.status != 200 || got.body != tt.want || got.header.Get("Content-Type") != tt.contentType {
			t.Errorf("%s: status %d, %s:\n%s", name, got.status, got.header.Get("Content-Type"), got.body)
		}
		if got := a.get("/jarvice/" + path + "?" + query + "&" + asAda); got.status != 403 {
			t.Errorf("%s, by ada: status %d: %s", name, got.status, got.body)
		}
		if got := a.get("/jarvice/" + path); got.status != 400 || got.errorText(t) != "User required" {
			t.Errorf("%s, by nobody: status %d: %s", name, got.status, got.body)
		}
	}
}

// TestBillsHaveALimitTogether: one for which there is no memory is refused for the moment.
func TestBillsHaveALimitTogether(t *testing.T) {
	a := newTestAPI(t, func(cfg *Config) { cfg.MaxBody, cfg.MaxBodies, cfg.Patience = 1, 10_000, time.Millisecond })
	for range 5 {
		a.jobs = slices.Concat(a.jobs, a.jobs)
	}
	got := a.get("/jarvice/billing?itemized=True&" + asRoot)
	if text := got.errorText(t); got.status != http.StatusServiceUnavailable || !strings.HasPrefix(text, "Server busy") {
		t.Errorf("status %d: %s", got.status, text)
	}
	if got := a.get("/jarvice/billing?" + asRoot); got.status != http.StatusOK {
		t.Errorf("by users: status %d: %s", got.status, got.body)
	}
}

func TestBillingFilter(t *testing.T) {
	date := func(month time.Month, day int) time.Time { return time.Date(2023, month, day, 0, 0, 0, 0, time.UTC) }
	tests := map[string]struct {
		want control.BillingFilter
		err  string
	}{
		"":                   {want: control.BillingFilter{From: date(9, 1)}},
		"timeperiod=current": {want: control.BillingFilter{From: date(9, 1)}},
		"timeperiod=last":    {want: control.BillingFilter{From: date(8, 1), Until: date(9, 1)}},
		"timeperiod=range&startdate=2023-01-31&enddate=2023-02-28": {want: control.BillingFilter{From: date(1, 31), Until: date(3, 1)}},
		"reportuser=ada,bob&machtypes=n0&jobapp=gromacs": {
			want: control.BillingFilter{Users: []string{"ada", "bob"}, Machines: []string{"n0"}, Applications: []string{"gromacs"}, From: date(9, 1)},
		},
		"timeperiod=ever":  {err: `Invalid parameter(s): timeperiod: "ever" was sent, last, current or range is allowed`},
		"timeperiod=range": {err: "Required parameter(s) missing: startdate"},
		"timeperiod=range&startdate=2023-01-31&enddate=2023-01-30": {err: "Invalid parameter(s): enddate: it is before startdate"},
		"timeperiod=range&startdate=2023-01-31&enddate=2023-01-31": {want: control.BillingFilter{From: date(1, 31), Until: date(2, 1)}},
		"timeperiod=range&startdate=31.1.2023":                     {err: `Invalid parameter(s): startdate: "31.1.2023" was sent, a date as 2026-11-24 is allowed`},
		"zone=1":                                                   {err: "Invalid parameter(s): zone: nothing is allowed: this server has none"},
		"billingcode=7":                                            {err: "Invalid parameter(s): billingcode: nothing is allowed: this server has none"},
	}
	a := newTestAPI(t)
	for query, tt := range tests {
		got := a.get("/jarvice/billing?" + query + "&" + asRoot)
		if tt.err != "" {
			if got.status != 400 || got.errorText(t) != tt.err {
				t.Errorf("%s: status %d: %s", query, got.status, got.body)
			}
			continue
		}
		if diff := cmp.Diff(tt.want, a.billed, cmp.Transformer("nil", func(list []string) []string { return append([]string(nil), list...) })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
}

// TestPush checks what clients that bring images to applications are told.
func TestPush(t *testing.T) {
	a := newTestAPI(t)
	a.audited = []berth.Record{
		{ID: 2, Act: berth.Act{Kind: berth.ActAppChanged, At: submittedAt(), By: "ada", Subject: "sim", Detail: "image=docker.io/library/sim:2"}},
		{ID: 1, Act: berth.Act{Kind: berth.ActAppAdded, At: submittedAt().Add(-time.Hour), By: "ada", Subject: "sim"}},
	}
	id := a.apps[0].ID
	tests := map[string]struct {
		path   string
		status int
		want   string
	}{
		"pull":           {"pull?repo=library/sim:2&target=" + id, 200, `{"status":"Pull successfully scheduled"}`},
		"pull nothing":   {"pull?target=" + id, 400, `{"error":"Required parameter(s) missing: repo"}`},
		"pull for none":  {"pull?repo=library/sim:2&target=none", 404, `{"error":"Application Not Found"}`},
		"build":          {"build?target=" + id, 501, `{"error":"This server builds no images: build it elsewhere and pull it"}`},
		"build nothing":  {"build?x=1", 400, `{"error":"Required parameter(s) missing: target"}`},
		"history":        {"history?target=" + id, 200, "1m0s ago  application-changed by ada: image=docker.io/library/sim:2\n1h1m0s ago  application-added by ada\n"},
		"history, times": {"history?reltime=False&target=" + id, 200, "2023-09-06T10:42:00Z  application-changed by ada: image=docker.io/library/sim:2\n2023-09-06T09:42:00Z  application-added by ada\n"},
		"no history":     {"history?target=none", 200, ""},
		"bad limit":      {"history?limit=0&target=" + id, 400, `{"error":"Invalid parameter(s): limit: a whole number from 1 to 1000 is allowed"}`},
	}
	for name, tt := range tests {
		if got := a.get("/jarvice/" + tt.path + "&" + url.Values{"username": {"ada"}, "apikey": {testKey}}.Encode()); got.status != tt.status || got.body != tt.want {
			t.Errorf("%s: status %d: %s", name, got.status, got.body)
		}
	}
	if got := a.get("/jarvice/history?limit=7&target=" + id + "&" + asAda); got.status != 200 || a.auditFilter != (control.AuditFilter{Subject: id, Limit: 7}) {
		t.Errorf("status %d, control got %+v", got.status, a.auditFilter)
	}
	if image := a.appChange.Image; image == nil || *image != "library/sim:2" {
		t.Errorf("control got the image %v", image)
	}
}
