package backup

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// unpacked is the directory, in the data directory, that holds what is not restored yet.
const unpacked = "restore.new"

// maxManifest bounds a manifest, in bytes.
const maxManifest = 1 << 20

// ErrNoBackup says that a file is no whole backup.
var ErrNoBackup = errors.New("this is no whole backup")

// ErrInUse says that the data directory has a database already.
var ErrInUse = errors.New("there is a database already")

// Restore makes a data directory of a backup. adapt is called with the unpacked database before anything of it counts: when it fails,
// or the program is killed, the data directory is as if nothing had happened, and Restore can be called again. Nobody else may use the
// directory.
func Restore(data string, from io.Reader, adapt func(Manifest, string) error) error {
	if _, err := os.Lstat(filepath.Join(data, databaseName)); err == nil {
		return fmt.Errorf("%w: %s: move it away, or give another directory", ErrInUse, filepath.Join(data, databaseName))
	}
	dir := filepath.Join(data, unpacked)
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	manifest, err := unpack(dir, from)
	if err != nil {
		return errors.Join(fmt.Errorf("restore: %w", err), os.RemoveAll(dir))
	}
	if err := adapt(manifest, filepath.Join(dir, databaseName)); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	if err := put(dir, data); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

// put moves everything to its place, the database last: without it nothing counts.
func put(dir, data string) error {
	for _, name := range slices.Concat(secrets, []string{outputsDir, databaseName}) {
		from, to := filepath.Join(dir, name), filepath.Join(data, name)
		if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.RemoveAll(to); err != nil {
			return err
		}
		if err := os.Rename(from, to); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// unpack writes the files of a backup to a directory, and nothing outside of it.
func unpack(dir string, from io.Reader) (Manifest, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Manifest{}, err
	}
	defer func() { _ = root.Close() }()
	decoder, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return Manifest{}, err
	}
	defer decoder.Close()
	archive := tar.NewReader(decoder)
	manifest, err := readManifest(archive)
	if err != nil {
		return Manifest{}, err
	}
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Manifest{}, fmt.Errorf("%w: %w", ErrNoBackup, err)
		}
		if err := unpackFile(root, archive, header); err != nil {
			return Manifest{}, err
		}
	}
	if _, err := io.Copy(io.Discard, decoder); err != nil { // to the end, which is what is missing of one that broke off
		return Manifest{}, fmt.Errorf("%w: %w", ErrNoBackup, err)
	}
	if _, err := root.Lstat(databaseName); err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrNoBackup, err)
	}
	return manifest, nil
}

func readManifest(archive *tar.Reader) (manifest Manifest, err error) {
	header, err := archive.Next()
	if err == nil && header.Name != manifestName {
		err = fmt.Errorf("it begins with %q", header.Name)
	}
	if err == nil {
		err = json.NewDecoder(io.LimitReader(archive, maxManifest)).Decode(&manifest)
	}
	if err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrNoBackup, err)
	}
	return manifest, nil
}

func unpackFile(root *os.Root, archive *tar.Reader, header *tar.Header) error {
	name := path.Clean(header.Name)
	known := slices.Contains(secrets, name) || name == databaseName || strings.HasPrefix(name, outputsDir+"/") && isOutput(path.Base(name))
	if header.Typeflag != tar.TypeReg || !known {
		return fmt.Errorf("%w: it holds %q", ErrNoBackup, header.Name)
	}
	if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return err
	}
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, archive)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: %w", ErrNoBackup, err)
	}
	return errors.Join(err, file.Sync(), file.Close())
}
