package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/berth-hpc/berth/client"
)

// exitCode ends the program with a code and without a message, because everything was said.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// withCode is nil for 0, so that a verb can return it.
func withCode(code int) error {
	if code == 0 {
		return nil
	}
	return exitCode(code)
}

// usageError is a command line that cannot be meant.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// errSettings says that the settings are wrong or missing; its message comes with the wrapping.
var errSettings = errors.New("settings")

// hint is an error with what a person can do about it.
type hint struct {
	err  error
	todo string
}

func (h *hint) Error() string { return h.err.Error() }
func (h *hint) Unwrap() error { return h.err }

func hintf(err error, format string, args ...any) error {
	return &hint{err: err, todo: fmt.Sprintf(format, args...)}
}

// explain makes one line of an error: what happened, and what to do about it in parentheses.
func (a *app) explain(err error) string {
	what, todo := err.Error(), ""
	refused, isRefused := errors.AsType[*client.Error](err)
	hinted, isHinted := errors.AsType[*hint](err)
	switch {
	case errors.Is(err, context.Canceled):
		what = "interrupted"
		if isHinted {
			todo = hinted.todo
		}
	case isHinted:
		todo = hinted.todo
	case isRefused:
		todo = refusalHint(refused)
	case client.NoAnswer(err):
		todo = "is berthd running there? --url and BERTH_URL say where it is"
		if s, settingsErr := a.settings(); settingsErr == nil {
			what = "no answer from " + s.url + ": " + what
		}
	}
	if todo == "" {
		return clean(what)
	}
	return clean(what + " (" + todo + ")")
}

func refusalHint(refused *client.Error) string {
	switch {
	case refused.StatusCode == http.StatusUnauthorized && strings.HasSuffix(strings.ToLower(refused.Message), "authorized"):
		return "check the account: --user and --apikey, BERTH_USER and BERTH_APIKEY, or --credentials"
	case refused.StatusCode >= http.StatusMultipleChoices && refused.StatusCode < http.StatusBadRequest:
		return "set that address with --url or BERTH_URL"
	case refused.StatusCode == http.StatusInsufficientStorage:
		return "an administrator of the server makes room; the log of berthd says on which disk"
	case refused.StatusCode >= http.StatusInternalServerError && refused.StatusCode != http.StatusNotImplemented:
		return "try again; the log of berthd says more"
	default:
		return "" // the server's text says it
	}
}

// uncertain adds to an error after which nobody knows whether it was done, how to find out.
func uncertain(err error, format string, args ...any) error {
	if client.NoAnswer(err) || errors.Is(err, context.Canceled) {
		return hintf(err, format, args...)
	}
	return err
}

// about adds what a request was about to its error.
func about(what, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", what, name, err)
}

// aboutJob adds the job to an error, and what to do when the job is not there.
func aboutJob(ref client.Ref, err error) error {
	if err == nil {
		return nil
	}
	named := fmt.Errorf("job %s: %w", ref, err)
	refused, ok := errors.AsType[*client.Error](err)
	if !ok || refused.StatusCode != http.StatusNotFound {
		return named
	}
	if _, hinted := errors.AsType[*hint](err); hinted {
		return named
	}
	return hintf(named, "list your jobs: berth jobs --all")
}
