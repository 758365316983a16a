package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/crashpoint"
)

// What gocryptfs says by its exit status: it has no encrypted directory, it cannot read the keys in there, the password is not theirs.
const (
	noDirectory   = 6
	noKeys        = 11
	wrongPassword = 12
)

// keysFile holds the keys of an encrypted volume, encrypted with its password.
const keysFile = "gocryptfs.conf"

// initialize makes the encrypted directory of a volume that is mounted.
func (vol *volume) initialize(ctx context.Context, c claim, password string) error {
	dir := filepath.Join(c.mount(), cipherDir)
	if err := os.Mkdir(dir, 0o750); err != nil {
		return err
	}
	return vol.run(ctx, password, "gocryptfs", "-init", "-q", "--", dir)
}

// decrypt makes the files of an encrypted volume that is mounted readable at c.plain, if they are not yet. ErrPassword when that is wrong,
// ErrDamaged when there is nothing that it fits.
func (c claim) decrypt(ctx context.Context, password string) error {
	daemon, err := os.OpenFile(c.daemon(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = daemon.Close() }()
	for {
		dead, err := tryLock(daemon)
		if err != nil {
			return err
		}
		switch mounted := isMount(c.plain()); {
		case !dead && mounted:
			return nil
		case !dead: // one that a killed server has started is on its way
			err = wait(ctx)
		case mounted:
			err = unmount(c.plain())
		default:
			return c.serve(ctx, daemon, password)
		}
		if err != nil {
			return err
		}
	}
}

// serve starts gocryptfs, which goes to the background when it serves and outlives this server. It keeps the lock.
func (c claim) serve(ctx context.Context, daemon *os.File, password string) (err error) {
	args := []string{"-q", "-nosyslog", "-allow_other", "-nosuid", "-nodev", "-fsname", "vault"}
	if c.readOnly {
		args = append(args, "-ro")
	}
	cmd, err := command(ctx, "gocryptfs", append(args, "--", filepath.Join(c.mount(), cipherDir), c.plain())...)
	if err != nil {
		return err
	}
	if _, err := find("fusermount3"); err != nil { // gocryptfs mounts by it
		return err
	}
	if err := device(fuseDevice); err != nil {
		return err
	}
	said, err := boundedFile()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, said.Close()) }()
	cmd.Stdin, cmd.Stderr = strings.NewReader(password), said
	cmd.ExtraFiles = []*os.File{daemon}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Run()
	crashpoint.Here("volume.decrypted")
	if err == nil {
		return nil
	}
	text := make([]byte, boundedSize)
	n, errRead := said.ReadAt(text, 0)
	if errors.Is(errRead, io.EOF) {
		errRead = nil
	}
	return errors.Join(fmt.Errorf("gocryptfs: %w: %s", meaning(err), strings.Trim(string(text[:n]), "\x00\n")), errRead)
}

// meaning adds what the exit status of gocryptfs says.
func meaning(err error) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		switch exit.ExitCode() {
		case wrongPassword:
			return errors.Join(ErrPassword, err)
		case noDirectory, noKeys:
			return errors.Join(ErrDamaged, err)
		}
	}
	return err
}

// ChangePassword gives an encrypted volume another password, for an attempt that has the volume alone meanwhile. Who is killed in the middle
// leaves the old password or the new one, and a claim for DetachFrom; so does a volume with the new one that cannot be let go at once.
// Errors are those of Attach: ErrPassword for an old one that is wrong.
func (v *Volumes) ChangePassword(ctx context.Context, r Request, password string) error {
	if password == "" {
		return fmt.Errorf("%w: there is no new one", ErrPassword)
	}
	r.ReadOnly = false
	vol, c, err := v.enter(ctx, r)
	if err != nil {
		return err
	}
	err = v.changePassword(ctx, vol, c, r, password)
	errRelease := vol.release(context.WithoutCancel(ctx), c)
	if err == nil && errRelease != nil { // the new one is that of the volume all the same
		v.Log.WarnContext(ctx, "a volume whose password was changed is still attached", "volume", vol.dir, "error", errRelease)
		errRelease = nil
	}
	return errors.Join(err, errRelease, vol.unlock())
}

func (v *Volumes) changePassword(ctx context.Context, vol *volume, c claim, r Request, password string) error {
	if err := v.prepare(ctx, vol, r); err != nil {
		return err
	}
	if err := vol.mount(ctx, c); err != nil {
		return err
	}
	dir := filepath.Join(c.mount(), cipherDir)
	// gocryptfs writes the new keys there and then renames the file. It does not go on with what one that was killed has left.
	if err := absent(os.Remove(filepath.Join(dir, keysFile+".tmp"))); err != nil {
		return err
	}
	crashpoint.Here("volume.password.before")
	err := meaning(vol.run(ctx, r.Password+"\n"+password+"\n", "gocryptfs", "-passwd", "-q", "--", dir))
	crashpoint.Here("volume.password.after")
	return err
}

const boundedSize = 4096

// boundedFile is a file in memory that does not grow, for what a daemon may write as long as it lives: a pipe to this server would end it
// when the server ends, and a file on the disk would get longer without end.
func boundedFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("gocryptfs", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "gocryptfs")
	if err := file.Truncate(boundedSize); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if _, err := unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_GROW); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// encrypt unmounts what decrypt has mounted, and waits until the daemon has ended, which has files of the volume open until then.
func (c claim) encrypt(ctx context.Context) error {
	daemon, err := os.Open(c.daemon())
	if err != nil {
		return absent(err)
	}
	defer func() { _ = daemon.Close() }()
	return patiently(ctx, func() error {
		if err := unmount(c.plain()); err != nil {
			return err
		}
		dead, err := tryLock(daemon)
		if err == nil && !dead {
			return &Busy{}
		}
		return err
	})
}
