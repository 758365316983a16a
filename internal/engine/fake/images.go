package fake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berth-hpc/berth/internal/engine"
)

// images is an image store that knows names only, and the files that it was told of.
type images struct {
	mu       sync.Mutex
	stored   map[string]engine.Image
	registry []string
	files    map[string]map[string][]byte
}

func newImages(stored, registry []string, files map[string]map[string][]byte) *images {
	s := &images{stored: make(map[string]engine.Image), registry: registry, files: files}
	for _, name := range stored {
		s.stored[name] = newImage(name, 0)
	}
	return s
}

func newImage(name string, size int64) engine.Image {
	return engine.Image{
		Name: name, Digest: fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(name))), Size: size, Created: time.Now().UTC().Truncate(time.Microsecond),
	}
}

func (s *images) has(ref string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.stored[ref]
	return ok
}

// Image is engine.Images.
func (s *images) Image(_ context.Context, ref string) (engine.Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	image, ok := s.stored[ref]
	if !ok {
		return engine.Image{}, fmt.Errorf("fake engine: image %s: %w", ref, engine.ErrNotFound)
	}
	return image, nil
}

// Images is engine.Images.
func (s *images) Images(context.Context) ([]engine.Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]engine.Image, 0, len(s.stored))
	for _, image := range s.stored {
		list = append(list, image)
	}
	slices.SortFunc(list, func(a, b engine.Image) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// ReadFile is engine.Images: it finds what Config.Files holds.
func (s *images) ReadFile(_ context.Context, ref, path string, limit int64) ([]byte, error) {
	content, ok := s.files[ref][path]
	switch {
	case !s.has(ref) || !ok:
		return nil, fmt.Errorf("fake engine: %s of image %s: %w", path, ref, engine.ErrNotFound)
	case int64(len(content)) > limit:
		return nil, fmt.Errorf("%w: %s has more than %d bytes", engine.ErrRefused, path, limit)
	default:
		return bytes.Clone(content), nil
	}
}

// Pull is engine.Images: it finds what Config.Registry names.
func (s *images) Pull(_ context.Context, ref string, _ engine.Credentials, progress engine.Progress) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.stored[ref]; ok {
		return nil
	}
	if !slices.Contains(s.registry, ref) {
		return fmt.Errorf("%w: no such image", engine.ErrRefused)
	}
	if progress != nil {
		progress("0.1 of 0.1 MB")
	}
	s.stored[ref] = newImage(ref, 0)
	return nil
}

// Import is engine.Images: any stream is an archive of one image.
func (s *images) Import(ctx context.Context, archive io.Reader, name string, progress engine.Progress) ([]engine.Image, error) {
	if name == "" {
		return nil, fmt.Errorf("%w: the archive names no image", engine.ErrRefused)
	}
	image, err := s.ImportRootfs(ctx, archive, name, progress)
	if err != nil {
		return nil, err
	}
	return []engine.Image{image}, nil
}

// ImportRootfs is engine.Images: any stream is a root filesystem.
func (s *images) ImportRootfs(_ context.Context, rootfs io.Reader, name string, _ engine.Progress) (engine.Image, error) {
	size, err := io.Copy(io.Discard, rootfs)
	if err != nil {
		return engine.Image{}, fmt.Errorf("fake engine: %w", err)
	}
	image := newImage(name, size)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stored[name] = image
	return image, nil
}

// RemoveImage is engine.Images.
func (s *images) RemoveImage(_ context.Context, ref string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.stored[ref]; !ok {
		return fmt.Errorf("fake engine: image %s: %w", ref, engine.ErrNotFound)
	}
	delete(s.stored, ref)
	return nil
}
