package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/berth-hpc/berth/internal/wholefile"
)

// claim is an attempt's right to a volume, with the directories at which it is mounted.
type claim struct {
	// dir is <volume>/attached/<attempt>; empty for none.
	dir      string
	readOnly bool
}

func (c claim) attempt() string { return filepath.Base(c.dir) }

// mount is where the file system is mounted.
func (c claim) mount() string { return filepath.Join(c.dir, "mount") }

// plain is where an encrypted volume can be read.
func (c claim) plain() string { return filepath.Join(c.dir, "plain") }

// daemon is a file that gocryptfs keeps locked as long as it runs.
func (c claim) daemon() string { return filepath.Join(c.dir, "daemon") }

// reader is a file that is there for those who only read: a claim that is half made is a writer's.
func (c claim) reader() string { return filepath.Join(c.dir, "reader") }

// Busy says that a volume cannot be had now because of others who have it.
type Busy struct {
	// Attempts have it; none when it is still mounted somewhere without a claim, as in a namespace of another process.
	Attempts []string
	// Writer says that one of them may write.
	Writer bool
}

// Error says who has it.
func (b *Busy) Error() string {
	switch {
	case len(b.Attempts) == 0:
		return "the volume is still mounted somewhere"
	case b.Writer:
		return "the volume is written to by " + strings.Join(b.Attempts, ", ")
	default:
		return "the volume is read by " + strings.Join(b.Attempts, ", ")
	}
}

// claims lists who has the volume.
func (vol *volume) claims() ([]claim, error) {
	entries, err := os.ReadDir(filepath.Join(vol.dir, attached))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("claims of volume: %w", err)
	}
	claims := make([]claim, len(entries))
	for i, entry := range entries {
		if claims[i], err = readClaim(filepath.Join(vol.dir, attached, entry.Name())); err != nil {
			return nil, err
		}
	}
	return claims, nil
}

func readClaim(dir string) (claim, error) {
	c := claim{dir: dir}
	_, err := os.Lstat(c.reader())
	c.readOnly = err == nil
	if err := absent(err); err != nil {
		return claim{}, fmt.Errorf("claim of volume: %w", err)
	}
	return c, nil
}

// free returns *Busy unless a claim may be made or kept beside the others. The zero claim is for nobody else at all.
func (vol *volume) free(ctx context.Context, wanted claim) error {
	others, err := vol.claims()
	if err != nil {
		return err
	}
	busy := &Busy{}
	for _, c := range others {
		if c.dir == wanted.dir || c.readOnly && wanted.readOnly {
			continue
		}
		busy.Attempts = append(busy.Attempts, c.attempt())
		busy.Writer = busy.Writer || !c.readOnly
	}
	if len(busy.Attempts) > 0 {
		return busy
	}
	if wanted.readOnly || wanted.dir != "" && isMount(wanted.mount()) {
		return nil
	}
	// The claims say that nobody has it. What the kernel says counts more.
	return patiently(ctx, vol.detached)
}

// claim makes the claim of an attempt, or finds it. It is on the disk afterwards. *Busy when others do not allow it.
func (vol *volume) claim(ctx context.Context, attempt string, readOnly bool) (claim, error) {
	c := claim{dir: filepath.Join(vol.dir, attached, attempt), readOnly: readOnly}
	if err := vol.free(ctx, c); err != nil {
		return claim{}, err
	}
	for _, dir := range []string{filepath.Dir(c.dir), c.dir, c.mount(), c.plain()} {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return claim{}, fmt.Errorf("claim volume: %w", err)
		}
	}
	if readOnly {
		if err := os.WriteFile(c.reader(), nil, 0o600); err != nil {
			return claim{}, fmt.Errorf("claim volume: %w", err)
		}
	}
	for _, dir := range []string{c.dir, filepath.Dir(c.dir), vol.dir} {
		if err := wholefile.SyncDir(dir); err != nil {
			return claim{}, fmt.Errorf("claim volume: %w", err)
		}
	}
	return c, nil
}

// remove gives the claim up. Nothing is mounted there any more: a directory that is not empty is an error.
func (c claim) remove() error {
	for _, path := range []string{c.mount(), c.plain(), c.daemon(), c.reader(), c.dir} {
		if err := absent(os.Remove(path)); err != nil {
			return fmt.Errorf("give volume up: %w", err)
		}
	}
	return wholefile.SyncDir(filepath.Dir(c.dir))
}
