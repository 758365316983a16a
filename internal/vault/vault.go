// Package vault provides what jobs find at /data: directories of the server, one for each file vault and one for each attempt
// with an ephemeral vault or an object vault.
package vault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/diskquota"
)

// Directories keeps vaults below the server's data directory. All methods are safe for concurrent use and safe to repeat.
type Directories struct {
	// Files is where file vaults are made: Files/<user>/<name>.
	Files string
	// Scratch holds the ephemeral vaults, and the files of object vaults: Scratch/<attempt>.
	Scratch string
}

// FilePath returns the directory of a user's file vault. Names of users and vaults hold no slash.
func (d Directories) FilePath(user, name string) string { return filepath.Join(d.Files, user, name) }

// Prepare makes the directory that an attempt finds at /data and returns its path. scratch bounds an ephemeral one together with what else
// the job has on the same filesystem, in bytes; 0 is no bound, others take a filesystem with project quotas. The job's user gets the directory itself from
// the agent; others on the server cannot enter the folders above it.
func (d Directories) Prepare(v berth.Vault, attempt string, scratch int64) (string, error) {
	path := v.Path
	if v.Kind == berth.VaultEphemeral || v.Kind == berth.VaultObject {
		path = filepath.Join(d.Scratch, attempt)
	}
	if path == "" {
		return "", fmt.Errorf("vault %s of %s: a vault of kind %q has no directory", v.Name, v.Owner, v.Kind)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("vault %s of %s: %w", v.Name, v.Owner, err)
	}
	err := os.Mkdir(path, 0o750)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("vault %s of %s: %w", v.Name, v.Owner, err)
	}
	if job, ok := berth.AttemptJob(attempt); ok && v.Kind == berth.VaultEphemeral && scratch > 0 {
		if err := diskquota.Limit(path, job, scratch); err != nil {
			return "", fmt.Errorf("vault %s of %s: %w", v.Name, v.Owner, err)
		}
	}
	return path, nil
}

// Release deletes the directory that is an attempt's own, and its bound. File vaults stay.
func (d Directories) Release(attempt string) error {
	path := filepath.Join(d.Scratch, attempt)
	if job, ok := berth.AttemptJob(attempt); ok {
		if err := diskquota.Release(path, job); err != nil {
			return fmt.Errorf("ephemeral vault of %s: %w", attempt, err)
		}
	}
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("ephemeral vault of %s: %w", attempt, err)
	}
	return nil
}

// Attempts lists the attempts that have a directory of their own.
func (d Directories) Attempts() ([]string, error) {
	entries, err := os.ReadDir(d.Scratch)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ephemeral vaults: %w", err)
	}
	attempts := make([]string, len(entries))
	for i, entry := range entries {
		attempts[i] = entry.Name()
	}
	return attempts, nil
}

// Empty says whether a file vault has no files. Other vaults have none here.
func (d Directories) Empty(v berth.Vault) (bool, error) {
	if v.Path == "" {
		return true, nil
	}
	entries, err := os.ReadDir(v.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("vault %s of %s: %w", v.Name, v.Owner, err)
	}
	return len(entries) == 0, nil
}

// Remove deletes the directory of a file vault, and with data everything in it; without, it fails when there is something.
func (d Directories) Remove(v berth.Vault, data bool) error {
	if v.Path == "" {
		return nil
	}
	remove := os.Remove
	if data {
		remove = os.RemoveAll
	}
	if err := remove(v.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("vault %s of %s: %w", v.Name, v.Owner, err)
	}
	return nil
}

// ForgetUploads removes what came of uploads to file vaults that nobody has continued since before.
func (d Directories) ForgetUploads(ctx context.Context, before time.Time) error {
	paths, err := filepath.Glob(filepath.Join(d.Files, "*", "*"))
	if err != nil {
		return fmt.Errorf("old uploads: %w", err)
	}
	for _, path := range paths {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err = errors.Join(err, forgetUploads(path, before))
	}
	return err
}

func forgetUploads(path string, before time.Time) error {
	root, err := os.OpenRoot(path)
	if err != nil {
		return fmt.Errorf("old uploads: %w", err)
	}
	tree := &Tree{root: root}
	return errors.Join(tree.Forget(before), tree.Close())
}
