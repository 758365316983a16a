package containerd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	containerdclient "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/image"
)

// parallelDownloads is how many blobs of an image travel at a time.
const parallelDownloads = 4

// Pull is engine.Images.
func (s *imageStore) Pull(ctx context.Context, ref string, credentials engine.Credentials, progress engine.Progress) error {
	// The secret is only compared, so its hash is enough.
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q", credentials.Username, credentials.Password))
	return s.pulls.do(ctx, ref, hex.EncodeToString(sum[:]), progress, func(ctx context.Context, progress engine.Progress) error {
		ready, err := s.ready(ctx, ref)
		if ready || err != nil {
			return err
		}
		return s.pull(ctx, ref, credentials, progress)
	})
}

// ready says whether an image is in the store and unpacked. An image that another tool left there packed is unpacked.
func (s *imageStore) ready(ctx context.Context, ref string) (bool, error) {
	record, err := s.client.ImageService().Get(ctx, ref)
	if err != nil {
		err = imageError(err, "look up image", ref)
		if errors.Is(err, engine.ErrNotFound) {
			return false, nil
		}
		return false, err
	}
	img := containerdclient.NewImageWithPlatform(s.client, record, image.Matcher())
	unpacked, err := img.IsUnpacked(ctx, s.snapshotter)
	if err == nil && unpacked {
		return true, nil
	}
	if err := img.Unpack(ctx, s.snapshotter); err != nil {
		s.log.WarnContext(ctx, "image in the store cannot be unpacked, it is pulled again",
			slog.String("image", ref), slog.Any("error", err))
		return false, nil
	}
	return true, nil
}

// pull downloads and unpacks an image that is not there.
func (s *imageStore) pull(ctx context.Context, ref string, credentials engine.Credentials, progress engine.Progress) error {
	leased, release, err := s.lease(ctx)
	if err != nil {
		return err
	}
	defer release()
	pulling, cancel := context.WithCancelCause(leased)
	defer cancel(nil)
	coming := newDownload(s.client.ContentStore())
	stop := every(pulling, s.interval, func(ctx context.Context) {
		sentence, stalled, err := coming.sample(ctx, s.stall)
		switch {
		case err != nil:
			// The pull itself will find out what is wrong.
			s.log.DebugContext(ctx, "progress of a pull is not known", slog.String("image", ref), slog.Any("error", err))
		case stalled:
			cancel(errStalled)
		case sentence != "":
			tell(progress, "%s", sentence)
		}
	})
	defer stop()

	img, err := s.client.Pull(pulling, ref,
		containerdclient.WithPlatformMatcher(image.Matcher()),
		containerdclient.WithResolver(s.resolver(credentials)),
		containerdclient.WithMaxConcurrentDownloads(parallelDownloads),
		containerdclient.WithPullUnpack,
		containerdclient.WithPullSnapshotter(s.snapshotter),
		containerdclient.WithImageHandlerWrapper(s.watch(ref, coming)),
	)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case pulling.Err() != nil:
		return fmt.Errorf("pull %s: %w", ref, context.Cause(pulling))
	case err != nil:
		return s.explain(ctx, ref, credentials, err)
	}
	return s.keepSize(leased, img)
}

// resolver returns what talks to registries. A registry on this machine may speak plain HTTP, others may not.
func (s *imageStore) resolver(credentials engine.Credentials) remotes.Resolver {
	headers := http.Header{"User-Agent": []string{image.UserAgent}}
	return docker.NewResolver(docker.ResolverOptions{
		Headers: headers,
		Hosts: func(registry string) ([]docker.RegistryHost, error) {
			host, err := docker.DefaultHost(registry)
			if err != nil {
				return nil, err
			}
			used := s.remote
			if image.IsLoopback(host) {
				used = s.local
			}
			return []docker.RegistryHost{{
				Client: used, Host: host, Scheme: "https", Path: "/v2",
				Capabilities: docker.HostCapabilityPull | docker.HostCapabilityResolve,
				Authorizer: docker.NewDockerAuthorizer(
					docker.WithAuthClient(used), docker.WithAuthHeader(headers),
					docker.WithAuthCreds(func(asking string) (string, string, error) {
						// The secret is for the image's registry and for nobody whom that redirects to.
						if asking != host {
							return "", "", nil
						}
						return credentials.Username, credentials.Password, nil
					})),
			}}, nil
		},
	})
}

// watch looks at every manifest and configuration that arrives: to know how much there is to come, and to stop an image for
// another architecture before its layers travel.
func (s *imageStore) watch(ref string, coming *download) func(images.Handler) images.Handler {
	return func(next images.Handler) images.Handler {
		return images.HandlerFunc(func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
			children, err := next.Handle(ctx, desc)
			if err != nil {
				return children, err
			}
			coming.expect(children)
			if images.IsConfigType(desc.MediaType) {
				return children, checkPlatform(ctx, s.client.ContentStore(), ref, desc)
			}
			return children, nil
		})
	}
}

// checkPlatform refuses an image whose configuration is for another platform.
func checkPlatform(ctx context.Context, store content.Provider, ref string, config ocispec.Descriptor) error {
	blob, err := content.ReadBlob(ctx, store, config)
	if err != nil {
		return fmt.Errorf("read the configuration of %s: %w", ref, err)
	}
	var p ocispec.Platform
	if err := json.Unmarshal(blob, &p); err != nil {
		return image.RefuseBecause(err, "%s is not a container image: its configuration is not valid JSON", ref)
	}
	if !image.Runs(p) {
		return image.RefusePlatform(ref, p)
	}
	return nil
}

// explain finds out whether a pull failed because the answer is definitely no: it asks the registry for nothing but that.
func (s *imageStore) explain(ctx context.Context, ref string, credentials engine.Credentials, cause error) error {
	if errors.Is(cause, engine.ErrRefused) {
		return cause
	}
	if answer := s.checker.Ask(ctx, ref, credentials); errors.Is(answer, engine.ErrRefused) {
		return answer
	}
	return fmt.Errorf("pull %s: %w", ref, cause)
}

// keepSize notes the size of a pulled image in its record.
func (s *imageStore) keepSize(ctx context.Context, img containerdclient.Image) error {
	size, err := img.Size(ctx)
	if err != nil {
		return fmt.Errorf("measure %s: %w", img.Name(), err)
	}
	_, err = s.save(ctx, img.Name(), img.Target(), size)
	return err
}
