package control

import (
	"context"
	"io"

	"github.com/berth-hpc/berth"
)

// Backup writes a backup of the server, with outputs those of the jobs too. Administrators only; Unsupported with a database that has
// tools of its own. An error after the first byte means that what was written is no backup.
func (s *Service) Backup(ctx context.Context, caller berth.Caller, to io.Writer, outputs bool) error {
	if err := administers(caller); err != nil {
		return err
	}
	// Before: whoever gets the half of it has it too.
	if err := s.cfg.Store.Record(ctx, s.act(caller, berth.ActBackup, "", "")); err != nil {
		return err
	}
	return s.cfg.Backup(ctx, to, outputs)
}
