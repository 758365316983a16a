package output

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// archiveSuffix is what the name of a compressed output ends in.
const archiveSuffix = ".zst"

// content is the output of a job, as it is or compressed.
type content interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// plainFile is an output as it was written. Its size is that of the moment when it was opened.
type plainFile struct {
	*os.File
	size int64
}

func (p plainFile) Size() int64 { return p.size }

// open opens the output of a job in whichever form it is there. The error wraps fs.ErrNotExist when it is in none.
func (f *Files) open(number int64) (content, error) {
	file, err := os.Open(f.path(number))
	if errors.Is(err, fs.ErrNotExist) {
		return f.openArchive(number) // after the other one: it is there before that goes
	}
	if err != nil {
		return nil, fmt.Errorf("output of job %d: %w", number, err)
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("output of job %d: %w", number, err)
	}
	return plainFile{file, info.Size()}, nil
}

// Has says whether a job has an output, be it empty. What cannot be looked at may be one.
func (f *Files) Has(number int64) bool {
	for _, path := range []string{f.path(number), f.path(number) + archiveSuffix} { // the archive is there before the other goes
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

func (f *Files) openArchive(number int64) (content, error) {
	file, err := os.Open(f.path(number) + archiveSuffix)
	if err != nil {
		return nil, fmt.Errorf("output of job %d: %w", number, err)
	}
	a, err := openArchive(file)
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("output of job %d: %w", number, err)
	}
	return a, nil
}

// Compress compresses the output of a job that has ended, and returns how many bytes it has then; 0 when the job has no output. Who
// reads it meanwhile goes on. Safe to repeat, also after a crash in the middle.
func (f *Files) Compress(number int64) (size int64, err error) {
	path := f.path(number)
	size, err = compress(path)
	if errors.Is(err, fs.ErrNotExist) {
		info, err := os.Stat(path + archiveSuffix)
		if errors.Is(err, fs.ErrNotExist) {
			return 0, nil
		}
		if err != nil {
			return 0, fmt.Errorf("compress the output of job %d: %w", number, err)
		}
		return info.Size(), nil
	}
	if err != nil {
		return 0, fmt.Errorf("compress the output of job %d: %w", number, err)
	}
	return size, nil
}

// compress puts an archive in the place of a file. There is never none of them.
func compress(path string) (size int64, err error) {
	source, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = source.Close() }()
	archived := path + archiveSuffix
	made, err := os.OpenFile(archived+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	err = writeArchive(made, source)
	if err == nil {
		size, err = made.Seek(0, io.SeekCurrent)
	}
	err = errors.Join(err, made.Sync(), made.Close())
	if err == nil {
		err = os.Rename(archived+".new", archived)
	}
	if err != nil {
		_ = os.Remove(archived + ".new") // of no use to anybody
		return 0, err
	}
	return size, os.Remove(path)
}

// Delete deletes the output of a job that has ended, and its directory when nothing else is in it: there can be what is known of data
// that is kept. Safe to repeat.
func (f *Files) Delete(number int64) error {
	path := f.path(number)
	for _, name := range []string{path, path + archiveSuffix, path + archiveSuffix + ".new"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("delete the output of job %d: %w", number, err)
		}
	}
	err := os.Remove(f.Dir(number))
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTEMPTY) {
		return fmt.Errorf("delete the directory of job %d: %w", number, err)
	}
	return nil
}
