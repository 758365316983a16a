package control

import (
	"context"
	"slices"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

// billingPage is how many jobs are read at a time.
const billingPage = 1000

// BillingFilter selects jobs for a bill. The zero value selects all.
type BillingFilter struct {
	// Users selects the jobs of these, and those that they pay for; empty is everybody's.
	Users []string
	// Machines and Applications select by machine type and by application; empty is all.
	Machines, Applications []string
	// From and Until are when jobs were submitted: from the one on and before the other. The zero time is no limit.
	From, Until time.Time
}

// Billing calls visit for every job that an administrator may be asked to bill, the newest first. It stops at the first error of visit
// and returns it.
func (s *Service) Billing(ctx context.Context, caller berth.Caller, filter BillingFilter, visit func(berth.Job) error) error {
	if err := readsAll(caller); err != nil {
		return err
	}
	return s.eachJob(ctx, filter.From, func(job berth.Job) error {
		if !filter.selects(job) {
			return nil
		}
		return visit(job)
	})
}

func (f BillingFilter) selects(job berth.Job) bool {
	among := func(names []string, some ...string) bool {
		return len(names) == 0 || slices.ContainsFunc(some, func(name string) bool { return slices.Contains(names, name) })
	}
	return !job.Submitted.Before(f.From) && (f.Until.IsZero() || job.Submitted.Before(f.Until)) &&
		among(f.Users, job.Owner, job.Payer) && among(f.Machines, job.Submission.Machine.Type) && among(f.Applications, job.Application)
}

// Projects returns who has submitted jobs of which project. A project is nothing but a word of submissions; its name here is that
// of the payer, a hyphen and the word.
func (s *Service) Projects(ctx context.Context, caller berth.Caller) (map[string][]string, error) {
	if err := readsAll(caller); err != nil {
		return nil, err
	}
	projects := map[string][]string{}
	err := s.eachJob(ctx, time.Time{}, func(job berth.Job) error {
		if job.Submission.Project == "" {
			return nil
		}
		name := job.Payer + "-" + job.Submission.Project
		if !slices.Contains(projects[name], job.Owner) {
			projects[name] = append(projects[name], job.Owner)
		}
		return nil
	})
	for _, users := range projects {
		slices.Sort(users)
	}
	return projects, err
}

// submissionTakes is far above the time between the moment that a job has as its submission and the one at which it gets its number.
const submissionTakes = time.Hour

// eachJob calls visit for every job that was submitted from a time on, the newest first, and for some before it. It costs as much as
// there are: one does it at a time, and keeps no other kind of reader waiting.
func (s *Service) eachJob(ctx context.Context, from time.Time, visit func(berth.Job) error) error {
	end, err := enter(ctx, s.reporting)
	if err != nil {
		return err
	}
	defer end()
	filter := store.Filter{Newest: true, Limit: billingPage}
	for {
		jobs, err := s.cfg.Store.Jobs(ctx, filter)
		if err != nil {
			return err
		}
		for _, job := range jobs {
			if job.Submitted.Before(from.Add(-submissionTakes)) {
				return nil
			}
			if err := visit(job); err != nil {
				return err
			}
		}
		if len(jobs) < billingPage {
			return nil
		}
		filter.After = jobs[len(jobs)-1].Number
	}
}

// readsAll returns nil when the caller may read what concerns everybody.
func readsAll(caller berth.Caller) error {
	switch {
	case caller.Job != 0:
		return errNotByToken
	case !caller.User.Admin:
		return errAdminOnly
	}
	return nil
}

// Licence returns what allows this server to be used, for administrators: there is no key that could be missing or run out.
func (s *Service) Licence(_ context.Context, caller berth.Caller) (string, error) {
	return "berth is free software under the Apache License 2.0: https://www.apache.org/licenses/LICENSE-2.0\nIt needs no licence key.\n", readsAll(caller)
}
