package staging

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"strings"
	"sync"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"

	"github.com/berth-hpc/berth/internal/crashpoint"
)

// maxObjects bounds what one job may ask for: the plan is kept in memory.
const maxObjects = 1 << 20

// plan finds the objects that a transfer asks for, and where they go.
func (s *Stager) plan(ctx context.Context, c *client, t Transfer, m *manifest) error {
	p := s.progress(t.Tell, "Found")
	var objects []*object
	for _, wanted := range t.Objects {
		var found []*object
		err := p.retry(ctx, func(ctx context.Context) (err error) {
			found, err = c.list(ctx, t.Bucket.Prefix, t.Bucket.Prefix+wanted)
			return err
		})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return refusef(err, "the objects of the vault cannot be listed: %s", explain(err))
		case len(found) == 0:
			return refusef(nil, "the vault has no object whose key begins with %q", wanted)
		case len(objects)+len(found) > maxObjects:
			return refusef(nil, "the job asks for more than %d objects", maxObjects)
		}
		objects = append(objects, found...)
		for range found {
			p.finished(0)
		}
	}
	objects, err := layOut(objects, t.Bucket.Prefix)
	if err != nil {
		return err
	}
	return m.plan(objects)
}

// list returns the object of a key, or else all whose keys begin with it.
func (c *client) list(ctx context.Context, prefix, wanted string) ([]*object, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var found []*object
	for info := range c.core.ListObjectsIter(ctx, c.bucket, minio.ListObjectsOptions{Prefix: wanted, Recursive: true}) {
		if info.Err != nil {
			return nil, info.Err
		}
		if info.Key == prefix {
			continue // it only says that there is a folder, which is the vault
		}
		o := &object{Key: info.Key, Size: info.Size, ETag: info.ETag}
		if info.Key == wanted && !o.folder() {
			return []*object{o}, nil
		}
		if found = append(found, o); len(found) > maxObjects {
			return found, nil
		}
	}
	return found, ctx.Err()
}

// fetching is the way of the objects of a transfer to their files.
type fetching struct {
	client   *client
	manifest *manifest
	progress *progress
	root     *os.Root
	uid, gid int

	mu      sync.Mutex
	folders map[string]bool
}

