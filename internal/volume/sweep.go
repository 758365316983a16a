package volume

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/wholefile"
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
	for _, path := range known {
		if !v.own(path) {
			v.Log.WarnContext(ctx, "a block vault was made with another --volume-dir: jobs do not get it", "volume", path)
		}
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
	stays := vol.layout.Complete && exists(filepath.Join(dir, attached))
	if len(vol.layout.Images) == 0 {
		// Its making was broken off at the very beginning, or it has images of an array that was made when this directory was not the first.
		err = errors.Join(absent(os.Remove(filepath.Join(dir, layoutFile+wholefile.Unfinished))), os.Remove(dir))
		if stays = errors.Is(err, unix.ENOTEMPTY); !stays {
			return err
		}
	}
	if stays {
		v.Log.WarnContext(ctx, "a volume that no vault has stays where it is", "volume", dir)
		return nil
	}
	return v.discard(ctx, vol)
}

// DetachAll is Detach for everybody. It is for a machine on which nothing is to go on: no job and no server may use the volumes.
// Those who were killed a moment ago may have much to write before they let go, so that it is patient.
func (v *Volumes) DetachAll(ctx context.Context) (err error) {
	const tries = 6
	for range tries {
		var attempts []string
		if attempts, err = v.Attempts(); err != nil {
			return err
		}
		for _, attempt := range attempts {
			err = errors.Join(err, v.Detach(ctx, attempt))
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}
