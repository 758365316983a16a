package client

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// BillingFilter selects jobs for a bill. The zero value selects those that were submitted this month, UTC.
type BillingFilter struct {
	// Users selects the jobs of these users, and those that they pay for.
	Users []string
	// Machines and Apps select by machine type and by application, Statuses by the words of job_status, such as COMPLETED.
	Machines, Apps, Statuses []string
	// LastMonth selects the jobs that were submitted last month. From and Until are the first and the last day of another time; either
	// both are set or none.
	LastMonth   bool
	From, Until time.Time
	// Itemized asks for a line for each job instead of one for each user and payer.
	Itemized bool
}

func (f BillingFilter) query() url.Values {
	query := url.Values{}
	for name, list := range map[string][]string{"reportuser": f.Users, "machtypes": f.Machines, "jobapp": f.Apps, "statuses": f.Statuses} {
		if len(list) > 0 {
			query.Set(name, strings.Join(list, ","))
		}
	}
	switch {
	case !f.From.IsZero() || !f.Until.IsZero():
		query.Set("timeperiod", "range")
		query.Set("startdate", f.From.Format(time.DateOnly))
		query.Set("enddate", f.Until.Format(time.DateOnly))
	case f.LastMonth:
		query.Set("timeperiod", "last")
	}
	if f.Itemized {
		query.Set("itemized", "true")
	}
	return query
}

// Billing returns what was used and what it cost, as a table (CSV) whose first line names the columns. Administrators only.
func (c *Client) Billing(ctx context.Context, filter BillingFilter) ([]byte, error) {
	return c.report(ctx, "/jarvice/billing", filter.query())
}

// Projects returns who has submitted jobs of which project. A project's name is that of the payer, a hyphen, and the project of the
// submissions. Administrators only.
func (c *Client) Projects(ctx context.Context) (map[string][]string, error) {
	var projects map[string][]string
	_, err := c.decode(ctx, call{method: http.MethodGet, path: "/jarvice/projects", longPoll: reportTime}, &projects)
	return projects, err
}

// License returns what allows the server to be used, as a text for people. Administrators only.
func (c *Client) License(ctx context.Context) (string, error) {
	text, err := c.report(ctx, "/jarvice/license", nil)
	return string(text), err
}

// reportTime is how long the server may take to read all of its jobs before it answers.
const reportTime = 10 * time.Minute

func (c *Client) report(ctx context.Context, path string, query url.Values) ([]byte, error) {
	return c.do(ctx, call{method: http.MethodGet, path: path, query: query, longPoll: reportTime})
}
