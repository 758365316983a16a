package berth

import (
	"errors"
	"fmt"
)

// Kind classifies an error by what the caller can do about it. Only internal/httpapi turns a Kind into an HTTP status.
type Kind string

// The kinds of errors.
const (
	// Internal is a bug or a failing part of the server. It is the kind of every error that is not an *Error.
	Internal Kind = "internal"
	// Invalid says that the request itself is wrong; sending it again cannot help.
	Invalid Kind = "invalid"
	// Unauthenticated says that the credentials are missing, wrong or switched off.
	Unauthenticated Kind = "unauthenticated"
	// Forbidden says that who asks is known and may not do this.
	Forbidden Kind = "forbidden"
	// NotFound says that the thing definitely does not exist, or that who asks may not know that it does.
	NotFound Kind = "not-found"
	// Conflict says that the thing is in a state that does not allow this, or that somebody else changed it first.
	Conflict Kind = "conflict"
	// LimitReached says that a limit of the user is used up; it may work later.
	LimitReached Kind = "limit-reached"
	// TooLarge says that the request is larger than the server accepts.
	TooLarge Kind = "too-large"
	// NoSpace says that a disk or a quota is full; nothing of what was asked for was done.
	NoSpace Kind = "no-space"
	// Unavailable says that a part of the server cannot answer now; it is worth trying again.
	Unavailable Kind = "unavailable"
	// Unsupported says that this server cannot do that at all.
	Unsupported Kind = "unsupported"
)

// Error is an error with a text that may be shown to the person who asked. The wrapped error is only for the log.
type Error struct {
	Kind Kind
	// Msg is the public text, often one that a client knows literally.
	Msg string
	// Detail is public too: the field, what was sent and what is allowed. It follows Msg after ": ".
	Detail string
	// Err is the cause. It is logged and never shown.
	Err error
}

// Public returns the text for the person who asked: Msg, and Detail after ": " when there is one.
func (e *Error) Public() string {
	if e.Detail == "" {
		return e.Msg
	}
	return e.Msg + ": " + e.Detail
}

// Error returns the public text and the cause, for the log.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Public()
	}
	return e.Public() + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an error of a kind whose public text is the formatted message.
func Errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Msg: fmt.Sprintf(format, args...)}
}

// KindOf returns the kind of the first *Error in err's chain, Internal when there is none, and "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}
