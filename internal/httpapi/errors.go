package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/berth-hpc/berth"
)

// texts are the public texts of errors for which the API has different words in different operations.
type texts struct {
	// unauthorized answers credentials that are wrong.
	unauthorized string
	// unreadable answers parameters or a body that cannot be understood; where it went wrong follows.
	unreadable string
	// bodyLost answers a body that broke off, with the kind bodyLostKind.
	bodyLost     string
	bodyLostKind berth.Kind
	// internal answers what went wrong inside and has no public text of its own.
	internal string
	// noJob answers that there is no such job.
	noJob string
}

// The texts of the submissions, of those operations that have a text of their own for a job that is not there, and of all others.
var (
	submissionTexts = texts{
		unauthorized: "Not Authorized",
		unreadable:   "Missing or Malformed API Syntax",
		bodyLost:     "Error reading bytes", bodyLostKind: berth.Internal,
		internal: "Unable to create Job Object",
	}
	commonTexts = texts{
		unauthorized: "Unauthorized",
		unreadable:   "Bad Request",
		bodyLost:     "Bad Request", bodyLostKind: berth.Invalid,
		internal: "Internal error",
		noJob:    msgNotFound,
	}
	jobTexts = withNoJob(commonTexts, "Job not found")
)

func withNoJob(t texts, text string) texts {
	t.noJob = text
	return t
}

// Public texts that are the same everywhere.
const (
	msgUserRequired     = "User required"
	msgMissing          = "Required parameter(s) missing"
	msgNoJob            = "No job specified"
	msgNotFound         = "Not found" // what control says, too, of a job that is not there
	msgCanceled         = "The request was canceled"
	msgNoRoute          = "No such path"
	msgMethod           = "Method not allowed"
	msgTooLarge         = "Request too large"
	msgBusy             = "Server busy"
	msgTooMany          = "Too many requests of this user"
	msgInvalid          = "Invalid parameter(s)"
	msgInvalidContainer = "Invalid container in request"
)

// statusOf is the only place where a kind of error becomes an HTTP status.
func statusOf(kind berth.Kind) int {
	switch kind {
	case berth.Invalid:
		return http.StatusBadRequest
	case berth.Unauthenticated:
		return http.StatusUnauthorized
	case berth.Forbidden:
		return http.StatusForbidden
	case berth.NotFound:
		return http.StatusNotFound
	case berth.Conflict:
		return http.StatusConflict
	case berth.LimitReached:
		return http.StatusTooManyRequests
	case berth.TooLarge:
		return http.StatusRequestEntityTooLarge
	case berth.NoSpace:
		return http.StatusInsufficientStorage
	case berth.Unavailable:
		return http.StatusServiceUnavailable
	case berth.Unsupported:
		return http.StatusNotImplemented
	case berth.Internal:
		return http.StatusInternalServerError
	}
	return http.StatusInternalServerError
}

// retryAfter is what an Unavailable answer asks clients to wait, in seconds. Some obey it silently, so it is short.
const retryAfter = "1"

// failure returns what an error is to who asked, and logs its cause when it is not the request that is wrong.
func (s *server) failure(ctx context.Context, c *call, err error) (status int, text string) {
	status, text = statusOf(berth.KindOf(err)), c.route.texts.internal
	if public, ok := errors.AsType[*berth.Error](err); ok {
		text = public.Public()
		if public.Kind == berth.NotFound && text == msgNotFound {
			text = c.route.texts.noJob
		}
	}
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		// The client went away, or the server stops and it may ask again.
		status, text = statusOf(berth.Unavailable), msgCanceled
		s.log.DebugContext(ctx, "request was canceled", "route", c.route.pattern)
	case status >= http.StatusInternalServerError:
		s.log.Log(ctx, levelOf(status), "request failed", "route", c.route.pattern, "status", status, "error", err)
	}
	return status, text
}

// levelOf is how bad a failure is for the server: others than 500 are no bug, and many of them anybody can cause at will.
func levelOf(status int) slog.Level {
	if status == http.StatusInternalServerError {
		return slog.LevelError
	}
	return slog.LevelWarn
}

// answerError answers an error.
func (s *server) answerError(ctx context.Context, c *call, err error) {
	status, text := s.failure(ctx, c, err)
	if status == http.StatusServiceUnavailable {
		c.w.Header().Set("Retry-After", retryAfter)
	}
	c.writeError(status, text)
}

// writeError answers an error as all clients understand it: a flat object with one string.
func (c *call) writeError(status int, text string) {
	c.drain()
	body, err := encodeJSON(struct {
		Error string `json:"error"`
	}{strings.ToValidUTF8(text, "\uFFFD")})
	if err != nil { // a string always encodes
		panic(err)
	}
	c.write(status, contentJSON, body)
}
