package containerd

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	containerdclient "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
	containerdlog "github.com/containerd/log"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"

	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/image"
)

const (
	// sizeLabel is where an image's record keeps its size, so that a listing need not read every manifest.
	sizeLabel = "berth/size"
	// leaseTime bounds how long what an interrupted pull or import left behind is kept.
	leaseTime = 24 * time.Hour
	// releaseTimeout bounds the clean-up after an operation whose context has ended.
	releaseTimeout = 10 * time.Second
	// progressInterval is how often a long operation says how far it got.
	progressInterval = 500 * time.Millisecond
	// stallTimeout is how long a registry may send nothing in the middle of a pull.
	stallTimeout = time.Minute
	// lookTimeout is how long containerd may take to say which images there are; a submission waits for it.
	lookTimeout = 5 * time.Second
)

var _ engine.Images = (*Engine)(nil)

// imageStore is the engine's engine.Images: the images of one namespace of a containerd. An image is in the list only when it is
// unpacked, so that a job with it starts at once.
type imageStore struct {
	client      *containerdclient.Client
	snapshotter string
	log         *slog.Logger

	checker *image.Checker
	// remote reaches registries elsewhere, local those on this machine, which may speak plain HTTP.
	remote, local *http.Client
	pulls         flights
	// interval, stall and look are progressInterval, stallTimeout and lookTimeout, shorter in tests.
	interval, stall, look time.Duration
}

// newImageStore returns the image store of a client, whose default namespace is the one that is meant. It starts nothing.
func newImageStore(client *containerdclient.Client, snapshotter string, log *slog.Logger) *imageStore {
	transport := image.NewTransport()
	return &imageStore{
		client: client, snapshotter: snapshotter, log: log,
		checker: image.NewChecker(image.CheckerConfig{Transport: transport}),
		remote:  &http.Client{Transport: transport}, local: &http.Client{Transport: docker.NewHTTPFallback(transport)},
		interval: progressInterval, stall: stallTimeout, look: lookTimeout,
	}
}

// Image is engine.Images.
func (s *imageStore) Image(ctx context.Context, ref string) (engine.Image, error) {
	ctx, cancel := context.WithTimeout(ctx, s.look)
	defer cancel()
	img, err := s.client.ImageService().Get(ctx, ref)
	if err != nil {
		return engine.Image{}, imageError(err, "look up image", ref)
	}
	return toImage(img), nil
}

// Images is engine.Images.
func (s *imageStore) Images(ctx context.Context) ([]engine.Image, error) {
	ctx, cancel := context.WithTimeout(ctx, s.look)
	defer cancel()
	list, err := s.client.ImageService().List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	found := make([]engine.Image, 0, len(list))
	for _, img := range list {
		found = append(found, toImage(img))
	}
	slices.SortFunc(found, func(a, b engine.Image) int { return cmp.Compare(a.Name, b.Name) })
	return found, nil
}

// RemoveImage is engine.Images. What the image alone needed is freed before it returns.
func (s *imageStore) RemoveImage(ctx context.Context, ref string) error {
	if err := s.client.ImageService().Delete(ctx, ref, images.SynchronousDelete()); err != nil {
		return imageError(err, "remove image", ref)
	}
	return nil
}

// save writes an image's record, in place of one with that name.
func (s *imageStore) save(ctx context.Context, name string, target ocispec.Descriptor, size int64) (engine.Image, error) {
	img := images.Image{Name: name, Target: target, Labels: map[string]string{sizeLabel: strconv.FormatInt(size, 10)}}
	service := s.client.ImageService()
	// Another may create or remove the record between our two attempts.
	for range 10 {
		created, err := service.Create(ctx, img)
		if err == nil {
			return toImage(created), nil
		}
		if !errdefs.IsAlreadyExists(err) {
			return engine.Image{}, fmt.Errorf("store image %s: %w", name, err)
		}
		updated, err := service.Update(ctx, img)
		if err == nil {
			return toImage(updated), nil
		}
		if !errdefs.IsNotFound(err) {
			return engine.Image{}, fmt.Errorf("store image %s: %w", name, err)
		}
	}
	return engine.Image{}, fmt.Errorf("store image %s: others keep changing it", name)
}

// lease keeps the garbage collector away from everything that is made with the returned context, until release is called. What
// is referenced by an image's record then stays, and the rest goes: at once, so that the next attempt does not go on with what a
// failed one left half written. containerd's client does not write its own log meanwhile; what goes wrong is in the errors.
func (s *imageStore) lease(ctx context.Context) (leased context.Context, release func(), err error) {
	service := s.client.LeasesService()
	lease, err := service.Create(ctx, leases.WithRandomID(), leases.WithExpiration(leaseTime))
	if err != nil {
		return nil, nil, fmt.Errorf("create a lease: %w", err)
	}
	silent := logrus.New()
	silent.SetOutput(io.Discard)
	silent.SetLevel(logrus.PanicLevel)
	ctx = containerdlog.WithLogger(ctx, logrus.NewEntry(silent))
	return leases.WithLease(ctx, lease.ID), func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
		defer cancel()
		if err := service.Delete(ctx, lease, leases.SynchronousDelete); err != nil {
			s.log.WarnContext(ctx, "lease of an image operation is kept until it expires",
				slog.String("lease", lease.ID), slog.Any("error", err))
		}
	}, nil
}

func imageError(err error, doing, ref string) error {
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("%s %s: %w", doing, ref, engine.ErrNotFound)
	}
	return fmt.Errorf("%s %s: %w", doing, ref, err)
}

func toImage(img images.Image) engine.Image {
	// An image that another tool brought has no such label; its size is not known.
	size, _ := strconv.ParseInt(img.Labels[sizeLabel], 10, 64)
	return engine.Image{Name: img.Name, Digest: img.Target.Digest.String(), Size: size, Created: img.CreatedAt}
}
