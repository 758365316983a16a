package httpapi

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
	"github.com/berth-hpc/berth/internal/vault"
)

// vaultListing lists a directory of a vault: names, sizes and times, a directory with a slash at the end of its name.
func (s *server) vaultListing(c *call, caller berth.Caller, p params) error {
	order, err := entryOrder(p)
	if err != nil {
		return err
	}
	if err := s.linger(c); err != nil {
		return err
	}
	entries, err := s.listVault(c, caller, p)
	switch {
	case berth.KindOf(err) == berth.NotFound:
		return &berth.Error{Kind: berth.Invalid, Msg: msgInvalid, Detail: "there is no vault or directory of this name", Err: err}
	case err != nil:
		return err
	}
	slices.SortFunc(entries, order)
	return c.writeEntries(entries)
}

// entryCost is about what an entry has in memory besides its name, in bytes.
const entryCost = 128

// listVault reads a listing into memory, as far as there is memory for listings and bodies.
func (s *server) listVault(c *call, caller berth.Caller, p params) (entries []vault.Entry, err error) {
	files, err := s.control.OpenVault(c.r.Context(), caller, p.text("vault"), false)
	if err != nil {
		return nil, err
	}
	defer func() { _ = files.Close() }() // what was read is right whatever Close says
	err = files.Each(p.text("path"), p.flag("details"), func(some []vault.Entry) error {
		due := int64(0)
		for _, entry := range some {
			due += entryCost + int64(len(entry.Name))
		}
		entries = append(entries, some...)
		return c.hold(due)
	})
	return entries, err
}

// entryOrder returns the order that a listing is asked for in; a capital letter reverses it. Without details there are only names.
func entryOrder(p params) (func(a, b vault.Entry) int, error) {
	byName := func(a, b vault.Entry) int { return strings.Compare(a.Name, b.Name) }
	sort := cmp.Or(strings.Trim(p.text("sort"), `"`), "n") // the published default has quotes around it
	var order func(a, b vault.Entry) int
	switch strings.ToLower(sort) {
	case "n":
		order = byName
	case "s":
		order = func(a, b vault.Entry) int { return cmp.Or(cmp.Compare(a.Size, b.Size), byName(a, b)) }
	case "m":
		order = func(a, b vault.Entry) int { return cmp.Or(a.Modified.Compare(b.Modified), byName(a, b)) }
	default:
		return nil, wrong("sort", quote(sort)+" was sent, n, s and m are allowed, and N, S and M for the reverse")
	}
	if strings.ToLower(sort) != "n" && !p.flag("details") {
		return nil, wrong("sort", "by size or time needs details=true")
	}
	if sort != strings.ToLower(sort) {
		return func(a, b vault.Entry) int { return order(b, a) }, nil
	}
	return order, nil
}

// writeEntries sends a listing entry by entry: as one text it would be as large again.
func (c *call) writeEntries(entries []vault.Entry) error {
	c.w.Header().Set("Content-Type", contentJSON)
	out := bufio.NewWriterSize(c.w, maxAhead)
	separator := "["
	for _, entry := range entries {
		name := entry.Name
		if entry.Dir {
			name += "/"
		}
		modified := int64(0)
		if !entry.Modified.IsZero() {
			modified = entry.Modified.Unix()
		}
		text, err := encodeJSON([]any{strings.ToValidUTF8(name, "\uFFFD"), entry.Size, modified})
		if err != nil {
			return err
		}
		_, _ = out.WriteString(separator) // Flush returns the error
		_, _ = out.Write(text)
		separator = ","
	}
	if len(entries) == 0 {
		_, _ = out.WriteString("[")
	}
	_, _ = out.WriteString("]")
	return out.Flush()
}

// vaultRequest opens the vault that the path of a request names, and returns the path in it.
func (s *server) vaultRequest(c *call, caller berth.Caller, change bool) (files control.VaultFiles, path string, err error) {
	name := c.r.PathValue("vault")
	_, path, _ = strings.Cut(strings.TrimPrefix(cleanPath(c.r.URL.Path), "/v1/vaults/"+name+"/"), "/")
	files, err = s.control.OpenVault(c.r.Context(), caller, name, change)
	return files, path, err
}

