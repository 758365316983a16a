package control

import (
	"context"
	"strconv"

	"github.com/berth-hpc/berth"
)

const msgNotKept = "No data of the job is kept"

// KeptData lists the data of the caller's jobs that could not be copied back to their vaults, by number; for administrators, and with
// everyone, that of every job.
func (s *Service) KeptData(ctx context.Context, caller berth.Caller, everyone bool) ([]berth.Kept, error) {
	owner := caller.User.Name
	if everyone {
		if !caller.User.Admin {
			return nil, errAdminOnly
		}
		owner = ""
	}
	return s.cfg.Store.AllKept(ctx, owner)
}

// WishKept has kept data saved or dropped, by who may control its job. It returns when the wish is on disk; what comes of it KeptData
// tells.
func (s *Service) WishKept(ctx context.Context, caller berth.Caller, number int64, wish berth.KeptWish) error {
	if caller.Job != 0 {
		return errNotByToken
	}
	job, err := s.controllable(ctx, caller, JobRef{Number: number})
	if err != nil {
		return err
	}
	act := s.act(caller, berth.ActKeptWished, strconv.FormatInt(job.Number, 10), string(wish))
	if err := s.cfg.Store.WishKept(ctx, job.Number, wish, act); err != nil {
		return named(err, msgNotKept)
	}
	s.cfg.LookAtKept(job.Number)
	return nil
}
