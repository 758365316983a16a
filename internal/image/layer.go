package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// paxSparse begins the records that describe how a sparse file was packed. The reader has filled the holes already.
const paxSparse = "GNU.sparse."

// tarBlock is what a tar ends with at least, in zeros.
const tarBlock = 512

// Layer describes a layer that was written.
type Layer struct {
	// Digest is that of the tar, which is not compressed.
	Digest digest.Digest
	// Size is in bytes.
	Size int64
	// Entries is how many files, directories and links it holds.
	Entries int
}

// WriteLayer reads a tar of a root filesystem, compressed or not, and writes it to w as an image layer. Device nodes are left
// out: a container gets its own /dev. The error wraps engine.ErrRefused when the stream is no such tar or ends in the middle;
// a failure of w or of the sending is returned as it is.
func WriteLayer(w io.Writer, source *Source) (Layer, error) {
	unpacked, err := Decompress(source)
	if err != nil {
		return Layer{}, err
	}
	defer unpacked.Close()

	digester := digest.Canonical.Digester()
	out := &sink{w: io.MultiWriter(w, digester.Hash())}
	end := &zeroTail{}
	entries, err := copyTar(out, io.TeeReader(unpacked, end))
	if err == nil {
		// What follows the end of the tar is not kept, but a broken checksum behind it says that the rest is broken too.
		_, err = io.Copy(end, unpacked)
	}
	switch {
	case out.err != nil:
		return Layer{}, fmt.Errorf("write the layer: %w", out.err)
	case err != nil:
		return Layer{}, source.Refuse(err, "the root filesystem is not a valid tar: %s", tarProblem(err, entries))
	case entries == 0:
		return Layer{}, source.Refuse(nil, "the root filesystem's tar is empty")
	case end.zeros < tarBlock:
		return Layer{}, source.Refuse(nil, "the root filesystem's tar ends in the middle, after %d entries", entries)
	}
	return Layer{Digest: digester.Digest(), Size: out.n, Entries: entries}, nil
}

func tarProblem(err error, entries int) string {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Sprintf("it ends in the middle, after %d entries", entries)
	case errors.Is(err, tar.ErrHeader) && entries == 0:
		return "it does not begin like one"
	default:
		return fmt.Sprintf("damaged after %d entries", entries)
	}
}

// copyTar writes the entries that belong into a layer and returns how many those are.
func copyTar(w io.Writer, r io.Reader) (int, error) {
	in, out := tar.NewReader(r), tar.NewWriter(w)
	for entries := 0; ; {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return entries, out.Close()
		}
		if err != nil {
			return entries, err
		}
		if !belongs(header) {
			continue
		}
		if err := out.WriteHeader(layerHeader(header)); err != nil {
			return entries, fmt.Errorf("entry %s: %w", quote(header.Name), err)
		}
		if _, err := io.CopyN(out, in, header.Size); err != nil {
			return entries, err
		}
		entries++
	}
}

func belongs(h *tar.Header) bool {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeLink, tar.TypeSymlink, tar.TypeDir, tar.TypeFifo, tar.TypeGNUSparse:
		// Such a name means something else in a layer: that a file of the layer below is gone.
		return !strings.HasPrefix(path.Base(h.Name), ".wh.")
	default:
		return false
	}
}

// layerHeader returns the header as a layer has it: in the one format that can say everything.
func layerHeader(h *tar.Header) *tar.Header {
	out := *h
	out.Format = tar.FormatPAX
	out.AccessTime, out.ChangeTime = time.Time{}, time.Time{}
	if out.Typeflag == tar.TypeGNUSparse {
		out.Typeflag = tar.TypeReg
	}
	out.PAXRecords = make(map[string]string, len(h.PAXRecords))
	for key, value := range h.PAXRecords {
		if !strings.HasPrefix(key, paxSparse) {
			out.PAXRecords[key] = value
		}
	}
	return &out
}

// sink counts what is written and remembers the first failure.
type sink struct {
	w   io.Writer
	n   int64
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.n += int64(n)
	if err != nil && s.err == nil {
		s.err = err
	}
	return n, err
}

// zeroTail counts the zeros at the end of what it is given.
type zeroTail struct{ zeros int64 }

func (z *zeroTail) Write(p []byte) (int, error) {
	kept := len(bytes.TrimRight(p, "\x00"))
	if kept > 0 {
		z.zeros = 0
	}
	z.zeros += int64(len(p) - kept)
	return len(p), nil
}
