package client_test

import (
	"testing"
	"time"

	"github.com/berth-hpc/berth/client"
)

func TestReports(t *testing.T) {
	t.Parallel()
	checkExchanges(t, map[string]exchange{
		"billing": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return c.Billing(t.Context(), client.BillingFilter{})
			},
			want: "GET /jarvice/billing?username=ada", answer: "user,payer\na,b\n", result: []byte("user,payer\na,b\n"),
		},
		"billing of last month": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return c.Billing(t.Context(), client.BillingFilter{LastMonth: true, Itemized: true})
			},
			want: "GET /jarvice/billing?itemized=true&timeperiod=last&username=ada", answer: "number\n", result: []byte("number\n"),
		},
		"billing, selected": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return c.Billing(t.Context(), client.BillingFilter{
					Users: []string{"ada", "bob"}, Machines: []string{"n0"}, Apps: []string{"tool"}, Statuses: []string{"COMPLETED"},
					From: morning.AddDate(0, 0, -3), Until: morning.Add(time.Hour),
				})
			},
			want: "GET /jarvice/billing?enddate=2026-11-24&jobapp=tool&machtypes=n0&reportuser=ada%2Cbob&startdate=2026-11-21&" +
				"statuses=COMPLETED&timeperiod=range&username=ada",
			answer: "user\n", result: []byte("user\n"),
		},
		"projects": {
			call: func(t *testing.T, c *client.Client) (any, error) { return c.Projects(t.Context()) },
			want: "GET /jarvice/projects?username=ada", answer: `{"bob-wing":["ada"]}`, result: map[string][]string{"bob-wing": {"ada"}},
		},
		"license": {
			call: func(t *testing.T, c *client.Client) (any, error) { return c.License(t.Context()) },
			want: "GET /jarvice/license?username=ada", answer: "free\n", result: "free\n",
		},
	})
}
