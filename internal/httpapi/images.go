package httpapi

import (
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
	"github.com/berth-hpc/berth/internal/engine"
)

// imageAnswer is an image of the local store.
type imageAnswer struct {
	Name    string    `json:"name"`
	Digest  string    `json:"digest"`
	Size    int64     `json:"size"`
	Created time.Time `json:"created,omitzero"`
}

// imagesAnswer is a list of images, and the last line of a long operation that went well.
type imagesAnswer struct {
	Images []imageAnswer `json:"images"`
}

func newImagesAnswer(images []engine.Image) imagesAnswer {
	return imagesAnswer{each(images, func(img engine.Image) imageAnswer { return imageAnswer(img) })}
}

func (s *server) images(c *call, caller berth.Caller, _ params) error {
	images, err := s.control.Images(c.r.Context(), caller)
	if err != nil {
		return err
	}
	return c.writeJSON(newImagesAnswer(images))
}

func (s *server) removeImage(c *call, caller berth.Caller, p params) error {
	if p.text("name") == "" {
		return &berth.Error{Kind: berth.Invalid, Msg: msgMissing, Detail: "name"}
	}
	if err := s.control.RemoveImage(c.r.Context(), caller, p.text("name")); err != nil {
		return err
	}
	return c.writeJSON(statusAnswer{Status: "removed"})
}

// importImage reads an archive of any size from the body while it tells of its progress.
func (s *server) importImage(c *call, caller berth.Caller, p params) error {
	_ = http.NewResponseController(c.w).EnableFullDuplex() // progress goes out while the archive comes in; HTTP/2 always can
	req := control.ImportRequest{Name: p.text("name"), Rootfs: p.flag("rootfs")}
	return s.long(c, func(progress engine.Progress) ([]engine.Image, error) {
		return s.control.ImportImage(c.r.Context(), caller, upload{c}, req, progress)
	})
}

func (s *server) pullImage(c *call, caller berth.Caller, p params) error {
	return s.long(c, func(progress engine.Progress) ([]engine.Image, error) {
		img, err := s.control.PullImage(c.r.Context(), caller, p.text("name"), p.text("pull_secret"), progress)
		return []engine.Image{img}, err
	})
}

// progressLine is a line of a long operation; errorLine is the last one of one that failed after it had begun to answer.
type progressLine struct {
	Progress string `json:"progress"`
}

type errorLine struct {
	Error string `json:"error"`
}

// long answers an operation that takes long with one JSON object a line. One that fails before it has told of any progress is
// answered like every other error.
func (s *server) long(c *call, operation func(engine.Progress) ([]engine.Image, error)) error {
	if err := s.linger(c); err != nil {
		return err
	}
	lines := &lineWriter{call: c}
	images, err := operation(func(sentence string) { lines.write(progressLine{sentence}) })
	switch {
	case err != nil && lines.abandon():
		return err
	case err != nil:
		_, text := s.failure(c.r.Context(), c, err)
		lines.write(errorLine{text})
	default:
		lines.write(newImagesAnswer(images))
	}
	return lines.end()
}

// lineWriter writes JSON objects as lines. Progress may come from several goroutines.
type lineWriter struct {
	call *call

	mu   sync.Mutex
	out  io.Writer // nil before the first line
	err  error
	done bool
}

// abandon ends it when nothing was written yet, and says whether that is so.
func (l *lineWriter) abandon() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = l.out == nil
	return l.done
}

// write sends a line; after an error, and after end, it does nothing.
func (l *lineWriter) write(line any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || l.done {
		return
	}
	if l.out == nil {
		l.call.w.Header().Set("Content-Type", contentNDJSON)
		l.out = l.call.flushed()
	}
	text, err := encodeJSON(line)
	if err == nil {
		_, err = l.out.Write(append(text, '\n'))
	}
	l.err = err
}

// end returns the first error. Progress that comes later goes nowhere: the answer belongs to net/http again.
func (l *lineWriter) end() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = true
	return l.err
}
