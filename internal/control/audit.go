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
// a team what its members did; others what they did themselves. Whoever may see a job sees what was done to it, by whomever.
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
		if err := s.inTeam(ctx, caller, filter.By); err != nil {
			return nil, err
		}
		selection.Team = caller.User.Team
	case filter.By == "":
		selection.By = caller.User.Name
	default:
		return nil, errAdminOnly
	}
	return s.cfg.Store.Audit(ctx, selection)
}

// inTeam returns nil for the name of nobody, and of a user of the caller's team.
func (s *Service) inTeam(ctx context.Context, caller berth.Caller, name string) error {
	if name == "" {
		return nil
	}
	user, err := s.cfg.Store.User(ctx, name)
	switch {
	case err != nil && berth.KindOf(err) != berth.NotFound:
		return err
	case err != nil || user.Team != caller.User.Team:
		return errAdminOnly // whether there is such a user is not theirs to know
	}
	return nil
}
