package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// VaultEntry is a file or a directory in a vault. A link is listed as itself.
type VaultEntry struct {
	Name string
	Dir  bool
	// Size is in bytes, Modified to the second; both are zero in a listing without details.
	Size     int64
	Modified time.Time
}

// VaultFileInfo is what is known of a file in a vault.
type VaultFileInfo struct {
	Size     int64
	Modified time.Time
	// Tag changes with the file.
	Tag string
}

// VaultUpload says what comes.
type VaultUpload struct {
	Size int64
	// ID names the upload, 8 to 64 small letters and digits: one with the same name continues where an earlier one broke off. Empty is a
	// name of its own.
	ID string
	// Progress is called, from any goroutine, with how many bytes of the file were sent. It may be nil.
	Progress func(sent int64)
}

// VaultFiles lists a directory of a vault, ordered by name.
func (c *Client) VaultFiles(ctx context.Context, vault, dir string, details bool) ([]VaultEntry, error) {
	query := url.Values{"vault": {vault}, "path": {"/" + strings.TrimLeft(dir, "/")}}
	if details {
		query.Set("details", "true")
	}
	var rows []vaultRow
	if _, err := c.get(ctx, "/jarvice/vault", query, &rows); err != nil {
		return nil, err
	}
	entries := make([]VaultEntry, len(rows))
	for i, row := range rows {
		entries[i] = row.VaultEntry
	}
	return entries, nil
}

// vaultRow is an entry as it travels: a list of name, size and time.
type vaultRow struct{ VaultEntry }

// UnmarshalJSON reads a row.
func (r *vaultRow) UnmarshalJSON(text []byte) error {
	var modified int64
	fields := []any{&r.Name, &r.Size, &modified}
	if err := json.Unmarshal(text, &fields); err != nil {
		return err
	}
	const all = 3
	if len(fields) != all || r.Name == "" {
		return fmt.Errorf("%s is not a name, a size and a time", text)
	}
	r.Name, r.Dir = strings.CutSuffix(r.Name, "/")
	if modified != 0 {
		r.Modified = time.Unix(modified, 0).UTC()
	}
	return nil
}

// RemoveVaultFile removes a file or an empty directory of a vault, with recursive everything in it too.
func (c *Client) RemoveVaultFile(ctx context.Context, vault, path string, recursive bool) error {
	req := fileCall(http.MethodDelete, vault, path)
	if recursive {
		req.query.Set("recursive", "true")
	}
	_, err := c.do(ctx, req)
	return err
}

// MakeVaultDir makes a directory of a vault and those above it. One that is there is fine.
func (c *Client) MakeVaultDir(ctx context.Context, vault, path string) error {
	req := fileCall(http.MethodPut, vault, path)
	req.query.Set("directory", "true")
	_, err := c.do(ctx, req)
	return err
}

func fileCall(method, vault, path string) call {
	under := []string{vault, "files"}
	for part := range strings.SplitSeq(path, "/") {
		if part != "" {
			under = append(under, part)
		}
	}
	return call{method: method, path: "/v1/vaults", under: under, query: url.Values{}}
}

// UploadStream stores what source has as a file of a vault. It cannot be continued: what breaks off leaves nothing.
func (c *Client) UploadStream(ctx context.Context, vault, path string, source io.Reader) error {
	watched := &sourceReader{source: source}
	req := fileCall(http.MethodPut, vault, path)
	req.stream = watched
	resp, err := c.open(ctx, req)
	if cause := watched.failure.Load(); cause != nil && err != nil {
		return fmt.Errorf("reading what is to be sent: %w", *cause)
	}
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// UploadFile stores a file in a vault, where it is there, whole, when this returns. A connection that breaks, also by a restart of the
// server, is made again, and what had come is not sent again.
func (c *Client) UploadFile(ctx context.Context, vault, path string, source io.ReaderAt, opts VaultUpload) error {
	if opts.ID == "" {
		opts.ID = strings.ToLower(rand.Text())
	}
	policy := c.retry.patient()
	last := int64(-1)
	for failures := 1; ; failures++ {
		offset, err := c.uploaded(ctx, vault, opts.ID)
		if err == nil {
			if offset > last {
				last, failures = offset, 1
			}
			err = c.sendFile(ctx, vault, path, source, opts, offset)
		}
		if err == nil || failures >= policy.attempts || !worthRetrying(err) {
			return err
		}
		if policy.pause(ctx, failures, err) != nil {
			return err
		}
	}
}

// uploaded asks how much of an upload has come.
func (c *Client) uploaded(ctx context.Context, vault, id string) (int64, error) {
	var answer struct {
		Offset int64 `json:"offset"`
	}
	_, err := c.decode(ctx, call{method: http.MethodGet, path: "/v1/vaults", under: []string{vault, "uploads", id}}, &answer)
	if refused, ok := errors.AsType[*Error](err); ok && refused.StatusCode == http.StatusNotFound {
		return 0, nil // or there is no such vault, which is said when it is sent to
	}
	return answer.Offset, err
}

// sendFile sends a file from an offset on.
func (c *Client) sendFile(ctx context.Context, vault, path string, source io.ReaderAt, opts VaultUpload, offset int64) error {
	if offset > opts.Size {
		return fmt.Errorf("the upload %s has %d bytes already, and the file has %d", opts.ID, offset, opts.Size)
	}
	watched := &sourceReader{source: &counted{
		source: io.NewSectionReader(source, offset, opts.Size-offset), sent: offset, progress: opts.Progress,
	}}
	req := fileCall(http.MethodPut, vault, path)
	req.query.Set("upload", opts.ID)
	req.query.Set("offset", strconv.FormatInt(offset, 10))
	req.stream, req.size = watched, opts.Size-offset
	resp, err := c.open(ctx, req)
	if cause := watched.failure.Load(); cause != nil && err != nil {
		return fmt.Errorf("reading the file: %w", *cause)
	}
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// counted tells how far a file was read.
type counted struct {
	source   io.Reader
	sent     int64
	progress func(int64)
}

func (r *counted) Read(p []byte) (int, error) {
	n, err := r.source.Read(p)
	r.sent += int64(n)
	if r.progress != nil {
		r.progress(r.sent)
	}
	return n, err
}
