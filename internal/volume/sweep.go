package volume

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
)

// Attempts lists the attempts that have a claim.
func (v *Volumes) Attempts() ([]string, error) {
	dirs, err := v.directories()
	if err != nil {
		return nil, err
	}
	var attempts []string
	for _, dir := range dirs {
		claims, err := (&volume{dir: dir}).claims()
		if err != nil {
			return nil, err
		}
		for _, c := range claims {
			attempts = append(attempts, c.attempt())
		}
	}
	slices.Sort(attempts)
	return slices.Compact(attempts), nil
}

// Sweep deletes volumes that are none of the known paths: those of which a server was killed while it made or removed them, and those that
// no job has ever had. Others may have files that somebody wants back, as after the restore of an old backup: they are told to the log and stay.
// It is for the start of a server, before anything else is done.
func (v *Volumes) Sweep(ctx context.Context, known []string) error {
	dirs, err := v.directories()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if !slices.ContainsFunc(known, func(path string) bool { return filepath.Clean(path) == filepath.Clean(dir) }) {
			err = errors.Join(err, v.sweep(ctx, dir))
		}
	}
	return err
}

func (v *Volumes) sweep(ctx context.Context, dir string) (err error) {
	vol, err := lock(ctx, dir)
	if err != nil {
		return absent(err)
	}
	defer func() { err = errors.Join(err, vol.unlock()) }()
	if vol.layout.Complete && exists(filepath.Join(dir, attached)) {
		v.Log.WarnContext(ctx, "a volume that no vault has stays where it is", "volume", dir)
		return nil
	}
	return v.discard(ctx, vol)
}
