// Package screenshot looks at the screen of a VNC server and makes a picture of it. The server may be anybody's: nothing that it says
// makes more of a picture than MaxPixels.
package screenshot

import (
	"bufio"
	"crypto/des" //nolint:gosec // the protocol's own
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
	"math/bits"
	"slices"
	"strings"
)

// MaxPixels bounds a picture: more than any screen of today has.
const MaxPixels = 1 << 24

// The protocol, RFC 6143.
const (
	version        = "RFB 003.008\n"
	securityNone   = 1
	securityVNC    = 2
	maxText        = 1 << 10 // of what is shown to people
	pixelBytes     = 4
	encodingRaw    = 0
	messageUpdate  = 0
	messageColours = 1
	messageBell    = 2
	messageCutText = 3
)

// client speaks to a server.
type client struct {
	in  *bufio.Reader
	out io.Writer
	// err is the first error; nothing is read or written after it.
	err error
}

// Take returns what the screen of the server at the other end of a new connection shows. An empty password is for one that wants
// none. The time that it takes is bounded by the connection's deadline only.
func Take(conn io.ReadWriter, password string) (*image.RGBA, error) {
	c := &client{in: bufio.NewReaderSize(conn, 64<<10), out: conn}
	screen, err := c.begin(password)
	if err != nil {
		return nil, fmt.Errorf("VNC: %w", err)
	}
	if err := c.fill(screen); err != nil {
		return nil, fmt.Errorf("VNC: %w", err)
	}
	return screen, nil
}

// begin introduces the two to each other, and returns a screen of the server's size.
func (c *client) begin(password string) (*image.RGBA, error) {
	theirs := string(c.read(len(version)))
	if c.err == nil && (!strings.HasPrefix(theirs, "RFB ") || theirs < version) {
		return nil, fmt.Errorf("the server speaks %q, at least 3.8 is needed", theirs)
	}
	c.write([]byte(version))
	if err := c.authenticate(password); err != nil {
		return nil, err
	}
	c.write([]byte{1}) // others may look, too
	size := c.read(4)
	c.read(16) // the server's own pixels
	c.skip(int64(c.uint32()))
	if c.err != nil {
		return nil, c.err
	}
	width, height := int(binary.BigEndian.Uint16(size)), int(binary.BigEndian.Uint16(size[2:]))
	if width == 0 || height == 0 || width*height > MaxPixels {
		return nil, fmt.Errorf("its screen has %dx%d pixels", width, height)
	}
	// Pixels as image.RGBA has them: 32 bits, red first; in rectangles of nothing but pixels.
	c.write([]byte{0, 0, 0, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 0, 8, 16, 0, 0, 0})
	c.write([]byte{2, 0, 0, 1, 0, 0, 0, encodingRaw})
	return image.NewRGBA(image.Rect(0, 0, width, height)), c.err
}

// authenticate shows that this client knows the password.
func (c *client) authenticate(password string) error {
	offered := c.read(int(c.byte()))
	switch {
	case c.err != nil:
		return c.err
	case len(offered) == 0:
		return c.reason("the server refuses")
	case slices.Contains(offered, securityVNC) && password != "":
		c.write([]byte{securityVNC})
		c.write(respond(c.read(2*des.BlockSize), password))
	case slices.Contains(offered, securityNone):
		c.write([]byte{securityNone})
	default:
		return errors.New("the server wants to know more than a password")
	}
	if result := c.uint32(); c.err == nil && result != 0 {
		return c.reason("the server does not take the password")
	}
	return c.err
}

// respond encrypts a challenge with a password, of which eight characters count.
func respond(challenge []byte, password string) []byte {
	key := make([]byte, des.BlockSize)
	copy(key, password)
	for i := range key { // VNC counts the bits of a key from the other end
		key[i] = bits.Reverse8(key[i])
	}
	block, err := des.NewCipher(key) //nolint:gosec // the protocol's own
	if err != nil || len(challenge) != 2*des.BlockSize {
		return nil
	}
	response := make([]byte, len(challenge))
	block.Encrypt(response, challenge)
	block.Encrypt(response[des.BlockSize:], challenge[des.BlockSize:])
	return response
}

// reason returns why the server refuses.
func (c *client) reason(what string) error {
	length := c.uint32()
	text := c.read(int(min(length, maxText)))
	if c.err != nil {
		return errors.New(what)
	}
	return fmt.Errorf("%s: %q", what, text)
}

// fill asks for the whole screen and reads it.
func (c *client) fill(screen *image.RGBA) error {
	size := screen.Rect.Size()
	for missing, again := size.X*size.Y, byte(0); missing > 0; {
		c.request(size, again)
		again = 1
		updated := false
		for !updated && c.err == nil {
			switch kind := c.byte(); kind {
			case messageUpdate:
				missing -= c.update(screen)
				updated = true
			case messageColours:
				c.read(3)
				c.skip(6 * int64(c.uint16()))
			case messageBell:
			case messageCutText:
				c.read(3)
				c.skip(int64(c.uint32()))
			default:
				c.fail(fmt.Errorf("the server sends a message of the unknown kind %d", kind))
			}
		}
		if c.err != nil {
			return c.err
		}
	}
	return nil
}

// request asks for the screen, or again for what changed.
func (c *client) request(size image.Point, changed byte) {
	message := []byte{3, changed, 0, 0, 0, 0}
	message = binary.BigEndian.AppendUint16(message, uint16(size.X)) //nolint:gosec // it was one
	message = binary.BigEndian.AppendUint16(message, uint16(size.Y)) //nolint:gosec // it was one
	c.write(message)
}

// update reads rectangles of the screen, and returns how many pixels they have.
func (c *client) update(screen *image.RGBA) int {
	c.read(1)
	pixels := 0
	for range c.uint16() {
		x, y, width, height := int(c.uint16()), int(c.uint16()), int(c.uint16()), int(c.uint16())
		encoding := c.uint32()
		rectangle := image.Rect(x, y, x+width, y+height)
		if c.err == nil && (encoding != encodingRaw || !rectangle.In(screen.Rect)) {
			c.fail(fmt.Errorf("the server sends %v in the encoding %d", rectangle, encoding))
		}
		if rectangle.Empty() { // it is in every other one, wherever it is, and has no pixels
			continue
		}
		for row := range height {
			if c.err != nil {
				return 0
			}
			line := screen.Pix[screen.PixOffset(x, y+row):][:width*pixelBytes]
			_, c.err = io.ReadFull(c.in, line)
			for i := pixelBytes - 1; i < len(line); i += pixelBytes {
				line[i] = 255
			}
		}
		pixels += width * height
	}
	return pixels
}

func (c *client) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// read returns the next n bytes, zeros after an error.
func (c *client) read(n int) []byte {
	data := make([]byte, n)
	if c.err == nil {
		_, c.err = io.ReadFull(c.in, data)
	}
	return data
}

func (c *client) skip(n int64) {
	if c.err == nil {
		_, c.err = io.CopyN(io.Discard, c.in, n)
	}
}

func (c *client) byte() byte     { return c.read(1)[0] }
func (c *client) uint16() uint16 { return binary.BigEndian.Uint16(c.read(2)) }
func (c *client) uint32() uint32 { return binary.BigEndian.Uint32(c.read(4)) }

func (c *client) write(data []byte) {
	if c.err == nil {
		_, c.err = c.out.Write(data)
	}
}
