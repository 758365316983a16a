package httpapi

import "github.com/berth-hpc/berth"

// backup sends a backup of the server. One that breaks off is told by its end, which is missing.
func (s *server) backup(c *call, caller berth.Caller, p params) error {
	if err := s.linger(c); err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", contentBytes)
	return s.control.Backup(c.r.Context(), caller, c.w, p.flag("outputs"))
}
