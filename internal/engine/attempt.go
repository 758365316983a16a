package engine

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
)

// maxID is the length that the id of an attempt may have.
const maxID = 60

// ValidID says whether id can name an attempt.
func ValidID(id string) bool {
	return id != "" && len(id) <= maxID && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// Check returns an error that wraps ErrRefused when the attempt can never be started as it is.
func (a Attempt) Check() error {
	switch {
	case !ValidID(a.ID):
		return fmt.Errorf("%w: attempt id %q is not 1 to %d of a-z, 0-9 and -", ErrRefused, a.ID, maxID)
	case a.Cores < 1 || a.Cores > math.MaxInt32:
		return fmt.Errorf("%w: attempt %s with %d cores", ErrRefused, a.ID, a.Cores)
	case a.RAM < 1:
		return fmt.Errorf("%w: attempt %s with %d bytes of memory", ErrRefused, a.ID, a.RAM)
	case !filepath.IsAbs(a.Dir):
		return fmt.Errorf("%w: attempt %s with the directory %q, which is not absolute", ErrRefused, a.ID, a.Dir)
	}
	for _, w := range a.Workers {
		if !filepath.IsAbs(w.Dir) {
			return fmt.Errorf("%w: attempt %s with the directory %q of a node, which is not absolute", ErrRefused, a.ID, w.Dir)
		}
	}
	for _, m := range a.Mounts {
		if !filepath.IsAbs(m.Source) || !filepath.IsAbs(m.Target) {
			return fmt.Errorf("%w: attempt %s with a mount of %q at %q, which are not absolute", ErrRefused, a.ID, m.Source, m.Target)
		}
	}
	return nil
}
