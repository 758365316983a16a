package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"

	containerdclient "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/image"
)

// Import is engine.Images. Either all images of the archive are stored or none.
func (s *imageStore) Import(
	ctx context.Context, stream io.Reader, name string, progress engine.Progress,
) ([]engine.Image, error) {
	ctx, release, err := s.lease(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	index, err := s.receive(ctx, stream, progress)
	if err != nil {
		return nil, err
	}
	named, err := s.namedImages(ctx, index, name)
	if err != nil {
		return nil, err
	}
	sizes := make(map[string]int64, len(named))
	for _, img := range named {
		tell(progress, "unpacking %s", image.Familiar(img.Name))
		size, err := s.unpack(ctx, img)
		if err != nil {
			return nil, err
		}
		sizes[img.Name] = size
	}
	stored := make([]engine.Image, 0, len(named))
	for _, img := range named {
		saved, err := s.save(ctx, img.Name, img.Target, sizes[img.Name])
		if err != nil {
			return nil, err
		}
		stored = append(stored, saved)
	}
	return stored, nil
}

// receive brings the content of an archive into the content store, and returns the index of its images.
func (s *imageStore) receive(ctx context.Context, stream io.Reader, progress engine.Progress) (ocispec.Descriptor, error) {
	source := image.NewSource(stream)
	stop := every(ctx, s.interval, func(context.Context) { tell(progress, "received %s MB", megabytes(source.Count())) })
	defer stop()
	unpacked, err := image.Decompress(source)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer unpacked.Close()

	into := newIngest(s.client.ContentStore())
	index, err := archive.ImportIndex(ctx, into, unpacked)
	if err == nil {
		// What follows the end of the tar is not kept, but a broken checksum behind it says that the rest is broken too.
		_, err = io.Copy(io.Discard, unpacked)
	}
	switch {
	case err == nil:
		return index, nil
	case ctx.Err() != nil:
		into.abort(ctx, s.log)
		return ocispec.Descriptor{}, context.Cause(ctx)
	case into.failure() != nil || fromStore(err):
		into.abort(ctx, s.log)
		return ocispec.Descriptor{}, fmt.Errorf("store the archive: %w", err)
	default:
		into.abort(ctx, s.log)
		return ocispec.Descriptor{}, source.Refuse(err, "%s", archiveProblem(err))
	}
}

func archiveProblem(err error) string {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return "the archive ends in the middle"
	}
	return fmt.Sprintf("the archive is neither a docker-archive nor an OCI layout as a tar (%s); "+
		"a plain root filesystem is imported as such, and gets a name", err.Error())
}

// fromStore says whether an error came from containerd: its client gives each of its errors a class, other errors have none.
func fromStore(err error) bool {
	class := errdefs.Resolve(err)
	return !errors.Is(class, errdefs.ErrUnknown) || errdefs.IsUnknown(err)
}

// unpack makes the snapshots of an image whose content is in the store, and returns its size. It is refused when something of it
// is missing or damaged, or when it is for another machine.
func (s *imageStore) unpack(ctx context.Context, img images.Image) (int64, error) {
	content := s.client.ContentStore()
	parts, err := inspect(ctx, content, img)
	if err != nil {
		return 0, err
	}
	// References from blob to blob keep the content of the image, and of no other platform, when the lease ends.
	children := images.FilterPlatforms(images.ChildrenHandler(content), image.Matcher())
	children = images.LimitManifests(children, image.Matcher(), 1)
	if err := images.Walk(ctx, images.SetChildrenLabels(content, children), img.Target); err != nil {
		return 0, fmt.Errorf("link the content of %s: %w", img.Name, err)
	}
	unpacking := containerdclient.NewImageWithPlatform(s.client, img, image.Matcher()).Unpack(ctx, s.snapshotter)
	if unpacking == nil {
		return parts.size(), nil
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	// A layer that is not what the configuration says explains it; anything else is a failure of this machine.
	if err := parts.verify(ctx, content); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("unpack %s: %w", img.Name, unpacking)
}
