package client

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"time"
)

const (
	// maxPause is the longest pause between two attempts.
	maxPause = 3 * time.Second
	// maxRetryAfter is the longest pause that a server may ask for; longer, and the error is returned.
	maxRetryAfter = 30 * time.Second
	// patientAttempts bounds the attempts of what is meant to outlive a restart of the server: about a minute.
	patientAttempts = 24
)

// retryPolicy says how often something is tried and how long the pauses are.
type retryPolicy struct {
	attempts int
	first    time.Duration
}

// patient is the policy of calls that follow a job over restarts of the server. A policy without repetition stays one.
func (p retryPolicy) patient() retryPolicy {
	if p.attempts > 1 {
		p.attempts = max(p.attempts, patientAttempts)
	}
	return p
}

// run calls try until it succeeds, fails for good, or has been called often enough. It returns the last error.
func (p retryPolicy) run(ctx context.Context, try func(context.Context) error) error {
	for failures := 1; ; failures++ {
		err := try(ctx)
		if err == nil || failures >= p.attempts || !worthRetrying(err) {
			return err
		}
		if p.pause(ctx, failures, err) != nil {
			return err
		}
	}
}

// pause waits before the next attempt, as long as the server asked for when it did. It returns an error when ctx ends first.
func (p retryPolicy) pause(ctx context.Context, failures int, err error) error {
	return sleep(ctx, p.delay(failures, err))
}

// sleep returns after a while, or earlier with an error when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	}
}

func (p retryPolicy) delay(failures int, err error) time.Duration {
	if refused, ok := errors.AsType[*Error](err); ok && refused.RetryAfter > 0 {
		return refused.RetryAfter
	}
	pause := p.first
	for i := 1; i < failures && pause < maxPause; i++ {
		pause *= 2
	}
	pause = min(pause, maxPause)
	// Half of it is random, so that many clients do not come back at the same moment.
	return pause/2 + rand.N(pause/2+1) //nolint:gosec // spreads load, guards no secret
}

// worthRetrying says whether the same request may succeed a moment later.
func worthRetrying(err error) bool {
	if refused, ok := errors.AsType[*Error](err); ok {
		return refused.Temporary() && refused.RetryAfter <= maxRetryAfter
	}
	if _, ok := errors.AsType[*connectionError](err); !ok {
		return false
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return false
	}
	_, plainHTTP := errors.AsType[tls.RecordHeaderError](err)
	return !plainHTTP
}
