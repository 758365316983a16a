package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/crashpoint"
)

var (
	// ErrUnclean says that a volume was not unmounted after its last use, as when the machine went down.
	ErrUnclean = errors.New("the volume was not unmounted after its last use")
	// ErrPassword says that the password is wrong, or is missing, or is given for a volume that is not encrypted.
	ErrPassword = errors.New("the password of the volume is wrong")
	// ErrDamaged says that the file system, or what is encrypted in it, cannot be read, and that it was not repaired. Trying again does not help.
	ErrDamaged = errors.New("the volume is damaged")
)

// Request is what an attempt wants.
type Request struct {
	// Path is what Create returned.
	Path string
	// Attempt is who gets it: a name for files.
	Attempt string
	// ReadOnly shares it with others who only read.
	ReadOnly bool
	// Force repairs a volume that was not unmounted after its last use.
	Force bool
	// Password is that of an encrypted volume, and empty for others.
	Password string
}

// Server is the attempt by whose name the server has a volume itself.
const Server = "server"

// Attach mounts a volume for an attempt and returns the directory with its files, which is mounted until Detach. To repeat a request
// returns the same directory, also when the server or the machine went down in the middle. *Busy while others have the volume in
// a way that excludes this one; ErrUnclean, ErrPassword, ErrDamaged; *berth.Error of kind Unsupported for a program that is missing, and NotFound
// for a volume that is not there, or not all of it. After an error nothing is left but, perhaps, the claim, for Detach.
func (v *Volumes) Attach(ctx context.Context, r Request) (data string, err error) {
	vol, c, err := v.enter(ctx, r)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, vol.unlock()) }()
	crashpoint.Here("volume.claimed")
	data, err = v.open(ctx, vol, c, r)
	if err != nil {
		return "", errors.Join(err, vol.release(context.WithoutCancel(ctx), c))
	}
	return data, nil
}

// enter locks a volume and makes the claim of an attempt. Without an error the caller unlocks it.
func (v *Volumes) enter(ctx context.Context, r Request) (vol *volume, c claim, err error) {
	if !v.own(r.Path) {
		return nil, claim{}, notThere(fmt.Errorf("attach volume: %q is none of %s", r.Path, v.Dir))
	}
	if r.Attempt == "" || r.Attempt != filepath.Base(r.Attempt) || !filepath.IsLocal(r.Attempt) {
		return nil, claim{}, fmt.Errorf("attach volume: %q is no name of an attempt", r.Attempt)
	}
	vol, err = lock(ctx, r.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, claim{}, notThere(err)
	}
	if err != nil {
		return nil, claim{}, err
	}
	if err = vol.admits(r); err == nil {
		c, err = vol.claim(ctx, r.Attempt, r.ReadOnly)
	}
	if err != nil {
		return nil, claim{}, errors.Join(err, vol.unlock())
	}
	return vol, c, nil
}

// admits refuses what nobody can have of the volume.
func (vol *volume) admits(r Request) error {
	switch {
	case !vol.layout.Complete:
		return &berth.Error{Kind: berth.NotFound, Msg: "The vault is being removed", Err: fmt.Errorf("%s is not complete", r.Path)}
	case vol.layout.Encrypted && r.Password == "":
		return fmt.Errorf("%w: it needs one", ErrPassword)
	case !vol.layout.Encrypted && r.Password != "":
		return fmt.Errorf("%w: it has none", ErrPassword)
	}
	return vol.present()
}

func notThere(err error) error {
	return &berth.Error{Kind: berth.NotFound, Msg: "The files of the vault are not there", Err: err}
}

// present returns NotFound unless all images are there, one of whose disks may be missing.
func (vol *volume) present() error {
	for _, image := range vol.images() {
		if _, err := os.Stat(image); errors.Is(err, fs.ErrNotExist) {
			return notThere(err)
		} else if err != nil {
			return fmt.Errorf("attach volume: %w", err)
		}
	}
	return nil
}

// open mounts what a claim is for.
func (v *Volumes) open(ctx context.Context, vol *volume, c claim, r Request) (data string, err error) {
	if !isMount(c.mount()) {
		if err := v.prepare(ctx, vol, r); err != nil {
			return "", err
		}
	}
	if err := vol.mount(ctx, c); err != nil {
		return "", err
	}
	crashpoint.Here("volume.mounted")
	if !vol.layout.Encrypted {
		data := filepath.Join(c.mount(), openDir)
		if info, err := os.Lstat(data); err != nil || !info.IsDir() { // a repair may have found nothing of it
			return "", errors.Join(fmt.Errorf("%w: it has no directory %s", ErrDamaged, openDir), err)
		}
		return data, nil
	}
	if err := c.decrypt(ctx, r.Password); err != nil {
		return "", err
	}
	return c.plain(), nil
}

// prepare has the images ready to be mounted.
func (v *Volumes) prepare(ctx context.Context, vol *volume, r Request) error {
	clean, err := vol.clean()
	if err != nil {
		return err
	}
	if !clean && !r.Force {
		return ErrUnclean
	}
	if !clean {
		if err := vol.repair(ctx); err != nil {
			return fmt.Errorf("repair volume: %w", err)
		}
	}
	if r.ReadOnly {
		return nil
	}
	// ext4 gives blocks back to the disk in which it writes zeros; they are taken again. When the disk has become full in between, the
	// volume is as good as other files on it.
	for _, image := range vol.images() {
		info, err := os.Stat(image)
		if err != nil {
			return err
		}
		if err := reserve(image, info.Size()); errors.Is(err, unix.ENOSPC) {
			v.Log.WarnContext(ctx, "no room for blocks that a volume gave back", "image", image, "error", err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// Detach unmounts what an attempt has attached and gives up its claims. An attempt that has none is fine. unix.EBUSY, or *Busy, when
// a process still uses the files: nothing is lost then, and Detach is to be called again.
func (v *Volumes) Detach(ctx context.Context, attempt string) error {
	paths, err := v.AttachedTo(attempt)
	for _, path := range paths {
		err = errors.Join(err, detach(ctx, path, attempt))
	}
	return err
}

// DetachFrom is Detach for one volume.
func (v *Volumes) DetachFrom(ctx context.Context, path, attempt string) error {
	if !v.own(path) || !exists(filepath.Join(path, attached, attempt)) {
		return nil
	}
	return detach(ctx, path, attempt)
}

// AttachedTo returns the paths of the volumes to which an attempt has a claim.
func (v *Volumes) AttachedTo(attempt string) (paths []string, err error) {
	dirs, err := v.directories()
	for _, dir := range dirs {
		if exists(filepath.Join(dir, attached, attempt)) {
			paths = append(paths, dir)
		}
	}
	return paths, err
}

func detach(ctx context.Context, dir, attempt string) (err error) {
	vol, err := lock(ctx, dir)
	if err != nil {
		return absent(err)
	}
	defer func() { err = errors.Join(err, vol.unlock()) }()
	claims, err := vol.claims()
	if err != nil {
		return err
	}
	at := slices.IndexFunc(claims, func(c claim) bool { return c.attempt() == attempt })
	if at < 0 {
		return nil
	}
	return vol.release(ctx, claims[at])
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
