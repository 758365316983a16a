package image

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/singleflight"

	"github.com/berth-hpc/berth/internal/engine"
)

// ErrUnknown says that a registry gave no definite answer: it was not reached, did not answer in time, failed, or asks for
// patience. It is no refusal.
var ErrUnknown = errors.New("image: the registry gave no definite answer")

const (
	// checkTimeout is how long a registry may take to answer; a submission waits for it.
	checkTimeout = 5 * time.Second
	// keepYes is how long a definite yes is believed.
	keepYes = time.Minute
	// maxKept bounds the answers that are kept.
	maxKept = 1000
)

// CheckerConfig says how a Checker asks. The zero value is right.
type CheckerConfig struct {
	// Transport reaches registries; nil is NewTransport().
	Transport http.RoundTripper
	// Timeout is how long a registry may take; 0 is 5 s.
	Timeout time.Duration
	// Now returns the time; nil is time.Now.
	Now func() time.Time
}

// Checker asks registries whether an image is there. It is safe for concurrent use; equal questions at a time are asked once, and
// a definite yes is kept for a minute.
type Checker struct {
	cfg    CheckerConfig
	flight singleflight.Group

	mu  sync.Mutex
	yes map[string]time.Time // by question, when it was answered
}

// NewChecker returns a Checker. It starts nothing.
func NewChecker(cfg CheckerConfig) *Checker {
	if cfg.Transport == nil {
		cfg.Transport = NewTransport()
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, checkTimeout)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Checker{cfg: cfg, yes: make(map[string]time.Time)}
}

// Check asks the registry of a normalised reference whether the image can be pulled with a pull secret and runs on this machine.
// The error wraps engine.ErrRefused, with a public Reason, when the answer is definitely no, and ErrUnknown when there is none.
func (c *Checker) Check(ctx context.Context, ref, pullSecret string) error {
	credentials, err := Credentials(pullSecret, ref)
	if err != nil {
		return Refuse("%s", err.Error())
	}
	question := questionOf(ref, credentials)
	if c.answered(question) {
		return nil
	}
	answer := c.flight.DoChan(question, func() (any, error) {
		if c.answered(question) {
			return nil, nil
		}
		// Who asked first may go away; the others still want the answer.
		err := c.Ask(context.WithoutCancel(ctx), ref, credentials)
		if err == nil {
			c.keep(question)
		}
		return nil, err
	})
	select {
	case got := <-answer:
		return got.Err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Ask is Check without memory: it asks now.
func (c *Checker) Ask(ctx context.Context, ref string, credentials engine.Credentials) error {
	parsed, err := name.ParseReference(ref, name.StrictValidation)
	if err != nil {
		return RefuseBecause(err, "image reference %s is not valid", quote(ref))
	}
	asking, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	err = ask(parsed, ref,
		remote.WithContext(asking),
		remote.WithAuth(authenticator(credentials)),
		remote.WithTransport(c.cfg.Transport),
		remote.WithUserAgent(UserAgent),
		remote.WithRetryBackoff(remote.Backoff{Steps: 1}),
	)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return verdict(err, ref, parsed.Context().RegistryStr(), credentials)
}

func authenticator(c engine.Credentials) authn.Authenticator {
	switch {
	case c == (engine.Credentials{}):
		return authn.Anonymous
	case c.Username == "":
		return authn.FromConfig(authn.AuthConfig{IdentityToken: c.Password})
	default:
		return authn.FromConfig(authn.AuthConfig{Username: c.Username, Password: c.Password})
	}
}

// ask fetches the manifest, which is what a pull does first, and then looks whether it is an image for this machine.
func ask(parsed name.Reference, ref string, options ...remote.Option) error {
	got, err := remote.Get(parsed, options...)
	if err != nil {
		return err
	}
	switch {
	case got.MediaType.IsIndex():
		index, err := got.ImageIndex()
		if err != nil {
			return unknown(err)
		}
		manifest, err := index.IndexManifest()
		if err != nil {
			return RefuseBecause(err, "%s: the registry's index of images cannot be read", ref)
		}
		return checkIndex(ref, manifest.Manifests)
	case got.MediaType.IsImage():
		img, err := got.Image()
		if err != nil {
			return unknown(err)
		}
		return checkImage(ref, img)
	case got.MediaType.IsSchema1():
		return Refuse("%s is in the image format of before 2017 (schema 1), which no current runtime reads", ref)
	default:
		return Refuse("%s is not a container image (its media type is %s)", ref, quote(string(got.MediaType)))
	}
}

func checkIndex(ref string, manifests []v1.Descriptor) error {
	theirs := make([]ocispec.Platform, 0, len(manifests))
	for _, m := range manifests {
		if m.Platform == nil {
			return nil
		}
		p := ocispec.Platform{OS: m.Platform.OS, Architecture: m.Platform.Architecture, Variant: m.Platform.Variant}
		if Runs(p) {
			return nil
		}
		theirs = append(theirs, p)
	}
	return RefusePlatform(ref, theirs...)
}

func checkImage(ref string, img v1.Image) error {
	manifest, err := img.Manifest()
	if err != nil {
		return RefuseBecause(err, "%s: the registry's manifest cannot be read", ref)
	}
	switch kind := manifest.Config.MediaType; kind {
	case types.OCIConfigJSON, types.DockerConfigJSON, "application/octet-stream", "":
	default:
		return Refuse("%s is not a container image (its configuration is %s)", ref, quote(string(kind)))
	}
	config, err := img.ConfigFile()
	if err != nil {
		// The image is there. What is wrong with its configuration, the pull will say.
		return unknown(err)
	}
	p := ocispec.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}
	if !Runs(p) {
		return RefusePlatform(ref, p)
	}
	return nil
}

// questionOf names a question without keeping the secret.
func questionOf(ref string, c engine.Credentials) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", ref, c.Username, c.Password))
	return hex.EncodeToString(sum[:])
}

func (c *Checker) answered(question string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.yes[question]
	return ok && c.cfg.Now().Sub(at) < keepYes
}

func (c *Checker) keep(question string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	if len(c.yes) >= maxKept {
		for q, at := range c.yes {
			if now.Sub(at) >= keepYes {
				delete(c.yes, q)
			}
		}
	}
	if len(c.yes) >= maxKept {
		clear(c.yes)
	}
	c.yes[question] = now
}
