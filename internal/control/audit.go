package control

import (
	"cmp"
	"context"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

// How many acts a reader gets.
const (
	auditPage = 100
	auditMost = 1000
)

// Audit lists what somebody did, newest first: to jobs, accounts, machine types and images. Administrators see all of it; who leads
// a team what was done to its jobs, to the team and to its members; others what they did themselves. Whoever may see a job sees what
// was done to it, by whomever.
func (s *Service) Audit(ctx context.Context, caller berth.Caller, filter AuditFilter) ([]berth.Record, error) {
	selection := store.AuditFilter{
		By: filter.By, Number: filter.Number, Subject: filter.Subject, Since: filter.Since, Before: filter.Before,
		Limit: min(cmp.Or(filter.Limit, auditPage), auditMost),
	}
	switch {
	case caller.Job != 0:
		return nil, errNotByToken
	case filter.Limit < 0:
		return nil, invalid("limit", "%d is not within 1 to %d", filter.Limit, auditMost)
	case filter.Number != 0:
		if _, err := s.Job(ctx, caller, JobRef{Number: filter.Number}); err != nil {
			return nil, err
		}
	case caller.User.Admin:
	case filter.By == caller.User.Name:
	case leads(caller):
		selection.Team = caller.User.Team
	case filter.By == "":
		selection.By = caller.User.Name
	default:
		return nil, errAdminOnly
	}
	read := s.cfg.Store.Audit
	if selection.Team != "" && selection.Subject == "" {
		read = s.walkAudit
	}
	records, err := read(ctx, selection)
	return shown(caller, records), err
}

// walkAudit reads piece by piece what may lie far apart in the log.
func (s *Service) walkAudit(ctx context.Context, selection store.AuditFilter) ([]berth.Record, error) {
	end, err := s.walk(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	last, err := s.cfg.Store.LastRecord(ctx)
	if err != nil {
		return nil, err
	}
	before := last + 1
	if selection.Before > 0 {
		before = min(before, selection.Before)
	}
	var all []berth.Record
	for limit := selection.Limit; before > 1 && len(all) < limit; before -= walkWindow {
		selection.Before, selection.After, selection.Limit = before, max(0, before-walkWindow-1), limit-len(all)
		records, err := s.cfg.Store.Audit(ctx, selection)
		if err != nil {
			return nil, err
		}
		all = append(all, records...)
	}
	return all, nil
}
