package sshclient

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/pkg/sftp"
)

// runSFTP does what the lines of its standard input, or of the file of -b, say.
func runSFTP(ctx context.Context, args []string) (int, error) {
	o := newOptions()
	if err := o.parse(args, sftpFlags); err != nil {
		return 1, err
	}
	if len(o.rest) != 1 {
		return 1, fmt.Errorf("%w: sftp [-b file] [-P port] [-i identity] [-o option] [user@]host", errUsage)
	}
	if err := o.setHost(strings.TrimSuffix(o.rest[0], ":")); err != nil {
		return 1, err
	}
	lines := os.Stdin
	if o.batch != "" && o.batch != "-" {
		var err error
		if lines, err = os.Open(o.batch); err != nil {
			return 1, err
		}
		defer func() { _ = lines.Close() }()
	}
	client, err := openSFTP(ctx, o)
	if err != nil {
		return exitFailed, err
	}
	t := transfer{client: client, out: os.Stdout}
	if t.dir, err = client.Getwd(); err == nil {
		err = t.run(lines, o.batch != "")
	}
	if err := errors.Join(err, client.Close()); err != nil {
		return 1, err
	}
	return 0, nil
}

// transfer is a session of sftp.
type transfer struct {
	client *sftp.Client
	out    io.Writer
	// dir is where the session is on the other node.
	dir string
}

var errBye = errors.New("bye")

// run does what the lines say. In a batch the first that fails ends it.
func (t *transfer) run(lines io.Reader, batch bool) error {
	scanner := bufio.NewScanner(lines)
	for scanner.Scan() {
		words := strings.Fields(strings.TrimPrefix(scanner.Text(), "-"))
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		err := t.do(words[0], words[1:])
		switch {
		case errors.Is(err, errBye):
			return nil
		case err != nil && batch && !strings.HasPrefix(scanner.Text(), "-"):
			return err
		case err != nil:
			_, _ = fmt.Fprintln(os.Stderr, err)
		}
	}
	return scanner.Err()
}

func (t *transfer) do(command string, args []string) error {
	first, second := "", ""
	if len(args) > 0 {
		first, second = args[0], path.Base(args[0])
	}
	if len(args) > 1 {
		second = args[1]
	}
	switch command {
	case "bye", "exit", "quit":
		return errBye
	case "pwd":
		_, err := fmt.Fprintln(t.out, "Remote working directory:", t.dir)
		return err
	case "cd":
		info, err := t.client.Stat(t.at(first))
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("%s is no directory", first)
		}
		if err == nil {
			t.dir = t.at(first)
		}
		return err
	case "ls":
		return t.list(first)
	}
	if first == "" {
		return fmt.Errorf("there is no command %q, or it lacks an argument", command)
	}
	switch command {
	case "get":
		return copying{from: remoteFiles{t.client}, to: local{}}.copy(t.at(first), second)
	case "put":
		return copying{from: local{}, to: remoteFiles{t.client}}.copy(first, t.at(second))
	case "mkdir":
		return t.client.Mkdir(t.at(first))
	case "rm":
		return t.client.Remove(t.at(first))
	case "rmdir":
		return t.client.RemoveDirectory(t.at(first))
	case "rename":
		return t.client.PosixRename(t.at(first), t.at(second))
	default:
		return fmt.Errorf("there is no command %q", command)
	}
}

// at returns a path on the other node.
func (t *transfer) at(name string) string {
	if path.IsAbs(name) {
		return name
	}
	return path.Join(t.dir, name)
}

func (t *transfer) list(name string) error {
	entries, err := t.client.ReadDir(t.at(name))
	slices.SortFunc(entries, func(a, b os.FileInfo) int { return cmp.Compare(a.Name(), b.Name()) })
	for _, entry := range entries {
		_, _ = fmt.Fprintln(t.out, entry.Name())
	}
	return err
}
