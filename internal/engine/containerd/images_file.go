package containerd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	containerdclient "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/image-spec/identity"
	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/image"
)

// ReadFile is engine.Images: it mounts the unpacked image read-only for as long as it reads.
func (s *imageStore) ReadFile(ctx context.Context, ref, path string, limit int64) (content []byte, err error) {
	record, err := s.client.ImageService().Get(ctx, ref)
	if err != nil {
		return nil, imageError(err, "look up image", ref)
	}
	ctx, release, err := s.lease(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	name := "read-" + rand.Text()
	mounts, err := s.view(ctx, record, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.client.SnapshotService(s.snapshotter).Remove(ctx, name) }() // else it goes with the lease
	var failed error
	err = mount.WithReadonlyTempMount(ctx, mounts, func(root string) error {
		content, failed = readIn(root, path, limit)
		return nil // what failed is not the mount, which would put words of its own in front of it
	})
	if err = errors.Join(failed, err); err != nil {
		return nil, fmt.Errorf("image %s: %w", ref, err)
	}
	return content, nil
}

// view makes a read-only snapshot of an image under a name and returns how it is mounted.
func (s *imageStore) view(ctx context.Context, record images.Image, name string) ([]mount.Mount, error) {
	diffs, err := containerdclient.NewImageWithPlatform(s.client, record, image.Matcher()).RootFS(ctx)
	if errdefs.IsNotFound(err) {
		return nil, image.RefuseBecause(err, "image %s is not for this machine, or not complete", image.Familiar(record.Name))
	}
	if err != nil {
		return nil, fmt.Errorf("layers of image %s: %w", record.Name, err)
	}
	service := s.client.SnapshotService(s.snapshotter)
	mounts, err := service.View(ctx, name, identity.ChainID(diffs).String())
	if errdefs.IsNotFound(err) { // somebody removed the snapshots of the image with other tools
		if _, err := s.unpack(ctx, record); err != nil {
			return nil, err
		}
		mounts, err = service.View(ctx, name, identity.ChainID(diffs).String())
	}
	if err != nil {
		return nil, fmt.Errorf("view of image %s: %w", record.Name, err)
	}
	return mounts, nil
}

// readIn reads a regular file below root, which no symlink can leave.
func readIn(root, path string, limit int64) ([]byte, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: root, Err: err}
	}
	defer func() { _ = unix.Close(dir) }()
	// Looked at before it is opened: to open a device of the image may do something already.
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV}
	fd, err := unix.Openat2(dir, strings.TrimPrefix(path, "/"), &how)
	for errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) { // EAGAIN: something of this machine was renamed meanwhile
		fd, err = unix.Openat2(dir, strings.TrimPrefix(path, "/"), &how)
	}
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return nil, fmt.Errorf("%s: %w", path, engine.ErrNotFound)
	case err != nil:
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG || stat.Size > limit {
		return nil, image.Refuse("%s is not a regular file of at most %d bytes", path, limit)
	}
	file, err := os.Open("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return io.ReadAll(io.LimitReader(file, limit))
}
