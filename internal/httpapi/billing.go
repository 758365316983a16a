package httpapi

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

const contentCSV = "text/csv"

// billed is what one user has used for one payer, and what it cost.
type billed struct {
	jobs             int
	seconds          int64
	compute, appCost float64
}

func (b billed) plus(job berth.Job, stats jobStats) billed {
	return billed{b.jobs + 1, b.seconds + nodeSeconds(job, stats), b.compute + stats.ComputeCost, b.appCost + stats.AppCost}
}

// nodeSeconds is what all nodes of a job ran together.
func nodeSeconds(job berth.Job, stats jobStats) int64 { return stats.ComputeTime * int64(job.Nodes()) }

// billing answers what was used and what it cost, as a table for spreadsheets: a line for each job, or for each user. Prices are those
// at the submission.
func (s *server) billing(c *call, caller berth.Caller, p params) error {
	filter, err := billingFilter(&p, s.cfg.Now().UTC())
	if err != nil {
		return err
	}
	if err := s.linger(c); err != nil {
		return err
	}
	var text bytes.Buffer
	table := csv.NewWriter(&text)
	itemized, statuses, now := p.flag("itemized"), names(p.text("statuses")), s.cfg.Now()
	if itemized {
		_ = table.Write([]string{ // an error stays until Flush
			"number", "name", "user", "payer", "project", "application", "command", "machine", "nodes", "status",
			"submitted", "started", "ended", "node_seconds", "app_price", "price", "compute_cost", "app_cost",
		})
	}
	users := map[[2]string]billed{}
	err = s.control.Billing(c.r.Context(), caller, filter, func(job berth.Job) error {
		switch stats := newJobStats(job, now); {
		case len(statuses) > 0 && !slices.Contains(statuses, statusWord(job)):
			return nil
		case itemized:
			_ = table.Write(billedJob(job, stats))
			return c.holdAll(int64(text.Len()))
		default:
			who := [2]string{job.Owner, cmp.Or(job.Payer, job.Owner)}
			users[who] = users[who].plus(job, stats)
			return nil
		}
	})
	if err != nil {
		return err
	}
	if !itemized {
		_ = table.WriteAll(billedUsers(users))
	}
	table.Flush()
	if err := table.Error(); err != nil {
		return err
	}
	c.write(http.StatusOK, contentCSV, text.Bytes())
	return nil
}

func billedJob(job berth.Job, stats jobStats) []string {
	sub := job.Submission
	return []string{
		strconv.FormatInt(job.Number, 10), job.Name, job.Owner, cmp.Or(job.Payer, job.Owner), cell(sub.Project), cell(job.Application),
		cell(job.Command), sub.Machine.Type, strconv.Itoa(job.Nodes()), statusWord(job), stamp(job.Submitted), stamp(job.Started), stamp(job.Ended),
		strconv.FormatInt(nodeSeconds(job, stats), 10), price(sub.AppPrice), price(job.Price), cost(stats.ComputeCost), cost(stats.AppCost),
	}
}

func billedUsers(users map[[2]string]billed) [][]string {
	rows := [][]string{{"user", "payer", "jobs", "node_seconds", "compute_cost", "app_cost"}}
	compare := func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }
	for _, who := range slices.SortedFunc(maps.Keys(users), compare) {
		used := users[who]
		rows = append(rows, []string{
			who[0], who[1], strconv.Itoa(used.jobs), strconv.FormatInt(used.seconds, 10), cost(used.compute), cost(used.appCost),
		})
	}
	return rows
}

// price is written as it was set.
func price(number float64) string { return strconv.FormatFloat(number, 'f', -1, 64) }

// cost is rounded to parts so small that the sum of many jobs is right, too.
func cost(number float64) string { return strconv.FormatFloat(number, 'f', 6, 64) }

// cell keeps a spreadsheet from taking the text of a user for a formula.
func cell(text string) string {
	if text != "" && strings.ContainsRune("=+-@", rune(text[0])) {
		return "'" + text
	}
	return text
}

// stamp is empty for a time that has not happened.
func stamp(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339)
}

// names splits a list with commas.
func names(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

// billingFilter decodes which jobs are billed: those of this month unless the request says otherwise.
func billingFilter(p *params, now time.Time) (control.BillingFilter, error) {
	filter := control.BillingFilter{
		Users: names(p.text("reportuser")), Machines: names(p.text("machtypes")), Applications: names(p.text("jobapp")),
	}
	for _, name := range []string{"zone", "billingcode"} {
		if p.text(name) != "" {
			return filter, wrong(name, "nothing is allowed: this server has none")
		}
	}
	var err error
	month := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	switch period := cmp.Or(p.text("timeperiod"), "current"); period {
	case "current":
		filter.From = month
	case "last":
		filter.From, filter.Until = month.AddDate(0, -1, 0), month
	case "range":
		if filter.From, err = day(p, "startdate"); err != nil {
			return filter, err
		}
		if filter.Until, err = day(p, "enddate"); err != nil {
			return filter, err
		}
		if filter.Until.Before(filter.From) {
			return filter, wrong("enddate", "it is before startdate")
		}
		filter.Until = filter.Until.AddDate(0, 0, 1) // the last day belongs to it
	default:
		return filter, wrong("timeperiod", quote(period)+" was sent, last, current or range is allowed")
	}
	return filter, nil
}

// day decodes a required date.
func day(p *params, name string) (time.Time, error) {
	text := p.text(name)
	if text == "" {
		return time.Time{}, &berth.Error{Kind: berth.Invalid, Msg: msgMissing, Detail: name}
	}
	date, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return time.Time{}, wrong(name, quote(text)+" was sent, a date as 2026-11-24 is allowed")
	}
	return date, nil
}

// projects answers who has submitted jobs of which project.
func (s *server) projects(c *call, caller berth.Caller, _ params) error {
	if err := s.linger(c); err != nil {
		return err
	}
	projects, err := s.control.Projects(c.r.Context(), caller)
	if err != nil {
		return err
	}
	return c.writeJSON(projects)
}

// license answers what allows this server to be used.
func (s *server) license(c *call, caller berth.Caller, _ params) error {
	text, err := s.control.Licence(c.r.Context(), caller)
	if err != nil {
		return err
	}
	c.write(http.StatusOK, contentText, []byte(text))
	return nil
}
