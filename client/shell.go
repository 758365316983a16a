package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// TerminalSize is the size of a terminal in characters.
type TerminalSize struct {
	Columns int `json:"columns"`
	Rows    int `json:"rows"`
}

// Shell is a terminal in a running job. One goroutine may read while others write, resize and close.
type Shell struct {
	socket *websocket
	// stop is called when ctx need not end it any more.
	stop func() bool
	// rest of a message that was not read whole.
	rest []byte
	end  *int
}

// OpenShell starts the login shell of the job's user in a running job, on a terminal of that size. A command that runs on a terminal
// takes its place: it starts unless it has, and goes on after Close. ctx ends the shell, too. Close it. It is never repeated.
func (c *Client) OpenShell(ctx context.Context, ref Ref, size TerminalSize) (*Shell, error) {
	number, err := c.Resolve(ctx, ref)
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	proof := upgrade(header)
	resp, err := c.openAs(ctx, call{
		method: http.MethodGet, path: jobPath(number) + "/shell", header: header,
		query: url.Values{"columns": {strconv.Itoa(size.Columns)}, "rows": {strconv.Itoa(size.Rows)}},
	}, http.StatusSwitchingProtocols)
	if err != nil {
		return nil, err
	}
	socket, err := newWebsocket(resp, proof)
	if err != nil {
		return nil, fmt.Errorf("shell in job %s: %w", ref, err)
	}
	return &Shell{socket: socket, stop: context.AfterFunc(ctx, func() { _ = socket.conn.Close() })}, nil
}

// Read returns what the terminal shows. It ends with io.EOF when the shell has ended; see ExitCode.
func (s *Shell) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if s.end != nil {
			return 0, io.EOF
		}
		kind, message, err := s.socket.read()
		if err == io.EOF { //nolint:errorlint // the server hangs up without a word: nobody knows how the shell ended
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, &connectionError{fmt.Errorf("shell: %w", err)}
		}
		if kind == messageBinary {
			s.rest = message
			continue
		}
		var said struct {
			Exit int `json:"exit"`
		}
		if err := json.Unmarshal(message, &said); err != nil {
			return 0, fmt.Errorf("shell: %w", err)
		}
		s.end = &said.Exit
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// ExitCode returns that of the shell, 128 and the number for a signal, once Read has ended with io.EOF; -1 before.
func (s *Shell) ExitCode() int {
	if s.end == nil {
		return -1
	}
	return *s.end
}

// maxTyped is what is sent as one message; the server refuses more than a megabyte.
const maxTyped = 64 << 10

// Write types.
func (s *Shell) Write(p []byte) (int, error) {
	typed := 0
	for typed < len(p) {
		piece := p[typed:min(len(p), typed+maxTyped)]
		if err := s.socket.write(messageBinary, piece); err != nil {
			return typed, &connectionError{fmt.Errorf("shell: %w", err)}
		}
		typed += len(piece)
	}
	return typed, nil
}

// Resize tells the terminal its new size.
func (s *Shell) Resize(size TerminalSize) error {
	text, err := json.Marshal(size)
	if err == nil {
		err = s.socket.write(messageText, text)
	}
	if err != nil {
		return &connectionError{fmt.Errorf("shell: %w", err)}
	}
	return nil
}

// Close hangs up. Safe to call twice.
func (s *Shell) Close() error {
	s.stop()
	return s.socket.conn.Close()
}
