package client

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// JobEntry is a job as the JARVICE endpoints show it: the common view of all clients of that API. Job says more about the end.
type JobEntry struct {
	Number        int64  `json:"-"`
	Name          string `json:"job_name"`
	Status        Status `json:"job_status"`
	Substatus     int    `json:"job_substatus"`
	SubstatusText string `json:"job_substatus_text"`
	Label         string `json:"job_label"`
	Project       string `json:"job_project"`
	Owner         string `json:"job_owner_username"`
	Application   string `json:"job_application"`
	Command       string `json:"job_command"`
	// SubmitTime, StartTime and EndTime are Unix seconds, 0 until they happen.
	SubmitTime int64 `json:"job_submit_time"`
	StartTime  int64 `json:"job_start_time"`
	EndTime    int64 `json:"job_end_time"`
	// Walltime is how long it ran as HH:MM:SS, empty before its end.
	Walltime string `json:"job_walltime"`
	// Submission is what was asked for. Only listings have it.
	Submission struct {
		Machine MachineRequest `json:"machine"`
	} `json:"job_api_submission"`
	// Raw is the server's entry.
	Raw json.RawMessage `json:"-"`
}

// Submitted returns when the job was submitted.
func (e JobEntry) Submitted() time.Time { return unix(e.SubmitTime) }

// Started returns when the job was started, zero when it was not.
func (e JobEntry) Started() time.Time { return unix(e.StartTime) }

// Ended returns when the job ended, zero when it has not.
func (e JobEntry) Ended() time.Time { return unix(e.EndTime) }

func unix(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// JobsFilter selects jobs of a listing. The zero value selects those that have not ended.
type JobsFilter struct {
	// Completed selects jobs that have ended, however; All both kinds.
	Completed, All bool
	// Label selects jobs whose label contains it, or is it with LabelExact.
	Label      string
	LabelExact bool
}

// Status returns the common view of a job.
func (c *Client) Status(ctx context.Context, ref Ref) (JobEntry, error) {
	entries, err := c.entries(ctx, "/jarvice/status", ref.values())
	switch {
	case err != nil:
		return JobEntry{}, err
	case len(entries) != 1:
		return JobEntry{}, fmt.Errorf("answer to the status of job %s has %d jobs", ref, len(entries))
	}
	return entries[0], nil
}

// Jobs lists the caller's jobs, ordered by number.
func (c *Client) Jobs(ctx context.Context, filter JobsFilter) ([]JobEntry, error) {
	return c.entries(ctx, "/jarvice/jobs", filter.values())
}

// TeamJobs lists the jobs of the caller's team, ordered by number: for the payer and the team's administrators all of them, for
// administrators those of everybody, for others their own.
func (c *Client) TeamJobs(ctx context.Context, filter JobsFilter) ([]JobEntry, error) {
	return c.entries(ctx, "/jarvice/teamjobs", filter.values())
}

func (filter JobsFilter) values() url.Values {
	query := url.Values{}
	if filter.Completed {
		query.Set("completed", "true")
	}
	if filter.All {
		query.Set("all", "true")
	}
	if filter.Label != "" {
		query.Set("label", filter.Label)
	}
	if filter.LabelExact {
		query.Set("exactmatch", "true")
	}
	return query
}

// entries reads a map from the number, as text, to the job.
func (c *Client) entries(ctx context.Context, path string, query url.Values) ([]JobEntry, error) {
	var answer map[string]json.RawMessage
	if _, err := c.get(ctx, path, query, &answer); err != nil {
		return nil, err
	}
	entries := make([]JobEntry, 0, len(answer))
	for key, raw := range answer {
		number, err := strconv.ParseInt(key, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("answer to %s: %w", path, err)
		}
		entry := JobEntry{}
		if err := json.Unmarshal(raw, &entry); err != nil {
			return nil, fmt.Errorf("answer to %s: job %d: %w", path, number, err)
		}
		entry.Number, entry.Raw = number, raw
		entries = append(entries, entry)
	}
	slices.SortFunc(entries, func(a, b JobEntry) int { return cmp.Compare(a.Number, b.Number) })
	return entries, nil
}
