package httpapi

import (
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

// Bounds of a page of the audit log.
const (
	defaultAudit = 100
	maxAudit     = 1000
)

// auditAnswer is a page of the audit log, newest first. Next is the parameter before of the next page, 0 at the end.
type auditAnswer struct {
	Records []auditRecord `json:"records"`
	Next    int64         `json:"next"`
}

// auditRecord is one act: what somebody did to a job, or to something else, which is the subject then.
type auditRecord struct {
	ID      int64     `json:"id"`
	At      time.Time `json:"at"`
	By      string    `json:"by"`
	From    string    `json:"from,omitempty"`
	Act     string    `json:"act"`
	Number  int64     `json:"number,omitempty"`
	Subject string    `json:"subject,omitempty"`
	Detail  string    `json:"detail,omitempty"`
	Signal  int       `json:"signal,omitempty"`
}

func newAuditRecord(r berth.Record) auditRecord {
	if r.Number != 0 {
		ev := r.Event
		return auditRecord{
			ID: r.ID, At: ev.At.UTC(), By: ev.By, From: ev.From, Act: string(ev.Kind), Number: r.Number, Detail: ev.Detail, Signal: ev.Signal,
		}
	}
	act := r.Act
	return auditRecord{
		ID: r.ID, At: act.At.UTC(), By: act.By, From: act.From, Act: string(act.Kind), Subject: act.Subject, Detail: act.Detail,
	}
}

func (s *server) audit(c *call, caller berth.Caller, p params) error {
	filter, err := auditFilter(&p)
	if err != nil {
		return err
	}
	records, err := s.control.Audit(c.r.Context(), caller, filter)
	if err != nil {
		return err
	}
	answer := auditAnswer{Records: each(records, newAuditRecord)}
	if len(records) >= filter.Limit {
		answer.Next = records[len(records)-1].ID
	}
	return c.writeJSON(answer)
}

func auditFilter(p *params) (control.AuditFilter, error) {
	filter := control.AuditFilter{By: p.text("by"), Subject: p.text("subject")}
	var err error
	if filter.Number, err = p.integer("number", 0); err != nil {
		return filter, err
	}
	if filter.Before, err = p.integer("before", 0); err != nil {
		return filter, err
	}
	if filter.Since, err = p.moment("since"); err != nil {
		return filter, err
	}
	filter.Limit, err = p.auditLimit()
	return filter, err
}

// auditLimit is how many records a page of the audit log shall have.
func (p *params) auditLimit() (int, error) {
	limit, err := p.integer("limit", defaultAudit)
	if err == nil && (limit < 1 || limit > maxAudit) {
		err = wrong("limit", "a whole number from 1 to 1000 is allowed")
	}
	return int(limit), err
}
