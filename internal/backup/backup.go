// Package backup makes one file of what a server must not lose, and a data directory of such a file.
package backup

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// A backup is a tar, compressed by Zstandard: first the manifest, then the files under their names in the data directory.
const (
	manifestName = "backup.json"
	databaseName = "berth.db"
	outputsDir   = "jobs"
)

// temporary is how the names of directories begin that hold the copy of a database while it is sent.
const temporary = "backup-"

// secrets are files of the data directory that are part of every backup, when they are there.
var secrets = []string{"credentials", "ssh_host_key"}

// Manifest says what a backup is of.
type Manifest struct {
	// Version is that of the server, Made when the backup was begun, Data the data directory.
	Version string    `json:"version"`
	Made    time.Time `json:"made"`
	Data    string    `json:"data"`
	// Outputs says that the outputs of jobs are in it.
	Outputs bool `json:"outputs"`
}

// Database is what is backed up.
type Database interface {
	// Backup writes the database, as it is at one moment, to a file that is not there yet.
	Backup(ctx context.Context, path string) error
}

// Maker makes backups of a running server. Safe for concurrent use.
type Maker struct {
	Database Database
	Data     string
	Version  string
	Now      func() time.Time
}

// Write writes a backup; with outputs those of all jobs too, as far as they are written. What it writes before an error is no backup,
// and Restore sees that. It needs room for a copy of the database in the data directory.
func (m *Maker) Write(ctx context.Context, to io.Writer, outputs bool) (err error) {
	dir, err := os.MkdirTemp(m.Data, temporary)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	database := filepath.Join(dir, databaseName)
	if err := m.Database.Backup(ctx, database); err != nil {
		return err
	}
	packer, err := zstd.NewWriter(to, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	archive := tar.NewWriter(packer)
	err = m.add(ctx, archive, database, Manifest{Version: m.Version, Made: m.Now().UTC(), Data: m.Data, Outputs: outputs})
	if err == nil {
		err = archive.Close()
	}
	if err == nil {
		return packer.Close() // without it the end is missing, and that is what tells a whole one
	}
	return fmt.Errorf("backup: %w", err)
}

// Clean removes from a data directory what backups left that a crash interrupted. No server may use the directory.
func Clean(data string) error {
	left, err := filepath.Glob(filepath.Join(data, temporary+"*"))
	for _, dir := range left {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	if err != nil {
		return fmt.Errorf("what is left of backups: %w", err)
	}
	return nil
}

func (m *Maker) add(ctx context.Context, archive *tar.Writer, database string, manifest Manifest) error {
	text, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	header := &tar.Header{Name: manifestName, Mode: 0o600, Size: int64(len(text)), ModTime: manifest.Made}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	if _, err := archive.Write(text); err != nil {
		return err
	}
	if err := addFile(archive, database, databaseName); err != nil {
		return err
	}
	for _, name := range secrets {
		if err := addFile(archive, filepath.Join(m.Data, name), name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if !manifest.Outputs {
		return nil
	}
	return m.addOutputs(ctx, archive)
}

// addOutputs adds the outputs of jobs, and nothing else of their directories. Some may go meanwhile.
func (m *Maker) addOutputs(ctx context.Context, archive *tar.Writer) error {
	top := filepath.Join(m.Data, outputsDir)
	return filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case !entry.Type().IsRegular() || !isOutput(entry.Name()):
			return nil
		}
		name, err := filepath.Rel(m.Data, path)
		if err != nil {
			return err
		}
		return addOutput(archive, path, name)
	})
}

// archived is what the name of a compressed output ends in.
const archived = ".zst"

func isOutput(name string) bool {
	return name == agentapi.OutputFile || name == agentapi.OutputFile+archived
}

// addOutput adds an output, perhaps in the form that it has got since it was found; none when it was deleted.
func addOutput(archive *tar.Writer, path, name string) error {
	err := addFile(archive, path, name)
	if info, errNow := os.Lstat(path + archived); errors.Is(err, fs.ErrNotExist) && errNow == nil && info.Mode().IsRegular() {
		err = addFile(archive, path+archived, name+archived)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// addFile adds a file as long as it is now. The error wraps fs.ErrNotExist when it is not there.
func addFile(archive *tar.Writer, path, name string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	header := &tar.Header{Name: name, Mode: 0o600, Size: info.Size(), ModTime: info.ModTime()}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.CopyN(archive, file, info.Size())
	return err
}
