package client

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"time"
)

// AuditFilter selects acts. The zero value selects the newest ones that the caller may see.
type AuditFilter struct {
	// By is who did it.
	By string
	// Subject is a user, a team, a machine type, an image or an application, and Number a job, that it was done to.
	Subject string
	Number  int64
	// Since leaves out what is older.
	Since time.Time
	// Before continues a listing: the Next of the page before; 0 begins with the newest.
	Before int64
	// Limit is how many records a page has at most; 0 leaves it to the server.
	Limit int
}

// AuditPage is a part of the audit log, newest first.
type AuditPage struct {
	Records []AuditRecord `json:"records"`
	// Next is AuditFilter.Before of the next page, 0 at the end.
	Next int64 `json:"next"`
}

// AuditRecord is one act.
type AuditRecord struct {
	// ID grows with every record.
	ID int64     `json:"id"`
	At time.Time `json:"at"`
	// By is who did it, and From the network address of the request, empty when there was none.
	By   string `json:"by"`
	From string `json:"from"`
	// Act is the server's word for what was done, such as user-added or stop-requested.
	Act string `json:"act"`
	// Number is the job that it was done to, 0 when it was something else; then Subject names it.
	Number  int64  `json:"number"`
	Subject string `json:"subject"`
	// Detail is a sentence for people, may be empty.
	Detail string `json:"detail"`
	// Signal is the number of the signal that was sent, else 0.
	Signal int `json:"signal"`
	// Raw is the server's record.
	Raw json.RawMessage `json:"-"`
}

// UnmarshalJSON keeps the record as it came, too.
func (r *AuditRecord) UnmarshalJSON(text []byte) error {
	type plain AuditRecord
	r.Raw = bytes.Clone(text)
	return json.Unmarshal(text, (*plain)(r))
}

// Audit returns a page of who did what.
func (c *Client) Audit(ctx context.Context, filter AuditFilter) (AuditPage, error) {
	query := url.Values{}
	for name, value := range map[string]string{"by": filter.By, "subject": filter.Subject} {
		if value != "" {
			query.Set(name, value)
		}
	}
	for name, value := range map[string]int64{"number": filter.Number, "before": filter.Before, "limit": int64(filter.Limit)} {
		if value > 0 {
			query.Set(name, strconv.FormatInt(value, 10))
		}
	}
	if !filter.Since.IsZero() {
		query.Set("since", filter.Since.UTC().Format(time.RFC3339Nano))
	}
	var page AuditPage
	_, err := c.get(ctx, "/v1/audit", query, &page)
	return page, err
}
