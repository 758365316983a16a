// Package vnctest plays VNC servers, for tests.
package vnctest

import (
	"encoding/binary"
	"fmt"
	"image"
	"io"
)

// Serve shows a screen to a client that needs no password, once, in two rectangles, with what servers may say in between. The client's
// bytes are kept short of checks: a wrong client shows by what it makes of the screen.
func Serve(conn io.ReadWriter, screen *image.RGBA) error {
	size := screen.Rect.Size()
	if err := greet(conn, size); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, conn, 20+8+10); err != nil { // pixels, encodings, the request
		return fmt.Errorf("what the client wants: %w", err)
	}
	message := []byte{2}                                                  // a bell
	message = append(message, 3, 0, 0, 0, 0, 0, 0, 4, 't', 'e', 'x', 't') // something was cut
	message = append(message, 1, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6)         // a colour
	message = append(message, 0, 0, 0, 2)                                 // the update
	upper, lower := image.Rect(0, 0, size.X, size.Y/2), image.Rect(0, size.Y/2, size.X, size.Y)
	for _, part := range []image.Rectangle{lower, upper} {
		for _, n := range []int{part.Min.X, part.Min.Y, part.Dx(), part.Dy()} {
			message = binary.BigEndian.AppendUint16(message, uint16(n)) //nolint:gosec // a screen's
		}
		message = append(message, 0, 0, 0, 0)
		for y := part.Min.Y; y < part.Max.Y; y++ {
			for x := range size.X {
				pixel := screen.RGBAAt(x, y)
				message = append(message, pixel.R, pixel.G, pixel.B, 77)
			}
		}
	}
	if _, err := conn.Write(message); err != nil {
		return fmt.Errorf("screen: %w", err)
	}
	return nil
}

// greet is all until the client knows the size.
func greet(conn io.ReadWriter, size image.Point) error {
	hello := binary.BigEndian.AppendUint16(nil, uint16(size.X))  //nolint:gosec // a screen's
	hello = binary.BigEndian.AppendUint16(hello, uint16(size.Y)) //nolint:gosec // a screen's
	hello = append(append(hello, make([]byte, 16)...), 0, 0, 0, 4, 'n', 'a', 'm', 'e')
	for _, step := range []struct {
		say  []byte
		want int
	}{
		{[]byte("RFB 003.008\n"), 12}, {[]byte{2, 16, 1}, 1}, {[]byte{0, 0, 0, 0}, 1}, {hello, 0},
	} {
		if _, err := conn.Write(step.say); err != nil {
			return fmt.Errorf("greeting: %w", err)
		}
		if _, err := io.CopyN(io.Discard, conn, int64(step.want)); err != nil {
			return fmt.Errorf("greeting of the client: %w", err)
		}
	}
	return nil
}
