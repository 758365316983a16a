package image

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/berth-hpc/berth/internal/engine"
)

// maxWords bounds how much of a registry's own words is passed on, in bytes.
const maxWords = 200

func unknown(cause error) error {
	return fmt.Errorf("%w: %w", ErrUnknown, cause)
}

// verdict tells a definite no from no answer. A failure that is not certainly about the image is no answer.
func verdict(err error, ref, registry string, credentials engine.Credentials) error {
	if errors.Is(err, engine.ErrRefused) || errors.Is(err, ErrUnknown) {
		return err
	}
	var answer *transport.Error
	if !errors.As(err, &answer) || says(answer, transport.TooManyRequestsErrorCode, transport.UnavailableErrorCode) {
		return unknown(err)
	}
	words := wordsOf(answer, credentials)
	switch answer.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		hint := "the image does not exist, or it needs a pull secret"
		if credentials != (engine.Credentials{}) {
			hint = "the image does not exist, or the pull secret does not allow it"
		}
		return RefuseBecause(err, "%s: registry %s denies access (%s); %s", ref, registry, words, hint)
	case http.StatusNotFound:
		// A 404 in other words than a registry's comes from something in between.
		if len(answer.Errors) > 0 {
			return RefuseBecause(err, "%s: registry %s has no such image (%s)", ref, registry, words)
		}
	case http.StatusBadRequest:
		if says(answer, transport.NameInvalidErrorCode, transport.TagInvalidErrorCode, transport.DigestInvalidErrorCode) {
			return RefuseBecause(err, "%s: registry %s does not accept the name (%s)", ref, registry, words)
		}
	}
	return unknown(err)
}

func says(answer *transport.Error, codes ...transport.ErrorCode) bool {
	return slices.ContainsFunc(answer.Errors, func(d transport.Diagnostic) bool { return slices.Contains(codes, d.Code) })
}

// wordsOf returns what the registry said, short, printable, and without the password should it repeat that.
func wordsOf(answer *transport.Error, credentials engine.Credentials) string {
	words := []string{fmt.Sprintf("%d %s", answer.StatusCode, http.StatusText(answer.StatusCode))}
	for _, d := range answer.Errors {
		words = append(words, strings.TrimRight(string(d.Code)+": "+d.Message, ": "))
	}
	text := strings.Join(words, "; ")
	if credentials.Password != "" {
		text = strings.ReplaceAll(text, credentials.Password, "…")
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
	if len(text) > maxWords {
		text = strings.ToValidUTF8(text[:maxWords], "") + "…"
	}
	return text
}
