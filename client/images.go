package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// Image is an image in the server's own store.
type Image struct {
	// Name is the reference that submissions use.
	Name   string `json:"name"`
	Digest string `json:"digest"`
	// Size is in bytes, 0 when it is not known.
	Size    int64     `json:"size"`
	Created time.Time `json:"created,omitzero"`
}

// ImageImport says what an archive is and how to send it.
type ImageImport struct {
	// Name is the reference that the image gets. An archive that names its images needs none; a root filesystem does.
	Name string
	// Rootfs says that the archive is a plain root filesystem and no image.
	Rootfs bool
	// Size is the length of the archive in bytes, 0 when it is not known.
	Size int64
	// Progress is called with every sentence of the server about the work. It may be nil.
	Progress func(sentence string)
}

// Images lists the images in the server's store, ordered by name.
func (c *Client) Images(ctx context.Context) ([]Image, error) {
	var answer struct {
		Images []Image `json:"images"`
	}
	_, err := c.get(ctx, "/v1/images", nil, &answer)
	return answer.Images, err
}

// ImportImage sends an archive of any size: the output of docker save, an OCI layout as a tar, or with opts.Rootfs a tar of a root
// filesystem, each compressed or not. It returns the images that are in the store now. It is never repeated.
func (c *Client) ImportImage(ctx context.Context, archive io.Reader, opts ImageImport) ([]Image, error) {
	query := url.Values{}
	if opts.Name != "" {
		query.Set("name", opts.Name)
	}
	if opts.Rootfs {
		query.Set("rootfs", "1")
	}
	source := &sourceReader{source: archive}
	req := call{method: http.MethodPost, path: "/v1/images", query: query, stream: source, size: opts.Size}
	images, err := c.longOperation(ctx, req, opts.Progress)
	if cause := source.failure.Load(); cause != nil && err != nil {
		return nil, fmt.Errorf("reading the archive: %w", *cause) // the cause of what the connection says
	}
	return images, err
}

// sourceReader remembers the error of the caller's reader, which net/http mixes with those of the connection. It hides Close, so
// that the archive stays the caller's.
type sourceReader struct {
	source  io.Reader
	failure atomic.Pointer[error] // net/http may still read when the answer is there
}

func (r *sourceReader) Read(p []byte) (int, error) {
	n, err := r.source.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.failure.Store(&err)
	}
	return n, err
}

// PullImage brings an image from its registry into the server's store; it does nothing when the image is there. The secret is
// base64 of a Docker "auths" JSON or empty. The progress may be nil.
func (c *Client) PullImage(ctx context.Context, name, pullSecret string, progress func(sentence string)) (Image, error) {
	body, err := json.Marshal(struct {
		Name       string `json:"name"`
		PullSecret string `json:"pull_secret,omitempty"`
	}{name, pullSecret})
	if err != nil {
		return Image{}, fmt.Errorf("pull of %s: %w", name, err)
	}
	images, err := c.longOperation(ctx, call{method: http.MethodPost, path: "/v1/images/pull", body: body}, progress)
	switch {
	case err != nil:
		return Image{}, err
	case len(images) != 1:
		return Image{}, fmt.Errorf("answer to the pull of %s has %d images", name, len(images))
	}
	return images[0], nil
}

// RemoveImage forgets an image; running jobs keep what they need. An image that is not there is an Error with status 404.
func (c *Client) RemoveImage(ctx context.Context, name string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: "/v1/images", query: url.Values{"name": {name}}})
	return err
}

// longOperation reads an answer of lines: sentences about the progress, and at the end the images or an error.
func (c *Client) longOperation(ctx context.Context, req call, progress func(string)) ([]Image, error) {
	resp, err := c.open(ctx, req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	lines := json.NewDecoder(bufio.NewReader(resp.Body))
	for {
		var line struct {
			Progress string  `json:"progress"`
			Error    string  `json:"error"`
			Images   []Image `json:"images"`
		}
		err := lines.Decode(&line)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, ended(ctx)
		case err != nil:
			return nil, &connectionError{fmt.Errorf("%s %s: the answer broke off: %w", req.method, req.path, noEOF(err))}
		case line.Error != "":
			return nil, &Error{StatusCode: resp.StatusCode, Message: line.Error}
		case line.Images != nil:
			return line.Images, nil
		case line.Progress != "" && progress != nil:
			progress(line.Progress)
		}
	}
}

// noEOF keeps a caller from taking an early end for a good one.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
