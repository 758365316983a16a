package control

import (
	"context"
	"errors"
	"io"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/image"
)

var errAdminOnly = &berth.Error{Kind: berth.Forbidden, Msg: "Only an administrator may change images"}

// Images lists the images that need no pull.
func (s *Service) Images(ctx context.Context, _ berth.Caller) ([]engine.Image, error) {
	return s.cfg.Images.Images(ctx)
}

// ImportImage stores the images of an archive. Administrators only.
func (s *Service) ImportImage(
	ctx context.Context, caller berth.Caller, archive io.Reader, req ImportRequest, progress engine.Progress,
) ([]engine.Image, error) {
	if !caller.User.Admin {
		return nil, errAdminOnly
	}
	name, err := optionalReference(req.Name)
	if err != nil {
		return nil, err
	}
	defer s.local.forget()
	if !req.Rootfs {
		images, err := s.cfg.Images.Import(ctx, archive, name, progress)
		return images, imageError(err)
	}
	if name == "" {
		return nil, berth.Errorf(berth.Invalid, "A root filesystem has no name of its own: give one, for example local/mine:latest")
	}
	img, err := s.cfg.Images.ImportRootfs(ctx, archive, name, progress)
	if err != nil {
		return nil, imageError(err)
	}
	return []engine.Image{img}, nil
}

// PullImage brings an image from its registry. Administrators only.
func (s *Service) PullImage(
	ctx context.Context, caller berth.Caller, name, pullSecret string, progress engine.Progress,
) (engine.Image, error) {
	if !caller.User.Admin {
		return engine.Image{}, errAdminOnly
	}
	ref, err := reference(name)
	if err != nil {
		return engine.Image{}, err
	}
	credentials, err := image.Credentials(pullSecret, ref)
	if err != nil {
		return engine.Image{}, &berth.Error{Kind: berth.Invalid, Msg: "Invalid pull secret", Detail: err.Error()}
	}
	if err := s.cfg.Images.Pull(ctx, ref, credentials, progress); err != nil {
		return engine.Image{}, imageError(err)
	}
	return s.cfg.Images.Image(ctx, ref)
}

// RemoveImage forgets an image. Running jobs keep what they need. Administrators only.
func (s *Service) RemoveImage(ctx context.Context, caller berth.Caller, name string) error {
	if !caller.User.Admin {
		return errAdminOnly
	}
	ref, err := reference(name)
	if err != nil {
		return err
	}
	defer s.local.forget()
	return imageError(s.cfg.Images.RemoveImage(ctx, ref))
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
