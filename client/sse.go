package client

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// maxFrame bounds one message of an event stream in bytes, so that an endless one does not eat the memory.
const maxFrame = 1 << 20

// errBadStream is about a stream that is no stream of events; connecting again would not help.
var errBadStream = errors.New("bad event stream")

// frame is one message of a stream of server-sent events.
type frame struct {
	event, id, data string
}

// frames reads server-sent events: lines that end with LF, CRLF or CR, and an empty line after each message.
type frames struct {
	source *bufio.Reader
	// heard is called for every line, comments too: somebody is there.
	heard func()
	// retry is the pause before the next connection that the server asked for, 0 when it asked for none.
	retry time.Duration

	buffer  []byte
	afterCR bool
	lines   int
}

func newFrames(source io.Reader, heard func()) *frames {
	return &frames{source: bufio.NewReader(source), heard: heard}
}

// next returns the next message that says something. One that the end of the stream cuts off is none.
func (f *frames) next() (frame, error) {
	var message frame
	var data strings.Builder
	for {
		line, err := f.line()
		switch {
		case err != nil:
			return frame{}, err
		case line != "":
			f.field(line, &message, &data)
		case data.Len() > 0 || message.id != "":
			message.data = strings.TrimSuffix(data.String(), "\n")
			return message, nil
		default:
			message = frame{}
		}
		if data.Len() > maxFrame {
			return frame{}, fmt.Errorf("%w: a message is too long", errBadStream)
		}
	}
}

// field adds a line to a message. Comments and fields that nobody knows are left out.
func (f *frames) field(line string, message *frame, data *strings.Builder) {
	name, value, _ := strings.Cut(line, ":")
	value = strings.TrimPrefix(value, " ")
	switch name {
	case "event":
		message.event = value
	case "id":
		message.id = value
	case "data":
		data.WriteString(value)
		data.WriteByte('\n')
	case "retry":
		if milliseconds, err := strconv.ParseUint(value, 10, 31); err == nil {
			f.retry = time.Duration(milliseconds) * time.Millisecond
		}
	}
}

// line returns the next line without its end.
func (f *frames) line() (string, error) {
	f.buffer = f.buffer[:0]
	for {
		b, err := f.source.ReadByte()
		if err != nil {
			return "", err
		}
		secondHalf := f.afterCR && b == '\n'
		f.afterCR = b == '\r'
		switch {
		case secondHalf:
		case b == '\n' || b == '\r':
			f.heard()
			if f.lines++; f.lines == 1 {
				return strings.TrimPrefix(string(f.buffer), "\uFEFF"), nil // a byte order mark is allowed at the beginning
			}
			return string(f.buffer), nil
		case len(f.buffer) >= maxFrame:
			return "", fmt.Errorf("%w: a line is too long", errBadStream)
		default:
			f.buffer = append(f.buffer, b)
		}
	}
}
