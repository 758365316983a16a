package containerd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/image"
)

const (
	// layerBuffer is how much of a layer goes to containerd in one message, in bytes.
	layerBuffer = 1 << 20
)

// ImportRootfs is engine.Images. The same tar always becomes the same image.
func (s *imageStore) ImportRootfs(
	ctx context.Context, stream io.Reader, name string, progress engine.Progress,
) (engine.Image, error) {
	ctx, release, err := s.lease(ctx)
	if err != nil {
		return engine.Image{}, err
	}
	defer release()
	into := newIngest(s.client.ContentStore())
	layer, err := s.receiveLayer(ctx, into, stream, progress)
	if err != nil {
		into.abort(ctx, s.log)
		if ctx.Err() != nil {
			return engine.Image{}, context.Cause(ctx)
		}
		return engine.Image{}, err
	}
	target, err := writeImage(ctx, into, layer)
	if err != nil {
		return engine.Image{}, err
	}
	tell(progress, "unpacking %s", image.Familiar(name))
	size, err := s.unpack(ctx, images.Image{Name: name, Target: target})
	if err != nil {
		return engine.Image{}, err
	}
	return s.save(ctx, name, target, size)
}

// receiveLayer writes the root filesystem into the content store, as a layer.
func (s *imageStore) receiveLayer(
	ctx context.Context, into *ingest, stream io.Reader, progress engine.Progress,
) (ocispec.Descriptor, error) {
	source := image.NewSource(stream)
	stop := every(ctx, s.interval, func(context.Context) { tell(progress, "received %s MB", megabytes(source.Count())) })
	defer stop()
	writer, err := content.OpenWriter(ctx, into, content.WithRef("rootfs"))
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("store the root filesystem: %w", err)
	}
	defer writer.Close()
	buffer := bufio.NewWriterSize(writer, layerBuffer)
	layer, err := image.WriteLayer(buffer, source)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if err := buffer.Flush(); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("store the root filesystem: %w", err)
	}
	made := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: layer.Digest, Size: layer.Size}
	err = writer.Commit(ctx, made.Size, made.Digest, content.WithLabels(map[string]string{labels.LabelUncompressed: made.Digest.String()}))
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return ocispec.Descriptor{}, fmt.Errorf("store the root filesystem: %w", err)
	}
	return made, nil
}

// writeImage makes an image for this machine of one layer.
func writeImage(ctx context.Context, into content.Ingester, layer ocispec.Descriptor) (ocispec.Descriptor, error) {
	config, err := writeDocument(ctx, into, ocispec.MediaTypeImageConfig, ocispec.Image{
		Platform: platforms.DefaultSpec(),
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{layer.Digest}},
	})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return writeDocument(ctx, into, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    config,
		Layers:    []ocispec.Descriptor{layer},
	})
}

// writeDocument stores a JSON document.
func writeDocument(ctx context.Context, into content.Ingester, mediaType string, document any) (ocispec.Descriptor, error) {
	blob, err := json.Marshal(document)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("encode %s: %w", mediaType, err)
	}
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(blob), Size: int64(len(blob))}
	if err := content.WriteBlob(ctx, into, desc.Digest.String(), bytes.NewReader(blob), desc); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("store %s: %w", mediaType, err)
	}
	return desc, nil
}
