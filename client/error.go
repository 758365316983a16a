package client

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Error is a refusal of the server. Get it out of an error with errors.As or errors.AsType.
type Error struct {
	// StatusCode is the HTTP status: 400 a wrong request, 401 wrong credentials, 404 no such thing (or not the caller's), 409 a
	// conflict, 429 a limit is reached, 500 and above the server's own trouble. It is 200 for a refusal in the middle of a long
	// operation, an import or a pull.
	StatusCode int
	// Message is the server's sentence for people.
	Message string
	// RetryAfter is the pause that the server asked for, 0 when it named none.
	RetryAfter time.Duration
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Temporary says whether the same request may succeed later although nothing is changed.
func (e *Error) Temporary() bool {
	switch e.StatusCode {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	case http.StatusTooManyRequests:
		return e.RetryAfter > 0 // without a time it means that a limit of the account is used up
	default:
		return false
	}
}

// maxErrorBody is more than any error that the server writes; what is longer comes from somebody else.
const maxErrorBody = 64 << 10

// responseError makes an Error of an answer that is not 200. The caller closes the body.
func responseError(resp *http.Response) *Error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // a broken body still leaves the status
	e := &Error{StatusCode: resp.StatusCode, RetryAfter: retryAfter(resp.Header.Get("Retry-After"))}
	var flat struct {
		Error any `json:"error"`
	}
	switch {
	case json.Unmarshal(body, &flat) == nil && flat.Error != nil:
		e.Message = fmt.Sprint(flat.Error)
	case resp.StatusCode/100 == 3:
		e.Message = "the server points to another address, " + resp.Header.Get("Location")
	default:
		e.Message = firstLine(string(body))
	}
	if e.Message == "" {
		e.Message = strings.TrimSpace(strconv.Itoa(resp.StatusCode) + " " + http.StatusText(resp.StatusCode))
	}
	return e
}

// firstLine shortens an answer that is not ours, such as the page of a proxy.
func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if strings.HasPrefix(line, "<") {
		return "" // a page; the status says more
	}
	const enough = 200
	if len(line) > enough {
		line = strings.ToValidUTF8(line[:enough], "") + "…"
	}
	return strings.TrimSpace(line)
}

// retryAfter reads the header's form in seconds; the form with a date is not worth a clock.
func retryAfter(value string) time.Duration {
	seconds, err := strconv.Atoi(value)
	if err != nil || seconds < 0 || seconds > 1<<20 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
