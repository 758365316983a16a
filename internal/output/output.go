// Package output finds and reads the output files of jobs: one file per job, appended to by the job's agent, read by the server
// while it grows and after its end.
package output

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// jobsPerFolder keeps the folders small enough to list: job 1234567 lives in 1234/1234567.
const jobsPerFolder = 1000

const (
	// slowTick is how often a follower looks without being told, should a notification be lost.
	slowTick = time.Second
	// firstTick is how soon it looks again for a file that is not there yet, twice as late each time.
	firstTick = 10 * time.Millisecond
)

// Files are the output files below one directory. Make it with New, and call Run to have followers woken by the kernel. Safe for
// concurrent use.
type Files struct {
	root string
	log  *slog.Logger

	mu       sync.Mutex
	watcher  *fsnotify.Watcher
	watchers map[string]map[chan struct{}]struct{}
}

// New returns the files below root, an absolute path.
func New(root string, log *slog.Logger) *Files {
	return &Files{root: root, log: log, watchers: make(map[string]map[chan struct{}]struct{})}
}

// Dir returns the directory of a job, which holds its output and, while it runs, what the server and its agent exchange.
func (f *Files) Dir(number int64) string {
	return filepath.Join(f.root, strconv.FormatInt(number/jobsPerFolder, 10), strconv.FormatInt(number, 10))
}

func (f *Files) path(number int64) string { return filepath.Join(f.Dir(number), agentapi.OutputFile) }

// Run wakes followers when their files grow, until ctx ends. Without it they look once a second.
func (f *Files) Run(ctx context.Context) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("output: watch files: %w", err)
	}
	defer func() { _ = watcher.Close() }()
	f.adopt(watcher)
	defer f.adopt(nil)
	for {
		select {
		case <-ctx.Done():
			return nil
		case event, ok := <-watcher.Events:
			if !ok {
				return nil
			}
			f.wake(event.Name)
		case err, ok := <-watcher.Errors:
			if !ok {
				return nil
			}
			f.log.WarnContext(ctx, "watching output files failed; followers look once a second", "error", err)
		}
	}
}

// adopt makes the watcher (nil: none) the one that tells of changes, also of the files that are followed already.
func (f *Files) adopt(watcher *fsnotify.Watcher) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watcher = watcher
	for path := range f.watchers {
		f.add(path)
	}
}

// add starts the notifications for a path. A failure only makes followers slow. The caller holds mu.
func (f *Files) add(path string) {
	if f.watcher == nil {
		return
	}
	if err := f.watcher.Add(path); err != nil {
		f.log.Warn("cannot watch an output file; followers look once a second", "path", path, "error", err)
	}
}

func (f *Files) wake(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for ch := range f.watchers[path] {
		select {
		case ch <- struct{}{}:
		default: // it is about to look anyway
		}
	}
}

func (f *Files) watch(path string) (changed <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watchers[path] == nil {
		f.watchers[path] = make(map[chan struct{}]struct{})
		f.add(path)
	}
	f.watchers[path][ch] = struct{}{}
	return ch, func() { f.unwatch(path, ch) }
}

func (f *Files) unwatch(path string, ch chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.watchers[path], ch)
	if len(f.watchers[path]) > 0 {
		return
	}
	delete(f.watchers, path)
	if f.watcher != nil {
		_ = f.watcher.Remove(path) // gone with its file already, at worst
	}
}

