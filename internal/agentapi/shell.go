package agentapi

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"sync"
)

// ShellRequest starts the login shell of the job's user beside the command, on a terminal of its own. Once the agent has answered, the
// connection is that terminal: it carries frames both ways until the shell has ended or somebody closes it, which hangs up. The client
// sends nothing before the answer.
//
// With Command it opens the terminal of the command, for a Spec with Terminal: the command starts unless it runs. All who have opened it see
// the same, from the last that it showed on; it goes on when they have closed it, and the job ends with it.
type ShellRequest struct {
	Size    TerminalSize `json:"size"`
	Command bool         `json:"command,omitempty"`
}

// TerminalSize is the size of a terminal in characters.
type TerminalSize struct {
	Columns uint16 `json:"columns"`
	Rows    uint16 `json:"rows"`
}

// ShellAnswer says which process the shell, or the command, is, numbered as inside the container.
type ShellAnswer struct {
	PID int `json:"pid"`
}

// Frame is a piece of what a terminal and its user say to each other. At most one of Size and End is set; without both it is Data.
type Frame struct {
	// Data is what is typed, or what the terminal shows; at most MaxFrame bytes.
	Data []byte
	// Size is a new size, from the user.
	Size *TerminalSize
	// End is the exit code of the shell, 128 and the number for a signal. It is the last frame of the agent.
	End *int
}

// MaxFrame bounds the data of a frame, in bytes.
const MaxFrame = math.MaxUint16

// Kinds of frames. Each begins with its kind and the length of what follows, in two bytes.
const (
	frameData byte = 'd'
	frameSize byte = 's'
	frameEnd  byte = 'e'
)

var errFrame = errors.New("terminal: this is no frame")

// Terminal is a connection that carries frames. One goroutine may read while others write.
type Terminal struct {
	conn    io.ReadWriteCloser
	in      *bufio.Reader
	writing sync.Mutex
}

// NewTerminal returns the terminal of a connection over which nothing else will be said.
func NewTerminal(conn io.ReadWriteCloser) *Terminal {
	return &Terminal{conn: conn, in: bufio.NewReader(conn)}
}

// OpenShell sends a request for a shell over a connection to an agent. With a refusal (Answer.Error) there is no terminal. The
// terminal owns the connection from then on.
func OpenShell(conn io.ReadWriteCloser, req ShellRequest) (*Terminal, Answer, error) {
	in, answer, err := open(conn, Request{Shell: &req})
	if err == nil && answer.Error == nil && answer.Shell == nil {
		err = errNoAnswer
	}
	if err != nil || answer.Error != nil {
		return nil, answer, err
	}
	return &Terminal{conn: conn, in: in}, answer, nil
}

// Close hangs up. Safe to call twice.
func (t *Terminal) Close() error { return t.conn.Close() }

// Read returns the next frame. Its Data is the caller's.
func (t *Terminal) Read() (Frame, error) {
	var header [3]byte
	if _, err := io.ReadFull(t.in, header[:]); err != nil {
		return Frame{}, err
	}
	data := make([]byte, binary.BigEndian.Uint16(header[1:]))
	if _, err := io.ReadFull(t.in, data); err != nil {
		return Frame{}, err
	}
	switch {
	case header[0] == frameData:
		return Frame{Data: data}, nil
	case header[0] == frameSize && len(data) == 4:
		size := TerminalSize{Columns: binary.BigEndian.Uint16(data), Rows: binary.BigEndian.Uint16(data[2:])}
		return Frame{Size: &size}, nil
	case header[0] == frameEnd && len(data) == 2:
		code := int(binary.BigEndian.Uint16(data))
		return Frame{End: &code}, nil
	default:
		return Frame{}, errFrame
	}
}

// Write sends a frame.
func (t *Terminal) Write(f Frame) error {
	kind, data := frameData, f.Data
	switch {
	case f.Size != nil:
		kind = frameSize
		data = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, f.Size.Columns), f.Size.Rows)
	case f.End != nil:
		kind, data = frameEnd, binary.BigEndian.AppendUint16(nil, uint16(*f.End)) //nolint:gosec // exit codes are small
	}
	if len(data) > MaxFrame {
		return errFrame
	}
	text := binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(data))) //nolint:gosec // see above
	t.writing.Lock()
	defer t.writing.Unlock()
	_, err := t.conn.Write(append(text, data...))
	return err
}
