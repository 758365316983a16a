package agentapi

import (
	"encoding/json"
	"fmt"
	"io"
)

// MaxRequest and MaxAnswer bound what is read of a request and of an answer, in bytes.
const (
	MaxRequest = 256 << 10
	MaxAnswer  = 8 << 20
)

// Ask sends a request over a connection to an agent and returns its answer, which may be a refusal (Answer.Error). After an error
// nobody knows whether it was done. The connection is used for one request only, and its deadlines are the caller's.
func Ask(conn io.ReadWriter, req Request) (Answer, error) {
	var answer Answer
	text, err := json.Marshal(req)
	if err != nil {
		return answer, fmt.Errorf("request to the agent: %w", err)
	}
	if len(text) >= MaxRequest {
		return Answer{Error: &Error{Code: CodeInvalid, Text: "the request is too long"}}, nil
	}
	if _, err := conn.Write(append(text, '\n')); err != nil {
		return answer, fmt.Errorf("request to the agent: %w", err)
	}
	if err := json.NewDecoder(io.LimitReader(conn, MaxAnswer)).Decode(&answer); err != nil {
		return Answer{}, fmt.Errorf("answer of the agent: %w", err)
	}
	if !answer.answers(req) {
		return Answer{}, fmt.Errorf("answer of the agent: it is none to the request: %+v", answer)
	}
	return answer, nil
}

// answers says whether it is a refusal, or has the field that was asked for.
func (a Answer) answers(req Request) bool {
	switch {
	case a.Error != nil:
		return true
	case req.Signal != nil:
		return a.Signal != nil
	case req.Action != nil:
		return a.Action != nil
	default:
		return a.Info != nil
	}
}
