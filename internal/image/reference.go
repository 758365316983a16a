// Package image knows what is the same for every engine that runs images: how a reference is written, what a pull secret says,
// what a registry answers, and how a plain root filesystem becomes a layer. It stores nothing.
package image

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/distribution/reference"
)

const (
	// maxReference bounds a reference in bytes: a registry, 255 bytes of repository, 128 of tag and a digest fit.
	maxReference = 700
	// maxQuoted bounds how much of a wrong input is repeated in an error.
	maxQuoted = 100

	msgLowerCase = "the name must be in lower case"
)

// Normalize returns the one long form of a reference that berth stores and compares: with its registry, with a tag or a digest.
// "ubuntu", "library/ubuntu" and "docker.io/library/ubuntu:latest" are the same. The text of the error is public: it says what
// was sent, what is wrong with it and what is allowed.
func Normalize(ref string) (string, error) {
	named, err := parse(ref)
	if err != nil {
		return "", err
	}
	return reference.TagNameOnly(named).String(), nil
}

// Familiar returns the short form of a reference for people: "ubuntu:latest" for docker.io/library/ubuntu:latest. What is no
// reference is returned as it is.
func Familiar(ref string) string {
	named, err := parse(ref)
	if err != nil {
		return ref
	}
	return reference.FamiliarString(reference.TagNameOnly(named))
}

func parse(ref string) (reference.Named, error) {
	switch {
	case ref == "":
		return nil, errors.New("the image reference is empty: give one as in library/ubuntu:latest")
	case len(ref) > maxReference:
		return nil, fmt.Errorf("the image reference has %d bytes: at most %d are allowed", len(ref), maxReference)
	case !utf8.ValidString(ref):
		return nil, errors.New("the image reference is not valid UTF-8")
	case strings.Contains(ref, "://"):
		return nil, fmt.Errorf("image reference %s: leave the %q out, as in registry.example.com/path/name:tag",
			quote(ref), ref[:strings.Index(ref, "://")+len("://")])
	}
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return nil, fmt.Errorf("image reference %s: %s", quote(ref), problem(ref, err))
	}
	// A first word in upper case counts as a registry there; registries have a domain or a port.
	if registry := reference.Domain(named); registry != strings.ToLower(registry) && !strings.ContainsAny(registry, ".:") {
		return nil, fmt.Errorf("image reference %s: %s", quote(ref), msgLowerCase)
	}
	return named, nil
}

// problem says in a user's words what the reference grammar refused.
func problem(ref string, err error) string {
	_, lowerErr := reference.ParseNormalizedNamed(strings.ToLower(ref))
	switch {
	case lowerErr == nil:
		return msgLowerCase
	case errors.Is(err, reference.ErrNameTooLong):
		return fmt.Sprintf("the name is longer than %d bytes", reference.RepositoryNameTotalLengthMax)
	case strings.Contains(ref, "@"):
		return "the digest is not valid; write it as name@sha256: and 64 hexadecimal digits"
	default:
		return "it is not of the form [registry[:port]/]path/name[:tag][@sha256:digest] in lower-case letters, digits and . _ - /"
	}
}

// quote makes wrong input safe and short enough for an error.
func quote(s string) string {
	if len(s) <= maxQuoted {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q…", s[:maxQuoted])
}
