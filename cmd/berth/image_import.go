package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

func (a *app) imageImportCommand() *cobra.Command {
	var rootfs string
	cmd := &cobra.Command{
		Use:   "import (ARCHIVE | DIR | -) [NAME] | import --rootfs FILE.tar NAME",
		Short: "Bring an image from a file into the server's store",
		Long: `import reads an archive as docker save writes it, an OCI layout as an archive or a directory, or with --rootfs a tar of a plain
root filesystem. Archives may be compressed. - is stdin. NAME is the reference that jobs ask for, such as local/tools:latest; an
archive that names its images needs none.`,
		Example: `  docker save my/tools | berth image import - local/tools:latest
  berth image import --rootfs rootfs.tar.gz local/debian:12`,
	}
	cmd.Flags().StringVar(&rootfs, "rootfs", "", "tar of a root filesystem")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		switch plain := cmd.Flags().Changed("rootfs"); {
		case plain && rootfs == "":
			return usagef("--rootfs needs a file")
		case plain && len(args) != 1:
			return usagef("--rootfs FILE.tar needs one NAME for the image")
		case !plain && (len(args) == 0 || len(args) > 2):
			return usagef("give an ARCHIVE or a DIR, and at most one NAME")
		}
		return nil
	}
	cmd.RunE = a.runE(func(ctx context.Context, args []string) error {
		path, name := rootfs, ""
		if rootfs == "" {
			path, args = args[0], args[1:]
		}
		if len(args) > 0 {
			name = args[0]
		}
		return a.importImage(ctx, path, client.ImageImport{Name: name, Rootfs: rootfs != ""})
	})
	return cmd
}

func (a *app) importImage(ctx context.Context, path string, opts client.ImageImport) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	source, total, err := a.openArchive(path, opts.Rootfs)
	if err != nil {
		return err
	}
	defer source.Close()
	upload := &upload{source: source, total: total, notice: a.newNotice()}
	if _, isFile := source.(*os.File); isFile {
		opts.Size = total
	}
	opts.Progress = upload.tell
	stop := upload.watch(ctx)
	images, err := c.ImportImage(ctx, upload, opts)
	stop()
	if err != nil {
		return aboutImage(path, err)
	}
	return a.printImages(images)
}

// openArchive opens what is to be sent and says how many bytes it has, 0 when that is not known.
func (a *app) openArchive(path string, rootfs bool) (io.ReadCloser, int64, error) {
	if path == "-" {
		return io.NopCloser(a.stdin), 0, nil
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, 0, err
	case info.IsDir() && rootfs:
		return nil, 0, hintf(fmt.Errorf("%s is a directory", path), "tar it first: tar -C %s -cf rootfs.tar .", path)
	case info.IsDir():
		return openLayout(path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return file, 0, nil
	}
	return file, info.Size(), nil
}

// openLayout makes a tar of a directory that holds an OCI layout, while it is read. Its size is about that of the files.
func openLayout(dir string) (io.ReadCloser, int64, error) {
	if _, err := os.Stat(filepath.Join(dir, "oci-layout")); err != nil {
		return nil, 0, hintf(fmt.Errorf("%s is no OCI layout: it has no file oci-layout", dir),
			"a root filesystem is imported as a tar: tar -C %s -cf rootfs.tar . && berth image import --rootfs rootfs.tar NAME", dir)
	}
	var total int64
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	reader, writer := io.Pipe()
	go func() { // ends with the last byte, or when the reader is closed
		archive := tar.NewWriter(writer)
		err := archive.AddFS(os.DirFS(dir))
		writer.CloseWithError(errors.Join(err, archive.Close()))
	}()
	return reader, total, nil
}

// upload counts the bytes that were sent and shows them together with what the server says.
type upload struct {
	source   io.Reader
	total    int64
	notice   *notice
	sent     atomic.Int64
	sentence atomic.Value
}

func (u *upload) Read(p []byte) (int, error) {
	n, err := u.source.Read(p)
	u.sent.Add(int64(n))
	return n, err
}

// tell takes a sentence of the server.
func (u *upload) tell(sentence string) { u.sentence.Store(sentence) }

// watch shows the progress until the returned function is called, which waits for the end of it.
func (u *upload) watch(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var shows sync.WaitGroup
	shows.Go(func() {
		const often = 200 * time.Millisecond
		ticker := time.NewTicker(often)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				u.notice.update("import", u.progress())
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		shows.Wait()
		u.notice.close()
	}
}

// progress is one sentence about how far it is.
func (u *upload) progress() string {
	sent := u.sent.Load()
	text := "sent " + humanize.Bytes(uint64(max(sent, 0)))
	if u.total > 0 {
		text = fmt.Sprintf("sent %s of %s (%d%%)", humanize.Bytes(uint64(max(sent, 0))), humanize.Bytes(uint64(u.total)), min(100, sent*100/u.total))
	}
	if sentence, _ := u.sentence.Load().(string); sentence != "" {
		text += "; " + sentence
	}
	return text
}

// aboutImage adds the image, or its file, to an error.
func aboutImage(name string, err error) error { return fmt.Errorf("image %s: %w", name, err) }
