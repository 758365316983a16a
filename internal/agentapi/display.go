package agentapi

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// DisplayRequest connects to the VNC server of the node's display :1. Once the agent has answered, the connection is one to that server. It is
// refused with CodeInvalid when there is none.
type DisplayRequest struct{}

// DisplayAnswer says that the connection is there.
type DisplayAnswer struct{}

// Display is a connection to a VNC server. One goroutine may read while another writes.
type Display struct {
	io.WriteCloser
	in *bufio.Reader
}

func (d *Display) Read(p []byte) (int, error) { return d.in.Read(p) }

// OpenDisplay sends a DisplayRequest over a connection to an agent. With a refusal (Answer.Error) there is no display, which owns the
// connection otherwise.
func OpenDisplay(conn io.ReadWriteCloser) (*Display, Answer, error) {
	in, answer, err := open(conn, Request{Display: &DisplayRequest{}})
	if err == nil && answer.Error == nil && answer.Display == nil {
		err = errNoAnswer
	}
	if err != nil || answer.Error != nil {
		return nil, answer, err
	}
	return &Display{conn, in}, answer, nil
}

var errNoAnswer = errors.New("answer of the agent: it is none to the request")

// open sends a request after whose answer the connection is something else: what is read from then on.
func open(conn io.ReadWriter, req Request) (*bufio.Reader, Answer, error) {
	var answer Answer
	if err := json.NewEncoder(conn).Encode(req); err != nil {
		return nil, answer, fmt.Errorf("request to the agent: %w", err)
	}
	in := bufio.NewReader(conn)
	line, err := in.ReadSlice('\n') // an answer is shorter than the reader's buffer
	if err == nil {
		err = json.Unmarshal(line, &answer)
	}
	if err != nil {
		return nil, Answer{}, fmt.Errorf("answer of the agent: %w", err)
	}
	return in, answer, nil
}
