package client

import (
	"bufio"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the protocol's own
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// What a message of a websocket is, RFC 6455.
const (
	messageMore   = 0
	messageText   = 1
	messageBinary = 2
	messageClose  = 8
	messagePing   = 9
	messagePong   = 10
)

const (
	// maxMessage bounds what is read as one message, in bytes; the server sends less.
	maxMessage = 1 << 20
	// maxControl is what the protocol allows in pings, pongs and the last message.
	maxControl = 125
	// finalFrame and maskedFrame are bits of the first two bytes of a frame.
	finalFrame, maskedFrame = 0x80, 0x80
)

// websocket is the end of a client. One goroutine may read while others write.
type websocket struct {
	conn    io.ReadWriteCloser
	in      *bufio.Reader
	writing sync.Mutex
}

// upgrade adds what asks for a websocket, and returns what the answer must prove.
func upgrade(header http.Header) (proof string) {
	random := make([]byte, 16)
	_, _ = rand.Read(random) // never fails
	key := base64.StdEncoding.EncodeToString(random)
	header.Set("Connection", "Upgrade")
	header.Set("Upgrade", "websocket")
	header.Set("Sec-WebSocket-Version", "13")
	header.Set("Sec-WebSocket-Key", key)
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // see above
	return base64.StdEncoding.EncodeToString(sum[:])
}

// newWebsocket takes the connection over of an answer that may be the one to upgrade.
func newWebsocket(resp *http.Response, proof string) (*websocket, error) {
	conn, ok := resp.Body.(io.ReadWriteCloser)
	if !ok || resp.Header.Get("Sec-WebSocket-Accept") != proof {
		return nil, errors.Join(errors.New("the answer is no websocket"), resp.Body.Close())
	}
	return &websocket{conn: conn, in: bufio.NewReader(conn)}, nil
}

// write sends a message in one frame, masked as those of clients are.
func (w *websocket) write(kind byte, data []byte) error {
	frame := []byte{finalFrame | kind}
	switch {
	case len(data) <= maxControl:
		frame = append(frame, maskedFrame|byte(len(data))) //nolint:gosec // see the case
	case len(data) <= 1<<16-1:
		frame = binary.BigEndian.AppendUint16(append(frame, maskedFrame|126), uint16(len(data))) //nolint:gosec // see the case
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, maskedFrame|127), uint64(len(data)))
	}
	var mask [4]byte
	_, _ = rand.Read(mask[:]) // never fails
	frame = append(frame, mask[:]...)
	for i, b := range data {
		frame = append(frame, b^mask[i%len(mask)])
	}
	w.writing.Lock()
	defer w.writing.Unlock()
	_, err := w.conn.Write(frame)
	return err
}

// read returns the next message that is text or bytes. It answers pings, and ends with io.EOF when the server says goodbye.
func (w *websocket) read() (kind byte, message []byte, err error) {
	for {
		opcode, final, data, err := w.readFrame()
		if err != nil {
			return 0, nil, err
		}
		switch opcode {
		case messagePing:
			if err := w.write(messagePong, data); err != nil {
				return 0, nil, err
			}
			continue
		case messagePong:
			continue
		case messageClose:
			_ = w.write(messageClose, data[:min(len(data), 2)]) // the server may have gone
			return 0, nil, io.EOF
		case messageText, messageBinary:
			kind, message = opcode, data
		case messageMore:
			message = append(message, data...)
		default:
			return 0, nil, fmt.Errorf("websocket: there is no message %d", opcode)
		}
		if len(message) > maxMessage {
			return 0, nil, errors.New("websocket: the message is too long")
		}
		if final {
			return kind, message, nil
		}
	}
}

func (w *websocket) readFrame() (opcode byte, final bool, data []byte, err error) {
	var header [2]byte
	if _, err := io.ReadFull(w.in, header[:]); err != nil {
		return 0, false, nil, err
	}
	length := uint64(header[1])
	switch header[1] {
	case 126:
		var extended [2]byte
		_, err = io.ReadFull(w.in, extended[:])
		length = uint64(binary.BigEndian.Uint16(extended[:]))
	case 127:
		var extended [8]byte
		_, err = io.ReadFull(w.in, extended[:])
		length = binary.BigEndian.Uint64(extended[:])
	}
	switch {
	case err != nil:
		return 0, false, nil, err
	case length > maxMessage, header[1]&maskedFrame != 0:
		return 0, false, nil, errors.New("websocket: the frame is too long, or masked")
	}
	data = make([]byte, length)
	_, err = io.ReadFull(w.in, data)
	return header[0] & 0x0f, header[0]&finalFrame != 0, data, err
}
