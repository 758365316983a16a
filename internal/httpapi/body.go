package httpapi

import (
	"bytes"
	"context"
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

const (
	// maxAhead bounds the room that is made for a body before it comes, in bytes.
	maxAhead = 64 << 10
	// freeBody is what a body may have, in bytes, however much the others have: small requests are answered under any load.
	freeBody = 4 << 10
)

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

// readBody reads a whole body of at most limit bytes. It must come within the deadline that every request begins with. Meanwhile
// the request has no place.
func (c *call) readBody(limit int64) ([]byte, error) {
	if c.r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	if !c.hasBody() {
		return nil, nil
	}
	c.stepAside()
	var buf bytes.Buffer
	// What the header says may never come, so there is room for little of it. With MinRead, ReadFrom need not grow it to see the end.
	buf.Grow(int(min(max(0, c.r.ContentLength), maxAhead)) + bytes.MinRead)
	// Without the ResponseWriter: it would close the connection before the answer was read.
	_, err := buf.ReadFrom(&metered{call: c, body: http.MaxBytesReader(nil, c.r.Body, limit)})
	switch _, tooLong := errors.AsType[*http.MaxBytesError](err); {
	case tooLong:
		return nil, tooLarge(limit)
	case berth.KindOf(err) == berth.Unavailable:
		return nil, err
	case err != nil:
		return nil, &berth.Error{Kind: c.route.texts.bodyLostKind, Msg: c.route.texts.bodyLost, Err: err}
	}
	c.clearReadDeadline() // from now on only the end of the connection is awaited
	return buf.Bytes(), c.server.enter(c.r.Context(), c)
}

// metered is a body that is held in memory: beyond what every connection costs, all of them together may have so many bytes.
type metered struct {
	call *call
	body io.Reader
	read int64
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.body.Read(p)
	m.read += int64(n)
	if err := m.call.holdAll(m.read - freeBody); err != nil {
		return n, err
	}
	return n, err
}

// hold waits for memory for some more bytes. It counts when they have come: clients that send nothing hold nothing.
func (c *call) hold(bytes int64) error {
	ctx, cancel := context.WithTimeout(c.r.Context(), c.server.cfg.Patience)
	defer cancel()
	if c.server.bodies.Acquire(ctx, bytes) != nil {
		c.server.ordinary.refused.Inc()
		return busy("too many large requests at a time, try again")
	}
	c.held += bytes
	return nil
}

// holdAll is hold for what has so many bytes by now in all: a body, or an answer that is made in memory.
func (c *call) holdAll(bytes int64) error {
	if due := bytes - c.held; due > 0 {
		return c.hold(due)
	}
	return nil
}

func tooLarge(limit int64) error {
	return &berth.Error{Kind: berth.TooLarge, Msg: msgTooLarge, Detail: fmt.Sprintf("a body may have at most %d bytes", limit)}
}

// drain reads what is left of a body, within limits, so that the client reads the answer and does not choke on its sending. It ends
// the work on the request.
func (c *call) drain() {
	if !c.hasBody() || c.r.Header.Get("Expect") != "" { // with Expect it waits for leave to send, and does not get it
		return
	}
	c.leave()
	c.readDeadline(c.server.cfg.BodyTimeout)
	_, _ = io.CopyN(io.Discard, c.r.Body, maxDrained) // how far it came does not matter
}

// upload is a body of any size, which may take as long as it takes but not stand still. One that breaks off is the client's fault.
type upload struct{ call *call }

func (u upload) Read(p []byte) (int, error) {
	u.call.readDeadline(stallLimit)
	n, err := u.call.r.Body.Read(p)
	if err == nil {
		return n, nil
	}
	u.call.clearReadDeadline()
	if errors.Is(err, io.EOF) {
		return n, io.EOF
	}
	return n, &berth.Error{Kind: u.call.route.texts.bodyLostKind, Msg: u.call.route.texts.bodyLost, Err: err}
}
