package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// ErrFileChanged says that a file is another one than when its reading began.
var ErrFileChanged = errors.New("the file was changed while it was read")

// OpenVaultFile begins to read a file of a vault. A connection that breaks, also by a restart of the server, is made again at the byte
// where it broke. It ends with ctx. The caller closes it.
func (c *Client) OpenVaultFile(ctx context.Context, vault, path string) (*VaultReader, error) {
	r := &VaultReader{client: c, ctx: ctx, vault: vault, path: path}
	policy := c.retry
	if err := policy.run(ctx, r.connect); err != nil {
		return nil, err
	}
	return r, nil
}

// VaultReader reads a file of a vault. It is for one goroutine. It must be closed.
type VaultReader struct {
	client      *Client
	ctx         context.Context // of the whole reading, as the context of a request is
	vault, path string
	info        VaultFileInfo
	offset      int64
	// body is the present connection, nil when there is none.
	body io.ReadCloser
	// failures counts what went wrong since the last byte.
	failures int
}

// Info returns what is known of the file.
func (r *VaultReader) Info() VaultFileInfo { return r.info }

// Skip goes on at an offset from the beginning of the file.
func (r *VaultReader) Skip(offset int64) {
	if offset != r.offset {
		_ = r.Close()
		r.offset = offset
	}
}

// Read reads the next bytes; io.EOF at the end, ErrFileChanged when the file is another one by now.
func (r *VaultReader) Read(p []byte) (int, error) {
	for {
		if r.offset >= r.info.Size {
			return 0, io.EOF
		}
		err := r.ctx.Err()
		if err == nil && r.body == nil {
			err = r.client.retry.patient().run(r.ctx, r.connect)
		}
		if err != nil {
			return 0, err
		}
		n, err := r.body.Read(p)
		r.offset += int64(n)
		if n > 0 || len(p) == 0 {
			r.failures = 0
			return n, nil // an error comes again with the next Read
		}
		if err == nil {
			continue
		}
		if err := r.afterBreak(err); err != nil {
			return 0, err
		}
	}
}

// afterBreak waits before the next connection, or returns the error when there were too many breaks without a byte between them.
func (r *VaultReader) afterBreak(err error) error {
	_ = r.Close()
	r.failures++
	policy := r.client.retry.patient()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if r.failures >= policy.attempts {
		return fmt.Errorf("%s broke off at byte %d: %w", r.path, r.offset, err)
	}
	return policy.pause(r.ctx, r.failures, err)
}

// connect asks for the file from the offset on.
func (r *VaultReader) connect(ctx context.Context) error {
	req := fileCall(http.MethodGet, r.vault, r.path)
	if r.info.Tag != "" {
		req.header = http.Header{"Range": {"bytes=" + strconv.FormatInt(r.offset, 10) + "-"}, "If-Match": {r.info.Tag}}
	}
	resp, err := r.client.open(ctx, req)
	if refused, ok := errors.AsType[*Error](err); ok && refused.StatusCode == http.StatusPreconditionFailed {
		return fmt.Errorf("%w: %s", ErrFileChanged, r.path)
	}
	if err != nil {
		return err
	}
	// Headers can be missing that a proxy has taken away.
	switch begins := r.info.Tag == ""; {
	case begins && resp.ContentLength < 0:
		err = errors.New("the answer does not say how large the file is")
	case begins && r.offset > 0, !begins && resp.StatusCode != http.StatusPartialContent:
		err = errors.New("the server does not continue files")
	case begins:
		r.info = VaultFileInfo{Size: resp.ContentLength, Tag: resp.Header.Get("ETag")}
		r.info.Modified, _ = http.ParseTime(resp.Header.Get("Last-Modified")) // zero when it is not told
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", r.path, err), resp.Body.Close())
	}
	r.body = resp.Body
	return nil
}

// Close ends the reading. Safe to call twice.
func (r *VaultReader) Close() error {
	if r.body == nil {
		return nil
	}
	body := r.body
	r.body = nil
	return body.Close()
}
