package image

import (
	"errors"
	"fmt"

	"github.com/berth-hpc/berth/internal/engine"
)

// refusal is a definite no with a public text. It is an engine.ErrRefused.
type refusal struct {
	reason string
	cause  error
}

func (r *refusal) Error() string { return r.reason }

// Unwrap makes a refusal an engine.ErrRefused, and keeps the cause for the log.
func (r *refusal) Unwrap() []error {
	if r.cause == nil {
		return []error{engine.ErrRefused}
	}
	return []error{engine.ErrRefused, r.cause}
}

// Refuse makes an error that wraps engine.ErrRefused. The formatted text is public, and all of what Error returns.
func Refuse(format string, args ...any) error {
	return &refusal{reason: fmt.Sprintf(format, args...)}
}

// RefuseBecause is Refuse with a cause, which is wrapped and not part of the public text.
func RefuseBecause(cause error, format string, args ...any) error {
	return &refusal{reason: fmt.Sprintf(format, args...), cause: cause}
}

// Reason returns the public text of a refusal, without what others wrapped around it. For an error that is no refusal of this
// package it returns the error's text, for nil nothing.
func Reason(err error) string {
	var r *refusal
	switch {
	case err == nil:
		return ""
	case errors.As(err, &r):
		return r.reason
	default:
		return err.Error()
	}
}