// vaultFile sends a file, or the part of it that the client asks for.
func (s *server) vaultFile(c *call, caller berth.Caller, _ params) error {
	files, path, err := s.vaultRequest(c, caller, false)
	if err != nil {
		return err
	}
	defer func() { _ = files.Close() }()
	file, err := files.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if err := s.linger(c); err != nil {
		return err
	}
	// Whatever a job has written into it, a browser must not take it for a page of this server.
	header := c.w.Header()
	header.Set("Content-Type", contentBytes)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Disposition", "attachment")
	header.Set("ETag", fileTag(info))
	out := &download{responseWriter: c.w, call: c}
	http.ServeContent(out, c.r, "", info.ModTime(), file)
	return out.err
}

// fileTag changes when the file does, so that a client goes on with the same one.
func fileTag(info fs.FileInfo) string {
	inode := uint64(0)
	if system, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = system.Ino
	}
	return fmt.Sprintf(`"%x-%x-%x"`, inode, info.Size(), info.ModTime().UnixNano())
}

// download is the writer of a file. It answers errors of http.ServeContent as all others are, and lets the kernel copy.
type download struct {
	*responseWriter
	call     *call
	answered bool
	err      error
}

// WriteHeader sends the status; that of an error with a body of our own.
func (d *download) WriteHeader(status int) {
	if status < http.StatusBadRequest {
		d.responseWriter.WriteHeader(status)
		return
	}
	d.answered = true
	d.Header().Del("ETag")
	d.call.writeError(status, http.StatusText(status))
}

// Write sends a part of the body, unless an error was answered.
func (d *download) Write(p []byte) (int, error) {
	if d.answered {
		return len(p), nil
	}
	n, err := d.responseWriter.Write(p)
	d.err = err
	return n, err
}

// ReadFrom sends a file in pieces that the client has to accept in time.
func (d *download) ReadFrom(source io.Reader) (sent int64, err error) {
	if d.answered {
		return io.Copy(io.Discard, source)
	}
	limited, ok := source.(*io.LimitedReader)
	if !ok {
		limited = &io.LimitedReader{R: source, N: 1<<63 - 1}
	}
	for limited.N > 0 {
		piece := io.LimitedReader{R: limited.R, N: min(limited.N, maxPiece)}
		_ = http.NewResponseController(d.ResponseWriter).SetWriteDeadline(time.Now().Add(stallLimit))
		n, err := io.Copy(d.ResponseWriter, &piece)
		sent, limited.N, d.written = sent+n, limited.N-n, d.written+n
		if err != nil || n == 0 {
			d.err = err
			return sent, err
		}
	}
	return sent, nil
}

// storedAnswer tells how large a file is that was stored.
type storedAnswer struct {
	Status string `json:"status"`
	Size   int64  `json:"size"`
}

// putVaultFile stores the body as a file, or makes a directory.
func (s *server) putVaultFile(c *call, caller berth.Caller, p params) error {
	files, path, err := s.vaultRequest(c, caller, true)
	if err != nil {
		return err
	}
	defer func() { _ = files.Close() }() // a file that was stored is whole already
	if p.flag("directory") {
		if err := files.MakeDir(path); err != nil {
			return err
		}
		return c.writeJSON(statusAnswer{Status: "made"})
	}
	offset, err := p.integer("offset", 0)
	if err != nil {
		return err
	}
	if err := s.linger(c); err != nil {
		return err
	}
	size, err := files.Put(path, vault.Upload{ID: p.text("upload"), Offset: offset}, upload{c})
	if err != nil {
		return err
	}
	return c.writeJSON(storedAnswer{Status: "stored", Size: size})
}

// vaultUpload tells how much has come of an upload that broke off.
func (s *server) vaultUpload(c *call, caller berth.Caller, _ params) error {
	files, _, err := s.vaultRequest(c, caller, false)
	if err != nil {
		return err
	}
	defer func() { _ = files.Close() }()
	offset, err := files.Uploaded(c.r.PathValue("upload"))
	if err != nil {
		return err
	}
	return c.writeJSON(struct {
		Offset int64 `json:"offset"`
	}{offset})
}

func (s *server) removeVaultFile(c *call, caller berth.Caller, p params) error {
	files, path, err := s.vaultRequest(c, caller, true)
	if err != nil {
		return err
	}
	defer func() { _ = files.Close() }()
	if err := files.Remove(path, p.flag("recursive")); err != nil {
		return err
	}
	return c.writeJSON(statusAnswer{Status: "removed"})
}
