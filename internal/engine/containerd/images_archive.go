package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-hpc/berth/internal/image"
)

const (
	// maxIndexDepth bounds indexes in indexes.
	maxIndexDepth = 4
	// maxDocument bounds a manifest, an index or a configuration in bytes.
	maxDocument = 8 << 20
)

// namedImages chooses the images of an archive's index for this machine and gives them their names: the given one when there is
// only one image, otherwise those in the archive.
func (s *imageStore) namedImages(ctx context.Context, index ocispec.Descriptor, name string) ([]images.Image, error) {
	var list ocispec.Index
	if err := readDocument(ctx, s.client.ContentStore(), index, &list); err != nil {
		return nil, err
	}
	entries, err := runnable("the archive", list.Manifests)
	if err != nil {
		return nil, err
	}
	if name != "" {
		for _, entry := range entries {
			if entry.Digest != entries[0].Digest {
				return nil, image.Refuse("the archive holds several images: a name can be given only to one; import it without a name")
			}
		}
		return []images.Image{{Name: name, Target: entries[0]}}, nil
	}
	return ownNames(entries)
}

// ownNames gives the images the names that the archive has for them.
func ownNames(entries []ocispec.Descriptor) ([]images.Image, error) {
	var named []images.Image
	for _, entry := range entries {
		own := nameIn(entry.Annotations)
		if own == "" {
			continue
		}
		name, err := image.Normalize(own)
		if err != nil {
			return nil, image.RefuseBecause(err, "a name in the archive: %s", err.Error())
		}
		same := slices.IndexFunc(named, func(other images.Image) bool { return other.Name == name })
		switch {
		case same < 0:
			named = append(named, images.Image{Name: name, Target: entry})
		case named[same].Target.Digest != entry.Digest:
			return nil, image.Refuse("the archive calls two images %s", name)
		}
	}
	slices.SortFunc(named, func(a, b images.Image) int { return strings.Compare(a.Name, b.Name) })
	if len(named) == 0 {
		return nil, image.Refuse("the archive has no name for its image: give one, as in local/mine:latest")
	}
	return named, nil
}

// nameIn returns the name that an archive gives an image. The annotation of the OCI is a name with some tools and only a tag
// with others.
func nameIn(annotations map[string]string) string {
	if name := annotations[images.AnnotationImageName]; name != "" {
		return name
	}
	if name := annotations[ocispec.AnnotationRefName]; strings.ContainsAny(name, "/:") {
		return name
	}
	return ""
}

// runnable returns the entries of an index that this machine can run, or may be able to; what is no image at all is left out.
func runnable(what string, entries []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	var mine []ocispec.Descriptor
	var theirs []ocispec.Platform
	for _, entry := range entries {
		switch {
		case !images.IsManifestType(entry.MediaType) && !images.IsIndexType(entry.MediaType):
		case entry.Platform != nil && !image.Runs(*entry.Platform):
			theirs = append(theirs, *entry.Platform)
		default:
			mine = append(mine, entry)
		}
	}
	switch {
	case len(mine) > 0:
		return mine, nil
	case len(theirs) > 0:
		return nil, image.RefusePlatform(what, theirs...)
	default:
		return nil, image.Refuse("%s holds no image", what)
	}
}

// parts is what an image for this machine consists of.
type parts struct {
	manifest ocispec.Descriptor
	config   ocispec.Descriptor
	layers   []ocispec.Descriptor
	diffIDs  []digest.Digest
}

func (p parts) size() int64 {
	size := p.manifest.Size + p.config.Size
	for _, layer := range p.layers {
		size += layer.Size
	}
	return size
}

// inspect finds the parts of an image and refuses it when one is missing, damaged or for another machine.
func inspect(ctx context.Context, store content.Store, img images.Image) (parts, error) {
	manifestDesc, err := manifestOf(ctx, store, img)
	if err != nil {
		return parts{}, err
	}
	var manifest ocispec.Manifest
	if err := readDocument(ctx, store, manifestDesc, &manifest); err != nil {
		return parts{}, err
	}
	found := parts{manifest: manifestDesc, config: manifest.Config, layers: manifest.Layers}
	var config ocispec.Image
	if err := readDocument(ctx, store, manifest.Config, &config); err != nil {
		return parts{}, err
	}
	if !image.Runs(config.Platform) {
		return parts{}, image.RefusePlatform(img.Name, config.Platform)
	}
	found.diffIDs = config.RootFS.DiffIDs
	if len(found.diffIDs) != len(found.layers) {
		return parts{}, image.Refuse("%s has %d layers and its configuration names %d", img.Name, len(found.layers), len(found.diffIDs))
	}
	for _, layer := range found.layers {
		if !images.IsLayerType(layer.MediaType) {
			return parts{}, image.Refuse("%s has a layer that is no layer of an image (%q)", img.Name, layer.MediaType)
		}
		if _, err := store.Info(ctx, layer.Digest); err != nil {
			return parts{}, blobError(err, layer.Digest)
		}
	}
	return found, nil
}

