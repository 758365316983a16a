package main

import (
	"net/http"
	"testing"
)

const (
	userBill = "user,payer,jobs,node_seconds,compute_cost,app_cost\nada,bob,2,7200,1.000000,0.500000\neve,eve,1,0,0.000000,0.000000\n"
	jobBill  = "number,project,app_price\n7,'=x,0.25\n"
)

func reported() map[string]http.HandlerFunc {
	routes := applications()
	routes["GET /jarvice/billing"] = func(w http.ResponseWriter, r *http.Request) {
		bill := userBill
		if r.URL.Query().Get("itemized") == "true" {
			bill = jobBill
		}
		text(http.StatusOK, bill)(w, r)
	}
	routes["GET /jarvice/projects"] = text(http.StatusOK, `{"bob-wing":["ada","eve"],"ada-hull":["ada"]}`)
	routes["GET /jarvice/license"] = text(http.StatusOK, "free\nfor all\n")
	return routes
}

// TestReports holds what is asked for, and what a person reads.
func TestReports(t *testing.T) {
	t.Parallel()
	const bill = "USER  PAYER  JOBS  NODE_SECONDS  COMPUTE_COST  APP_COST\nada   bob    2     7200          1.000000      0.500000\n" +
		"eve   eve    1     0             0.000000      0.000000\n"
	for name, tc := range map[string]struct {
		args []string
		sent string
		want result
	}{
		"billing":     {[]string{"admin", "billing"}, "billing?username=ada", result{Stdout: bill}},
		"last month":  {[]string{"admin", "billing", "--last-month"}, "billing?timeperiod=last&username=ada", result{Stdout: bill}},
		"as a sheet":  {[]string{"admin", "billing", "--csv", "--itemized"}, "billing?itemized=true&username=ada", result{Stdout: jobBill}},
		"to this day": {[]string{"admin", "billing", "--from", "2026-09-01"}, "billing?enddate=2026-10-06&startdate=2026-09-01&timeperiod=range&username=ada", result{Stdout: bill}},
		"selected": {
			[]string{
				"admin", "billing", "--by", "ada,bob", "--by", "eve", "--machine", "n0", "--app", "tool", "--status", "COMPLETED,CANCELED",
				"--from", "2026-09-01", "--until", "2026-09-30", "--itemized", "--json",
			},
			"billing?enddate=2026-09-30&itemized=true&jobapp=tool&machtypes=n0&reportuser=ada%2Cbob%2Ceve&startdate=2026-09-01&" +
				"statuses=COMPLETED%2CCANCELED&timeperiod=range&username=ada",
			result{Stdout: `{
  "billing": [
    {
      "app_price": "0.25",
      "number": "7",
      "project": "'=x"
    }
  ]
}
`},
		},
		"projects": {[]string{"admin", "projects"}, "projects?username=ada", result{Stdout: "PROJECT   USERS\nada-hull  ada\nbob-wing  ada eve\n"}},
		"projects as JSON": {
			[]string{"admin", "projects", "--json"},
			"projects?username=ada",
			result{Stdout: "{\n  \"projects\": {\n    \"ada-hull\": [\n      \"ada\"\n    ],\n    \"bob-wing\": [\n      \"ada\",\n      \"eve\"\n    ]\n  }\n}\n"},
		},
		"license":         {[]string{"admin", "license"}, "license?username=ada", result{Stdout: "free\nfor all\n"}},
		"license as JSON": {[]string{"admin", "license", "--json"}, "license?username=ada", result{Stdout: "{\n  \"license\": \"free\\nfor all\\n\"\n}\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, reported())
			check(t, tc.want, f.berth(t, tc.args...))
			check(t, []string{"GET /jarvice/" + tc.sent}, f.asked())
		})
	}
}

func TestReportsRefused(t *testing.T) {
	t.Parallel()
	routes := reported()
	routes["GET /jarvice/billing"] = text(http.StatusOK, "a,b\n1\n")
	routes["GET /jarvice/projects"] = text(http.StatusForbidden, `{"error":"Only an administrator may do this"}`)
	f := newFake(t, routes)
	const see = " (see: berth admin billing --help)\n"
	for name, tc := range map[string]struct {
		args []string
		want result
	}{
		"no beginning": {[]string{"admin", "billing", "--until", "2026-09-30"}, result{2, "", "berth: --until needs --from" + see}},
		"two times":    {[]string{"admin", "billing", "--last-month", "--from", "2026-09-30"}, result{2, "", "berth: --last-month and --from are two times: leave one out" + see}},
		"no date":      {[]string{"admin", "billing", "--from", "yesterday"}, result{2, "", `berth: --from "yesterday" is no date such as 2026-11-24` + see}},
		"two forms":    {[]string{"admin", "billing", "--csv", "--json"}, result{2, "", "berth: --csv and --json are two forms of one table: leave one out" + see}},
		"no table":     {[]string{"admin", "billing"}, result{1, "", "berth: answer to billing: record on line 2: wrong number of fields\n"}},
		"nobody's":     {[]string{"admin", "projects"}, result{1, "", "berth: Only an administrator may do this\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, tc.want, f.berth(t, tc.args...))
		})
	}
}

// TestApplicationHistory asks whether there is such an application, and then for what was done to it.
func TestApplicationHistory(t *testing.T) {
	t.Parallel()
	f := newFake(t, reported())
	check(t, result{Stdout: auditFirst + "\n" + auditLast + "\n"}, f.berth(t, "app", "history", "tool", "--limit", "7", "--json"))
	check(t, []string{"GET /v1/apps/tool?username=ada", "GET /v1/audit?limit=7&subject=tool&username=ada"}, f.asked())
	check(t, result{1, "", "berth: application none: Not found\n"}, f.berth(t, "app", "history", "none"))
	check(t, result{2, "", "berth: --limit cannot be negative (see: berth app history --help)\n"}, f.berth(t, "app", "history", "tool", "--limit", "-1"))
}
