package sshclient

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/pkg/sftp"
)

// files are those of one node: of this one by the kernel, of another by sftp.
type files interface {
	stat(name string) (fs.FileInfo, error)
	list(name string) ([]fs.FileInfo, error)
	open(name string) (file, error)
	create(name string, mode fs.FileMode) (file, error)
	mkdir(name string, mode fs.FileMode) error
	keep(name string, from fs.FileInfo) error
	close() error
}

type file interface {
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)
	Close() error
}

// runSCP copies files from node to node. Like OpenSSH's it goes through this one when neither is here.
func runSCP(ctx context.Context, args []string) (int, error) {
	o := newOptions()
	if err := o.parse(args, scpFlags); err != nil {
		return 1, err
	}
	if len(o.rest) < 2 {
		return 1, fmt.Errorf("%w: scp [-rpq] [-P port] [-i identity] [-o option] [[user@]host:]file... [[user@]host:]file", errUsage)
	}
	last := len(o.rest) - 1
	to, target, err := filesAt(ctx, o, o.rest[last])
	if err != nil {
		return 1, err
	}
	info, err := to.stat(target)
	into := err == nil && info.IsDir()
	if last > 1 && !into {
		return 1, errors.Join(fmt.Errorf("%s is no directory", o.rest[last]), to.close())
	}
	var failed error
	for _, source := range o.rest[:last] {
		from, name, err := filesAt(ctx, o, source)
		if err != nil {
			return 1, errors.Join(err, to.close())
		}
		copying := copying{from: from, to: to, options: o}
		destination := target
		if into {
			destination = path.Join(target, path.Base(name))
		}
		failed = errors.Join(failed, copying.copy(name, destination), from.close())
	}
	if err := errors.Join(failed, to.close()); err != nil {
		return 1, err
	}
	return 0, nil
}

// filesAt returns the files that a word of the command line means, and the path there.
func filesAt(ctx context.Context, o options, word string) (files, string, error) {
	host, name, remote := strings.Cut(word, ":")
	if !remote || strings.Contains(host, "/") {
		return local{}, word, nil
	}
	if err := o.setHost(host); err != nil {
		return nil, "", err
	}
	client, err := openSFTP(ctx, o)
	if err != nil {
		return nil, "", err
	}
	name = strings.TrimPrefix(strings.TrimPrefix(name, "~/"), "~")
	if name == "" {
		name = "."
	}
	return remoteFiles{client}, name, nil
}

// openSFTP logs in at the host of the options. The connection is closed with the client.
func openSFTP(ctx context.Context, o options) (*sftp.Client, error) {
	conn, err := connect(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.host, err)
	}
	client, err := sftp.NewClient(conn)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", o.host, err), conn.Close())
	}
	return client, nil
}

// copying copies from one node to another.
type copying struct {
	options
	from, to files
}

func (c copying) copy(name, target string) error {
	info, err := c.from.stat(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	switch {
	case info.IsDir() && !c.recursive:
		return fmt.Errorf("%s is a directory: -r copies it", name)
	case info.IsDir():
		err = c.tree(name, target, info)
	case info.Mode().IsRegular():
		err = c.file(name, target, info)
	default:
		return fmt.Errorf("%s is no regular file", name)
	}
	if err == nil && c.keep {
		err = c.to.keep(target, info)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (c copying) tree(name, target string, info fs.FileInfo) error {
	if err := c.to.mkdir(target, info.Mode().Perm()|0o700); err != nil {
		return err
	}
	entries, err := c.from.list(name)
	if err != nil {
		return err
	}
	var failed error
	for _, entry := range entries {
		failed = errors.Join(failed, c.copy(path.Join(name, entry.Name()), path.Join(target, entry.Name())))
	}
	return failed
}

func (c copying) file(name, target string, info fs.FileInfo) error {
	in, err := c.from.open(name)
	if err != nil {
		return err
	}
	out, err := c.to.create(target, info.Mode().Perm())
	if err != nil {
		return errors.Join(err, in.Close())
	}
	return copyFile(out, in)
}

// local are the files of this node.
type local struct{}

func (local) stat(name string) (fs.FileInfo, error) { return os.Stat(name) }
func (local) open(name string) (file, error)        { return os.Open(name) }
func (local) close() error                          { return nil }

func (local) create(name string, mode fs.FileMode) (file, error) {
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
}

func (local) mkdir(name string, mode fs.FileMode) error {
	err := os.Mkdir(name, mode)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func (local) list(name string) ([]fs.FileInfo, error) {
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, err
	}
	list := make([]fs.FileInfo, 0, len(entries))
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			return nil, err
		}
		list = append(list, info)
	}
	return list, nil
}

func (local) keep(name string, from fs.FileInfo) error {
	return errors.Join(os.Chmod(name, from.Mode().Perm()), os.Chtimes(name, from.ModTime(), from.ModTime()))
}

// remoteFiles are those of another node.
type remoteFiles struct{ client *sftp.Client }

func (r remoteFiles) stat(name string) (fs.FileInfo, error)   { return r.client.Stat(name) }
func (r remoteFiles) list(name string) ([]fs.FileInfo, error) { return r.client.ReadDir(name) }
func (r remoteFiles) open(name string) (file, error)          { return r.client.Open(name) }
func (r remoteFiles) close() error                            { return r.client.Close() }

func (r remoteFiles) create(name string, mode fs.FileMode) (file, error) {
	_, err := r.client.Stat(name)
	made := errors.Is(err, fs.ErrNotExist)
	f, err := r.client.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err == nil && made { // else it keeps its mode, as files here do
		err = f.Chmod(mode)
	}
	return f, err
}

func (r remoteFiles) mkdir(name string, mode fs.FileMode) error {
	if info, err := r.client.Stat(name); err == nil && info.IsDir() {
		return nil
	}
	return errors.Join(r.client.Mkdir(name), r.client.Chmod(name, mode))
}

func (r remoteFiles) keep(name string, from fs.FileInfo) error {
	return errors.Join(r.client.Chmod(name, from.Mode().Perm()), r.client.Chtimes(name, from.ModTime(), from.ModTime()))
}
