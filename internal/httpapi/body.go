package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/berth-hpc/berth"
)

// maxDrained bounds what is read and thrown away of a body that is too large. A client that is still sending would see a broken
// connection instead of the answer.
const maxDrained = 64 << 20

// bodyTimeout is how long a body with a limit may take to arrive.
const bodyTimeout = time.Minute

// readBody reads a whole body of at most limit bytes.
func (c *call) readBody(limit int64) ([]byte, error) {
	if c.r.ContentLength > limit {
		return nil, c.tooLarge(limit)
	}
	if c.r.Body == http.NoBody {
		return nil, nil
	}
	responses := http.NewResponseController(c.w)
	_ = responses.SetReadDeadline(time.Now().Add(bodyTimeout)) // a connection without deadlines (in tests) is fine, too
	defer func() { _ = responses.SetReadDeadline(time.Time{}) }()
	var buf bytes.Buffer
	if c.r.ContentLength > 0 {
		buf.Grow(int(c.r.ContentLength) + bytes.MinRead) // so that ReadFrom need not grow it to see the end
	}
	// Without the ResponseWriter: it would close the connection before the answer was read.
	_, err := buf.ReadFrom(http.MaxBytesReader(nil, c.r.Body, limit))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, c.tooLarge(limit)
	}
	if err != nil {
		return nil, &berth.Error{Kind: c.route.texts.bodyLostKind, Msg: c.route.texts.bodyLost, Err: err}
	}
	return buf.Bytes(), nil
}

func (c *call) tooLarge(limit int64) error {
	if c.r.Header.Get("Expect") == "" { // else the client waits for leave to send, and does not get it
		_, _ = io.CopyN(io.Discard, c.r.Body, maxDrained) // how far it came does not matter
	}
	return &berth.Error{Kind: berth.TooLarge, Msg: msgTooLarge, Detail: fmt.Sprintf("a body may have at most %d bytes", limit)}
}