// fetchAll brings all objects of the plan that were not brought before.
func (s *Stager) fetchAll(ctx context.Context, c *client, t Transfer, m *manifest) error {
	root, err := os.OpenRoot(t.Data)
	if err != nil {
		return fmt.Errorf("data of the job: %w", err)
	}
	defer func() { _ = root.Close() }()
	f := &fetching{
		client: c, manifest: m, progress: s.progress(t.Tell, "Brought"), root: root, uid: t.UID, gid: t.GID,
		folders: map[string]bool{".": true},
	}
	if err := root.Lchown(".", t.UID, t.GID); err != nil { // the agent does it only where the job may write
		return fmt.Errorf("data of the job: %w", err)
	}
	f.progress.objects = int64(len(m.objects))
	for _, o := range m.objects {
		f.progress.bytes += o.Size
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(s.cfg.Parallel)
	for _, o := range m.objects {
		if groupCtx.Err() != nil {
			break
		}
		group.Go(func() error { return f.bring(groupCtx, o) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// bring has one object there, with the content that the store has, whole and checked.
func (f *fetching) bring(ctx context.Context, o *object) error {
	if f.there(o) {
		f.progress.finished(o.Size)
		return nil
	}
	err := f.mkdirAll(path.Dir(o.Path))
	if err == nil && o.folder() {
		if err = f.mkdirAll(o.Path); err == nil {
			f.progress.finished(0)
			return nil
		}
	}
	if err == nil {
		err = f.fetch(ctx, o)
	}
	switch {
	case err == nil:
		f.progress.finished(0)
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case asRefused(err), isLocal(err) && !definite(err): // a full disk is not for ever
		return err
	}
	return refusef(err, "the object %q cannot be brought: %s", strings.ToValidUTF8(o.Key, "\uFFFD"), explain(err))
}

// there says whether the file of an object is there as it was brought before. Its content is looked at: the power may have failed.
func (f *fetching) there(o *object) bool {
	if o.had == (stamp{}) {
		return false
	}
	file, now, err := openRegular(f.root, o.Path)
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }()
	sum, err := checksum(file)
	return err == nil && now == o.had && sum == o.sum
}

// mkdirAll makes a folder and those above it, for the user of the job.
func (f *fetching) mkdirAll(dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	made := ""
	for name := range strings.SplitSeq(dir, "/") {
		made = path.Join(made, name)
		if f.folders[made] {
			continue
		}
		if err := f.root.Mkdir(made, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		if err := f.root.Lchown(made, f.uid, f.gid); err != nil {
			return err
		}
		f.folders[made] = true
	}
	return nil
}

// fetch brings an object and checks it.
func (f *fetching) fetch(ctx context.Context, o *object) (err error) {
	file, err := f.root.OpenFile(o.Path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	d := &download{fetching: f, object: o, file: file}
	if err := f.progress.retry(ctx, d.attempt); err != nil {
		return err
	}
	if err := file.Chown(f.uid, f.gid); err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	crashpoint.Here("staging.brought")
	return f.manifest.add(line{Had: &hadLine{Path: o.Path, ETag: d.etag, Stamp: stampOf(info), Sum: d.sum.Sum64()}})
}

// download is one object on its way. A connection that breaks is followed by another one for the rest.
type download struct {
	*fetching
	object *object
	file   *os.File

	etag    string
	written int64
	size    int64
	sum     hash.Hash64
	check   verifier
}

// errContent says that what came is not what the store has.
var errContent = errors.New("what came is not what the store has")

func (d *download) attempt(ctx context.Context) error {
	if d.sum == nil {
		d.etag, d.sum = d.object.ETag, newSum()
	}
	body, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	if err := d.copy(body); err != nil {
		return err
	}
	if d.written == d.size && d.check.ok(d.sum) {
		return nil
	}
	// Begin anew: what is wrong of it is not known.
	return errors.Join(errContent, d.reset(d.etag))
}

// open asks for what is missing of the object. When it is another one by now, it is begun anew.
func (d *download) open(ctx context.Context) (io.ReadCloser, error) {
	options := minio.GetObjectOptions{Checksum: true}
	if d.etag != "" {
		if err := options.SetMatchETag(d.etag); err != nil {
			return nil, err
		}
	}
	if d.written > 0 {
		if err := options.SetRange(d.written, 0); err != nil {
			return nil, err
		}
	}
	core := d.client.core
	body, info, header, err := core.GetObject(ctx, d.client.bucket, d.object.Key, options)
	if changed(err) {
		now, err := core.StatObject(ctx, d.client.bucket, d.object.Key, minio.StatObjectOptions{})
		if err != nil {
			return nil, err
		}
		if err := d.reset(now.ETag); err != nil {
			return nil, err
		}
		return nil, errChanged
	}
	if err != nil {
		return nil, err
	}
	if d.written == 0 {
		d.size, d.check = info.Size, newVerifier(info, header)
	}
	return body, nil
}

// errChanged is tried again, unlike the answer of the store that it stands for.
var errChanged = errors.New("the object was changed meanwhile")

// reset begins anew with another version of the object.
func (d *download) reset(etag string) error {
	d.etag, d.written, d.sum = etag, 0, newSum()
	if err := d.file.Truncate(0); err != nil {
		return err
	}
	_, err := d.file.Seek(0, io.SeekStart)
	return err
}

// buffers are for copying.
var buffers = sync.Pool{New: func() any {
	buffer := make([]byte, 256<<10)
	return &buffer
}}

func (d *download) copy(body io.Reader) error {
	buffer, _ := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	for {
		n, err := body.Read(*buffer)
		if n > 0 {
			part := (*buffer)[:n]
			if _, err := d.file.Write(part); err != nil {
				return errors.Join(err, d.reset(d.etag))
			}
			d.written += int64(n)
			_, _ = d.sum.Write(part) // a hash takes everything
			d.check.write(part)
			d.progress.moved(n)
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}
