package staging

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"os"
	"path"
	"strings"
	"sync"
	"unicode"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"

	"github.com/berth-hpc/berth/internal/crashpoint"
)

// partSize is that of the parts of large files, of which none is kept in memory, and maxParts how many of them a store takes.
const (
	partSize = 16 << 20
	maxParts = 10_000
	// partsAtOnce is how many parts of one file are under way at a time.
	partsAtOnce = 4
)

// failures are the files that could not be copied back.
type failures struct {
	mu    sync.Mutex
	count int
	shown []string
}

// maxShown bounds how many files a sentence names, and maxShownName how much of each name.
const (
	maxShown     = 10
	maxShownName = 200
)

// add adds a file, or with an empty name everything.
func (f *failures) add(file string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	if len(f.shown) < maxShown {
		f.shown = append(f.shown, strings.TrimPrefix(printable(file)+": "+explainLocal(err), ": "))
	}
}

// explainLocal is explain for an error that may be a sentence of this package.
func explainLocal(err error) string {
	if refused, ok := errors.AsType[*Refused](err); ok {
		return refused.Text
	}
	return explain(err)
}

// sentence names the files, empty when there are none.
func (f *failures) sentence() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count == 0 {
		return ""
	}
	text := fmt.Sprintf("%d files could not be copied to the vault: %s", f.count, strings.Join(f.shown, "; "))
	if f.count > len(f.shown) {
		text += "; …"
	}
	return text
}

// printable makes a name of a file one that can be shown.
func printable(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, name)
	if len(name) > maxShownName {
		name = strings.ToValidUTF8(name[:maxShownName], "") + "…"
	}
	return name
}

// sending is the way of the files of a transfer to the store.
type sending struct {
	client   *client
	manifest *manifest
	progress *progress
	root     *os.Root
	prefix   string
	failures failures
}

// sendAll copies back what is new or changed. Files that fail do not keep others from being copied.
func (s *Stager) sendAll(ctx context.Context, c *client, t Transfer, m *manifest) (*failures, error) {
	root, err := os.OpenRoot(t.Data)
	if err != nil {
		return &failures{}, err
	}
	defer func() { _ = root.Close() }()
	out := &sending{client: c, manifest: m, progress: s.progress(t.Tell, "Copied back"), root: root, prefix: t.Bucket.Prefix}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(s.cfg.Parallel)
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case groupCtx.Err() != nil:
			return groupCtx.Err()
		case err != nil:
			out.failures.add(name, err)
			return nil
		case !entry.Type().IsRegular():
			return nil // what links and devices lead to is not the job's
		}
		group.Go(func() error {
			if err := out.send(groupCtx, name); err != nil && groupCtx.Err() == nil {
				out.failures.add(name, err)
			}
			return nil
		})
		return nil
	})
	return &out.failures, errors.Join(err, group.Wait())
}

// send copies one file back when that is needed.
func (o *sending) send(ctx context.Context, name string) error {
	file, now, err := openRegular(o.root, name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	known := o.manifest.byPath[name]
	if o.manifest.ended(name, now) || known != nil && known.had == now {
		return nil
	}
	var key string
	if known == nil {
		var problem string
		if key, problem = newKey(o.prefix, name); problem != "" {
			return refusef(nil, "%s", problem)
		}
	} else {
		key = known.Key
		same, err := sameContent(file, now, known)
		if err != nil || same {
			return err
		}
	}
	if err := o.upload(ctx, upload{key: key, name: name, file: file, size: now.Size}); err != nil {
		return err
	}
	crashpoint.Here("staging.sent")
	o.progress.finished(0)
	// What cannot be noted is copied once more when a server goes on after a crash, which does no harm.
	_ = o.manifest.add(line{Sent: &sentLine{Path: name, Stamp: now}})
	return nil
}

// sameContent says whether a file that was touched has the content that was brought.
func sameContent(file *os.File, now stamp, known *object) (bool, error) {
	if known.had == (stamp{}) || now.Size != known.had.Size {
		return false, nil
	}
	sum, err := checksum(file)
	return sum == known.sum, err
}

// upload is one file on its way.
type upload struct {
	key, name string
	file      *os.File
	size      int64
}

func (o *sending) upload(ctx context.Context, u upload) error {
	inParts := u.size > partSize
	stale := inParts && o.manifest.began(u.name)
	if inParts && !stale {
		_ = o.manifest.add(line{Sending: u.name}) // without it a crash may leave parts in the store
	}
	crashpoint.Here("staging.sending")
	return o.progress.retry(ctx, func(ctx context.Context) error {
		if stale {
			if err := o.abort(ctx, u.key); err != nil {
				return err
			}
		}
		stale = inParts
		return o.put(ctx, u)
	})
}

// abort takes away what an upload has left that did not end, because its server or that of the store was killed: parts that nobody sees
// and that cost money.
func (o *sending) abort(ctx context.Context, key string) error {
	err := o.client.core.RemoveIncompleteUpload(ctx, o.client.bucket, key)
	if notThere(err) {
		return nil
	}
	return err
}

func (o *sending) put(ctx context.Context, u upload) error {
	if _, err := u.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	info, err := o.client.core.Client.PutObject(ctx, o.client.bucket, u.key, u.file, u.size, minio.PutObjectOptions{
		PartSize: partSizeOf(u.size), NumThreads: partsAtOnce, Progress: (*meter)(o.progress), ContentType: contentType(u.name),
	})
	if err == nil && info.Size != u.size {
		return errContent
	}
	return err
}

// partSizeOf returns a size of parts with which a file has not too many.
func partSizeOf(size int64) uint64 {
	const unit = 1 << 20
	return max(partSize, (uint64(max(0, size))/maxParts/unit+1)*unit)
}

func contentType(name string) string {
	if known := mime.TypeByExtension(path.Ext(name)); known != "" {
		return known
	}
	return "application/octet-stream"
}

// meter is what the library tells of bytes that it has sent, by reading them.
type meter progress

func (m *meter) Read(part []byte) (int, error) {
	(*progress)(m).moved(len(part))
	return len(part), nil
}
