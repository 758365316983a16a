package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/crashpoint"
)

// packages are the Debian packages of the programs that volumes need.
var packages = map[string]string{
	"e2fsck": "e2fsprogs", "mkfs.ext4": "e2fsprogs",
	"mkfs.btrfs":  "btrfs-progs",
	"gocryptfs":   "gocryptfs",
	"fusermount3": "fuse3",
}

// Devices of the kernel that volumes need, encrypted ones both of them.
const (
	loopDevice = "/dev/loop-control"
	fuseDevice = "/dev/fuse"
)

// device returns a *berth.Error of kind Unsupported when there is no such device.
func device(path string) error {
	_, err := os.Stat(path)
	if err != nil {
		return &berth.Error{Kind: berth.Unsupported, Msg: "The server lacks the device " + path, Err: err}
	}
	return nil
}

// Check says what is missing for volumes, for arrays or for encrypted ones: a *berth.Error of kind Unsupported that names the package of a
// program, or a device of the kernel.
func Check(array, encrypted bool) error {
	programs := []string{"mkfs.ext4", "e2fsck"}
	if array {
		programs = []string{"mkfs.btrfs"}
	}
	if encrypted {
		programs = append(programs, "gocryptfs", "fusermount3")
	}
	for _, program := range programs {
		if _, err := find(program); err != nil {
			return err
		}
	}
	if encrypted {
		if err := device(fuseDevice); err != nil {
			return err
		}
	}
	return device(loopDevice)
}

// find returns where a program is. The PATH of users who become root often lacks the directories of administrators' programs.
func find(program string) (string, error) {
	path, err := exec.LookPath(program)
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
		if err != nil {
			path, err = exec.LookPath(dir + program)
		}
	}
	if err != nil {
		return "", &berth.Error{
			Kind: berth.Unsupported, Err: err,
			Msg: fmt.Sprintf("The server lacks %s, which is in the Debian package %s", program, packages[program]),
		}
	}
	return path, nil
}

// command prepares a program. It gets nothing of the server's environment, in which there may be secrets.
func command(ctx context.Context, program string, args ...string) (*exec.Cmd, error) {
	path, err := find(program)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	return cmd, nil
}

// run executes a program that changes the volume, with a text for its standard input. It holds the volume's lock: when the server is
// killed, the next one waits for it.
func (vol *volume) run(ctx context.Context, input, program string, args ...string) error {
	cmd, err := command(ctx, program, args...)
	if err != nil {
		return err
	}
	cmd.Stdin = strings.NewReader(input)
	cmd.ExtraFiles = []*os.File{vol.lockOn}
	var said beginning
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, bytes.TrimSpace(said.text))
	}
	return nil
}

// beginning keeps the beginning of what is written to it: a repair may have a line to say of every file.
type beginning struct{ text []byte }

func (b *beginning) Write(text []byte) (int, error) {
	b.text = append(b.text, text[:min(len(text), boundedSize-len(b.text))]...)
	return len(text), nil
}

// repair makes the file system of one image valid. ErrDamaged when that is not possible. Until it has come to its end the volume is unclean.
func (vol *volume) repair(ctx context.Context) error {
	vol.layout.Repairing = true
	if err := vol.save(); err != nil {
		return err
	}
	crashpoint.Here("volume.repairing")
	if err := vol.check(ctx); err != nil {
		return err
	}
	vol.layout.Repairing = false
	return vol.save()
}

func (vol *volume) check(ctx context.Context) error {
	const corrected, restart, uncorrected, failed = 1, 2, 4, 8 // of which the exit status is the sum
	err := vol.run(ctx, "", "e2fsck", "-f", "-y", vol.images()[0])
	exit, ok := errors.AsType[*exec.ExitError](err)
	switch {
	case !ok || !exit.Exited():
		return err
	case exit.ExitCode()&^(corrected|restart) == 0:
		return nil
	case exit.ExitCode()&(uncorrected|failed) != 0:
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	default:
		return err
	}
}
