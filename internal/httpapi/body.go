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

// maxDrained bounds what is read and thrown away of a body that is not wanted. A client that is still sending would see a broken
// connection instead of the answer.
const maxDrained = 64 << 20

// stallLimit is how long a client may take to accept or to send a piece before it counts as gone.
const stallLimit = time.Minute

// hasBody says whether the request may have one.
func (c *call) hasBody() bool { return c.r.Body != nil && c.r.Body != http.NoBody }

// readDeadline and the two below change the deadlines of the connection. One without any (in tests) is fine, too.
func (c *call) readDeadline(after time.Duration) {
	_ = http.NewResponseController(c.w).SetReadDeadline(time.Now().Add(after))
}

func (c *call) clearReadDeadline() {
	_ = http.NewResponseController(c.w).SetReadDeadline(time.Time{})
}

func (c *call) clearWriteDeadline() {
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Time{})
}

// readBody reads a whole body of at most limit bytes. It must come within the deadline that every request begins with.
func (c *call) readBody(limit int64) ([]byte, error) {
	if c.r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	if !c.hasBody() {
		return nil, nil
	}
	var buf bytes.Buffer
	if c.r.ContentLength > 0 {
		buf.Grow(int(c.r.ContentLength) + bytes.MinRead) // so that ReadFrom need not grow it to see the end
	}
	// Without the ResponseWriter: it would close the connection before the answer was read.
	_, err := buf.ReadFrom(http.MaxBytesReader(nil, c.r.Body, limit))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, tooLarge(limit)
	}
	if err != nil {
		return nil, &berth.Error{Kind: c.route.texts.bodyLostKind, Msg: c.route.texts.bodyLost, Err: err}
	}
	c.clearReadDeadline() // from now on only the end of the connection is awaited
	return buf.Bytes(), nil
}

func tooLarge(limit int64) error {
	return &berth.Error{Kind: berth.TooLarge, Msg: msgTooLarge, Detail: fmt.Sprintf("a body may have at most %d bytes", limit)}
}

// drain reads what is left of a body, within limits, so that the client reads the answer and does not choke on its sending.
func (c *call) drain() {
	if !c.hasBody() || c.r.Header.Get("Expect") != "" { // with Expect it waits for leave to send, and does not get it
		return
	}
	c.readDeadline(c.bodyTimeout)
	_, _ = io.CopyN(io.Discard, c.r.Body, maxDrained) // how far it came does not matter
}

// upload is a body of any size, which may take as long as it takes but not stand still.
type upload struct{ call *call }

func (u upload) Read(p []byte) (int, error) {
	u.call.readDeadline(stallLimit)
	n, err := u.call.r.Body.Read(p)
	if err != nil {
		u.call.clearReadDeadline()
	}
	return n, err
}
