package httpapi

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"unicode/utf8"

	"golang.org/x/text/runes"
	"golang.org/x/text/transform"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

// defaultLines is how many lines tail and output answer when the request names no number. One client counts on it.
const defaultLines = 100

func (s *server) tail(c *call) error   { return s.lines(c, s.control.Tail) }
func (s *server) output(c *call) error { return s.lines(c, s.control.Output) }

// smallOutput is how much of an output is answered as a whole, in bytes. More is streamed: it may be larger than memory.
const smallOutput = 64 << 10

// lines answers the last lines of an output.
func (s *server) lines(c *call, read func(context.Context, berth.Caller, control.JobRef, int) (io.ReadCloser, error)) error {
	p, err := c.parameters()
	if err != nil {
		return err
	}
	lines, err := p.integer("lines", defaultLines)
	if err != nil {
		return err
	}
	caller, ref, err := s.jobRequest(c, p)
	if err != nil {
		return err
	}
	output, err := read(c.r.Context(), caller, ref, int(lines))
	if err != nil {
		return err
	}
	defer func() { _ = output.Close() }() // what was read is right whatever Close says
	text, err := io.ReadAll(io.LimitReader(output, smallOutput))
	switch {
	case err != nil:
		return err
	case len(text) == smallOutput:
		if err := s.linger(c); err != nil {
			return err
		}
		return c.stream(io.MultiReader(bytes.NewReader(text), output), false)
	case !utf8.Valid(text):
		text = runes.ReplaceIllFormed().Bytes(text)
	}
	c.write(http.StatusOK, contentText, text)
	return nil
}

// jobOutput streams the output of a job in any state, as valid UTF-8 or, for clients that count its bytes, as it is.
func (s *server) jobOutput(c *call, caller berth.Caller, p params) error {
	number, err := c.jobNumber()
	if err != nil {
		return err
	}
	offset, err := p.integer("offset", 0)
	if err != nil {
		return err
	}
	if err := s.linger(c); err != nil {
		return err
	}
	stream, err := s.control.OpenOutput(c.r.Context(), caller, control.JobRef{Number: number}, offset, p.flag("follow"))
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }() // what was read is right whatever Close says
	c.w.Header().Set("Berth-Offset", strconv.FormatInt(offset, 10))
	return c.stream(stream, p.flag("raw"))
}

// stream sends what it reads as it comes. The status is sent before the first byte is there.
func (c *call) stream(source io.Reader, raw bool) error {
	contentType := contentBytes
	if !raw {
		contentType = contentText
		source = transform.NewReader(source, runes.ReplaceIllFormed())
	}
	c.w.Header().Set("Content-Type", contentType)
	c.w.Header().Set("X-Content-Type-Options", "nosniff")
	out := c.flushed()
	if c.r.Method == http.MethodHead {
		return nil
	}
	_, err := io.CopyBuffer(out, source, make([]byte, 32<<10))
	return err
}

// flushed returns a writer that sends every piece at once, after the header.
func (c *call) flushed() io.Writer {
	c.w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(c.w).Flush() // a client that is gone shows at the next write
	return flushWriter{c}
}

type flushWriter struct{ call *call }

func (f flushWriter) Write(p []byte) (int, error) {
	n, err := f.call.w.Write(p)
	if err != nil {
		return n, err
	}
	err = http.NewResponseController(f.call.w).Flush()
	f.call.clearWriteDeadline() // the next piece may come after any time
	return n, err
}
