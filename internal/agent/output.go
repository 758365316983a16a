package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	firstPause = 10 * time.Millisecond
	longPause  = time.Second
	// copyBuffer is what a pipe holds: one read empties it.
	copyBuffer = 64 << 10
)

// output is the job's output file. Every byte given to it is written once, in order, however long that takes: while the disk is
// full it waits. It is used by one goroutine at a time.
type output struct {
	// write appends to the file; it may write less than it was given.
	write func([]byte) (int, error)
	pause func(time.Duration)
	// log hears when the file cannot be written, and when it can again.
	log io.Writer
	// blocked is how long the file could not be written, in all.
	blocked time.Duration
}

// Write writes all of p. Its error is always nil.
func (o *output) Write(p []byte) (int, error) {
	pause := time.Duration(0)
	for rest := p; len(rest) > 0; {
		n, err := o.write(rest)
		if n > 0 {
			rest = rest[n:]
			pause = 0
			continue
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if pause == 0 {
			_, _ = fmt.Fprintf(o.log, "berth-init: the job waits because its output cannot be written: %v\n", err)
		}
		pause = grow(pause)
		o.pause(pause)
		o.blocked += pause
	}
	return len(p), nil
}

// say writes a line about the agent's own work, in the form that users of the platform know.
func (o *output) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	_, _ = o.Write([]byte("INIT[1]: " + strings.ReplaceAll(text, "\n", " ") + "\n"))
}

// banner writes the line that ends the agent's part: clients cut the output there.
func (o *output) banner() {
	_, _ = o.Write([]byte(strings.Repeat("#", 79) + "\n"))
}

func grow(pause time.Duration) time.Duration { return min(max(2*pause, firstPause), longPause) }

// untilRoom repeats an attempt while it fails because the disk is full or in trouble.
func untilRoom(attempt func() error) error {
	for pause := time.Duration(0); ; {
		err := attempt()
		if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) && !errors.Is(err, unix.EIO) && !errors.Is(err, unix.EINTR) {
			return err
		}
		pause = grow(pause)
		time.Sleep(pause)
	}
}

// openOutput opens the output file for appending, and makes it when it is not there. sync returns when all of it is on disk.
func openOutput(path string, log io.Writer) (out *output, sync func() error, err error) {
	var file *os.File
	err = untilRoom(func() error {
		file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	fd := int(file.Fd())
	write := func(p []byte) (int, error) { return unix.Write(fd, p) }
	return &output{write: write, pause: time.Sleep, log: log}, func() error { return errors.Join(file.Sync(), file.Close()) }, nil
}

// stream is the pipe that the command has as stdout and stderr: one, so that the order of what it writes is kept.
type stream struct {
	// source is read by the agent.
	source *os.File
	// sink is inherited by the command and what runs beside it. The agent closes it when they have ended.
	sink int
}

func openStream(uid, gid int) (*stream, error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	// Only the agent's end: the flag is part of what the command inherits otherwise.
	if err := unix.SetNonblock(ends[0], true); err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	// The command opens it anew by /dev/stdout.
	if err := unix.Fchown(ends[1], uid, gid); err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	return &stream{source: os.NewFile(uintptr(ends[0]), "command"), sink: ends[1]}, nil
}

// copyTo copies until nobody can write to the stream any more.
func (s *stream) copyTo(out *output) error {
	buffer := make([]byte, copyBuffer)
	for {
		n, err := s.source.Read(buffer)
		_, _ = out.Write(buffer[:n])
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the command's output: %w", err)
		}
	}
}
