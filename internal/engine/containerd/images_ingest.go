package containerd

import (
	"context"
	"log/slog"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/google/uuid"
	"github.com/opencontainers/go-digest"
)

// ingest is a content store for one import. containerd's importer names what it writes after the files of the archive; two
// imports at a time would wait for each other, and one would go on writing where another had stopped. Here every import has
// names of its own. It also remembers whether the store failed.
type ingest struct {
	content.Store
	prefix string

	mu   sync.Mutex
	refs []string
	err  error
}

func newIngest(store content.Store) *ingest {
	return &ingest{Store: store, prefix: "import-" + uuid.NewString() + "-"}
}

// Writer is content.Ingester.
func (i *ingest) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var wanted content.WriterOpts
	for _, opt := range opts {
		if err := opt(&wanted); err != nil {
			return nil, err
		}
	}
	ref := i.prefix + wanted.Ref
	i.mu.Lock()
	i.refs = append(i.refs, ref)
	i.mu.Unlock()
	writer, err := i.Store.Writer(ctx, content.WithRef(ref), content.WithDescriptor(wanted.Desc))
	if err != nil {
		return nil, i.note(err)
	}
	return &ingestWriter{Writer: writer, ingest: i}, nil
}

// note remembers a failure. That content is there already is none.
func (i *ingest) note(err error) error {
	if err != nil && !errdefs.IsAlreadyExists(err) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.err = err
	}
	return err
}

// failure returns the last failure of the store.
func (i *ingest) failure() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.err
}

// abort frees what is half written.
func (i *ingest) abort(ctx context.Context, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, ref := range i.refs {
		if err := i.Abort(ctx, ref); err != nil && !errdefs.IsNotFound(err) {
			log.WarnContext(ctx, "half an import is kept until its lease expires", slog.String("ref", ref), slog.Any("error", err))
		}
	}
}

// ingestWriter tells its ingest of failures.
type ingestWriter struct {
	content.Writer
	ingest *ingest
}

// Write is io.Writer.
func (w *ingestWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	return n, w.ingest.note(err)
}

// Commit is content.Writer.
func (w *ingestWriter) Commit(ctx context.Context, size int64, expected digest.Digest, opts ...content.Opt) error {
	return w.ingest.note(w.Writer.Commit(ctx, size, expected, opts...))
}