// Tail returns the last lines of a job's output as it is now, all of it for 0. A last line without its end counts as one. A job
// that has written nothing yet has an empty output. The caller closes it.
func (f *Files) Tail(number int64, lines int) (io.ReadCloser, error) {
	file, err := f.open(number)
	if errors.Is(err, fs.ErrNotExist) {
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	if err != nil {
		return nil, err
	}
	start := int64(0)
	if lines > 0 { // found backwards, so that its cost does not grow with the file
		start, err = startOfLines(file, file.Size(), lines)
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("output of job %d: %w", number, err)
	}
	return section{io.NewSectionReader(file, start, file.Size()-start), file}, nil
}

// section is a part of an output.
type section struct {
	io.Reader
	io.Closer
}

// startOfLines returns the offset at which the last lines before end begin.
func startOfLines(file io.ReaderAt, end int64, lines int) (int64, error) {
	block := make([]byte, 32<<10)
	for pos := end; pos > 0; {
		n := min(pos, int64(len(block)))
		pos -= n
		if _, err := file.ReadAt(block[:n], pos); err != nil {
			return 0, err
		}
		for at := n; at > 0; {
			i := int64(bytes.LastIndexByte(block[:at], '\n'))
			if i < 0 {
				break
			}
			at = i
			if pos+i == end-1 {
				continue // the end of the last line, not of the one before
			}
			if lines--; lines == 0 {
				return pos + i + 1, nil
			}
		}
	}
	return 0, nil
}

// Open returns the output from the offset on; an offset behind the end is the end. With done not nil it goes on until done is
// closed and everything was read, also when there is no output yet. The reader is for one goroutine; it ends with ctx, with its
// cause.
func (f *Files) Open(ctx context.Context, number, offset int64, done <-chan struct{}) (io.ReadCloser, error) {
	file, complete, err := f.openAt(number, offset)
	switch {
	case err == nil && (complete || done == nil):
		return file, nil
	case err == nil:
		r := &follower{ctx: ctx, files: f, number: number, offset: offset, done: done}
		r.begin(file)
		return r, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case done == nil:
		return io.NopCloser(bytes.NewReader(nil)), nil
	default:
		return &follower{ctx: ctx, files: f, number: number, offset: offset, done: done}, nil
	}
}

// openAt opens the output of a job at an offset. The error wraps fs.ErrNotExist when there is none. A compressed one is complete.
func (f *Files) openAt(number, offset int64) (file io.ReadCloser, complete bool, err error) {
	found, err := f.open(number)
	if err != nil {
		return nil, false, err
	}
	growing, ok := found.(plainFile)
	if !ok {
		offset = min(offset, found.Size())
		return section{io.NewSectionReader(found, offset, found.Size()-offset), found}, true, nil
	}
	if _, err := growing.Seek(offset, io.SeekStart); err != nil {
		_ = growing.Close()
		return nil, false, fmt.Errorf("output of job %d: %w", number, err)
	}
	return growing, false, nil
}

// follower reads a file that grows, and that may not be there yet.
type follower struct {
	ctx            context.Context
	files          *Files
	number, offset int64
	done           <-chan struct{}
	// file is nil until it is there; then changed tells that it grew, until stop.
	file    io.ReadCloser
	changed <-chan struct{}
	stop    func()
	// last says that done was seen: the next end of the file is the end of the output.
	last bool
}

func (r *follower) begin(file io.ReadCloser) {
	r.file = file
	r.changed, r.stop = r.files.watch(r.files.path(r.number))
}

func (r *follower) Read(p []byte) (int, error) {
	for pause := firstTick; ; pause = min(2*pause, slowTick) {
		n, err := r.look(p)
		if n > 0 || !errors.Is(err, io.EOF) || r.last {
			return n, err
		}
		if r.file != nil {
			pause = slowTick // the file itself tells
		}
		if err := r.wait(pause); err != nil {
			return 0, err
		}
	}
}

// look reads what is there. Without a file that is nothing.
func (r *follower) look(p []byte) (int, error) {
	if r.file == nil {
		file, complete, err := r.files.openAt(r.number, r.offset)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return 0, io.EOF
		case err != nil:
			return 0, err
		case complete:
			r.file, r.stop, r.last = file, func() {}, true
		default:
			r.begin(file)
		}
	}
	return r.file.Read(p)
}

// wait waits until it is worth looking again.
func (r *follower) wait(atMost time.Duration) error {
	tick := time.NewTimer(atMost)
	defer tick.Stop()
	select {
	case <-r.changed:
	case <-tick.C:
	case <-r.done:
		r.last = true
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
	return nil
}

func (r *follower) Close() error {
	if r.file == nil {
		return nil
	}
	r.stop()
	return r.file.Close()
}
