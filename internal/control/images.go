package control

import (
	"context"
	"errors"
	"io"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/image"
)

// Images lists the images that need no pull.
func (s *Service) Images(ctx context.Context, _ berth.Caller) ([]engine.Image, error) {
	return s.cfg.Images.Images(ctx)
}

// ImportImage stores the images of an archive. Administrators only.
func (s *Service) ImportImage(
	ctx context.Context, caller berth.Caller, archive io.Reader, req ImportRequest, progress engine.Progress,
) ([]engine.Image, error) {
	if err := acts(caller, errImagesByAdmin); err != nil {
		return nil, err
	}
	name, err := optionalReference(req.Name)
	if err != nil {
		return nil, err
	}
	defer s.local.forget()
	if req.Rootfs && name == "" {
		return nil, berth.Errorf(berth.Invalid, "A root filesystem has no name of its own: give one, for example local/mine:latest")
	}
	images, err := s.importArchive(ctx, archive, ImportRequest{Name: name, Rootfs: req.Rootfs}, progress)
	if err != nil {
		return nil, imageError(err)
	}
	return images, s.imagesChanged(ctx, caller, berth.ActImageImported, images...)
}

func (s *Service) importArchive(
	ctx context.Context, archive io.Reader, req ImportRequest, progress engine.Progress,
) ([]engine.Image, error) {
	if !req.Rootfs {
		return s.cfg.Images.Import(ctx, archive, req.Name, progress)
	}
	img, err := s.cfg.Images.ImportRootfs(ctx, archive, req.Name, progress)
	return []engine.Image{img}, err
}

// imagesChanged records what was done to images. It was done: it is recorded also when who asked has gone. No transaction spans the
// store and the engine: a crash right before leaves an image of which the log knows nothing. That is better than a log of what was
// not done, and asking again records it.
func (s *Service) imagesChanged(ctx context.Context, caller berth.Caller, kind berth.ActKind, images ...engine.Image) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeWithin)
	defer cancel()
	for _, img := range images {
		if err := s.cfg.Store.Record(ctx, s.act(caller, kind, img.Name, img.Digest)); err != nil {
			return err
		}
	}
	return nil
}

// PullImage brings an image from its registry. Administrators only.
func (s *Service) PullImage(
	ctx context.Context, caller berth.Caller, name, pullSecret string, progress engine.Progress,
) (engine.Image, error) {
	if err := acts(caller, errImagesByAdmin); err != nil {
		return engine.Image{}, err
	}
	ref, err := reference(name)
	if err != nil {
		return engine.Image{}, err
	}
	return s.pull(ctx, caller, ref, pullSecret, progress)
}

// pull brings an image, whoever asks, and records that.
func (s *Service) pull(
	ctx context.Context, caller berth.Caller, ref, pullSecret string, progress engine.Progress,
) (engine.Image, error) {
	credentials, err := image.Credentials(pullSecret, ref)
	if err != nil {
		return engine.Image{}, &berth.Error{Kind: berth.Invalid, Msg: "Invalid pull secret", Detail: err.Error()}
	}
	defer s.local.forget()
	if err := s.cfg.Images.Pull(ctx, ref, credentials, progress); err != nil {
		return engine.Image{}, pullError(ref, err)
	}
	img, err := s.cfg.Images.Image(ctx, ref)
	if err != nil {
		return engine.Image{}, err
	}
	return img, s.imagesChanged(ctx, caller, berth.ActImagePulled, img)
}

// RemoveImage forgets an image. Running jobs keep what they need. Administrators only.
func (s *Service) RemoveImage(ctx context.Context, caller berth.Caller, name string) error {
	if err := acts(caller, errImagesByAdmin); err != nil {
		return err
	}
	ref, err := reference(name)
	if err != nil {
		return err
	}
	defer s.local.forget()
	if err := s.cfg.Images.RemoveImage(ctx, ref); err != nil {
		return imageError(err)
	}
	return s.imagesChanged(ctx, caller, berth.ActImageRemoved, engine.Image{Name: ref})
}

func optionalReference(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	return reference(name)
}

func reference(name string) (string, error) {
	ref, err := image.Normalize(name)
	if err != nil {
		return "", &berth.Error{Kind: berth.Invalid, Msg: "Invalid image name", Detail: err.Error()}
	}
	return ref, nil
}

// pullError is imageError for a pull: what is neither a refusal nor a full disk is a registry that does not answer.
func pullError(ref string, err error) error {
	err = imageError(err)
	if _, public := errors.AsType[*berth.Error](err); public || errors.Is(err, context.Canceled) {
		return err
	}
	return &berth.Error{
		Kind: berth.Unavailable, Msg: "Image not pulled",
		Detail: "the registry of " + image.Familiar(ref) + " does not answer as it should", Err: err,
	}
}

// imageError gives the engine's error classes their public form.
func imageError(err error) error {
	switch {
	case errors.Is(err, engine.ErrRefused):
		return &berth.Error{Kind: berth.Invalid, Msg: "Image refused", Detail: image.Reason(err), Err: err}
	case errors.Is(err, engine.ErrNotFound):
		return &berth.Error{Kind: berth.NotFound, Msg: "Image not found", Err: err}
	default:
		return err
	}
}