// manifestOf finds the manifest for this machine in an image that may be for many.
func manifestOf(ctx context.Context, store content.Store, img images.Image) (ocispec.Descriptor, error) {
	desc := img.Target
	for range maxIndexDepth {
		if !images.IsIndexType(desc.MediaType) {
			return desc, nil
		}
		var index ocispec.Index
		if err := readDocument(ctx, store, desc, &index); err != nil {
			return desc, err
		}
		mine, err := runnable(img.Name, index.Manifests)
		if err != nil {
			return desc, err
		}
		desc = slices.MinFunc(mine, byPlatform)
	}
	return desc, image.Refuse("%s is an index of indexes, too deep", img.Name)
}

// byPlatform puts what this machine runs best first, and what names no platform last.
func byPlatform(a, b ocispec.Descriptor) int {
	switch {
	case a.Platform == nil && b.Platform == nil:
		return 0
	case a.Platform == nil:
		return 1
	case b.Platform == nil:
		return -1
	case image.Matcher().Less(*a.Platform, *b.Platform):
		return -1
	case image.Matcher().Less(*b.Platform, *a.Platform):
		return 1
	default:
		return 0
	}
}

// readDocument reads a JSON document of an archive out of the store.
func readDocument(ctx context.Context, store content.Store, desc ocispec.Descriptor, into any) error {
	if err := desc.Digest.Validate(); err != nil {
		return image.RefuseBecause(err, "the archive names a part by something that is no digest")
	}
	info, err := store.Info(ctx, desc.Digest)
	if err != nil {
		return blobError(err, desc.Digest)
	}
	if info.Size > maxDocument {
		return image.Refuse("the archive's %s is too large for what it should be", desc.Digest)
	}
	blob, err := content.ReadBlob(ctx, store, ocispec.Descriptor{Digest: desc.Digest, Size: info.Size})
	if err != nil {
		return blobError(err, desc.Digest)
	}
	if err := json.Unmarshal(blob, into); err != nil {
		return image.RefuseBecause(err, "the archive's %s is not valid JSON of an image", desc.Digest)
	}
	return nil
}

func blobError(err error, dgst digest.Digest) error {
	if errdefs.IsNotFound(err) {
		return image.RefuseBecause(err, "the archive lacks %s: it is missing or damaged", dgst)
	}
	return fmt.Errorf("read %s: %w", dgst, err)
}

// verify reads every layer and refuses the image when one is not what its configuration says. It is slow, and for finding out
// why an image could not be unpacked.
func (p parts) verify(ctx context.Context, store content.Store) error {
	for i, layer := range p.layers {
		if err := verifyLayer(ctx, store, layer.Digest, p.diffIDs[i]); err != nil {
			return err
		}
	}
	return nil
}

func verifyLayer(ctx context.Context, store content.Store, dgst, diffID digest.Digest) error {
	if err := diffID.Validate(); err != nil {
		return image.RefuseBecause(err, "the image's configuration names a layer by something that is no digest")
	}
	blob, err := store.ReaderAt(ctx, ocispec.Descriptor{Digest: dgst})
	if err != nil {
		return blobError(err, dgst)
	}
	defer blob.Close()
	source := image.NewSource(content.NewReader(blob))
	unpacked, err := image.Decompress(source)
	if err != nil {
		return err
	}
	defer unpacked.Close()
	verifier := diffID.Verifier()
	if _, err := io.Copy(verifier, unpacked); err != nil {
		return source.Refuse(err, "layer %s is damaged", dgst)
	}
	if !verifier.Verified() {
		return image.RefuseBecause(errors.New("digests differ"), "layer %s is not what the image's configuration says: it is damaged", dgst)
	}
	return nil
}
