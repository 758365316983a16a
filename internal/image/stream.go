package image

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
)

// maxZstdWindow bounds the memory that a zstd stream may ask for, in bytes; zstd --long=27 fits.
const maxZstdWindow = 128 << 20

// Source is a stream that somebody sends. It counts what came and remembers whether the sending itself failed, which says
// nothing about what is sent. One goroutine reads; Count may be called from others.
type Source struct {
	r     io.Reader
	count atomic.Int64
	err   error
}

// NewSource returns a Source that reads r.
func NewSource(r io.Reader) *Source { return &Source{r: r} }

// Read is io.Reader.
func (s *Source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.count.Add(int64(n))
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// Count returns how many bytes came so far.
func (s *Source) Count() int64 { return s.count.Load() }

// Refuse judges an error that came up while the stream was read: when the sending failed it is that failure and no refusal,
// otherwise the stream is refused with the public text.
func (s *Source) Refuse(err error, format string, args ...any) error {
	if s.err != nil {
		return fmt.Errorf("receive the archive: %w", s.err)
	}
	return RefuseBecause(err, format, args...)
}

// compressions that are recognised, by their first bytes.
var (
	magicGzip  = []byte{0x1f, 0x8b}
	magicZstd  = []byte{0x28, 0xb5, 0x2f, 0xfd}
	magicXZ    = []byte{0xfd, '7', 'z', 'X', 'Z', 0}
	magicBzip2 = []byte("BZh")
)

// Decompress returns what is in the stream: the stream itself, or what gzip or zstd packed. It is refused when it is empty or
// packed by something else. The caller closes the reader; the source stays open.
func Decompress(source *Source) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(source, 64<<10)
	// A short stream is no error here: whoever reads on will find what is wrong with it.
	start, err := buffered.Peek(len(magicXZ))
	switch {
	case len(start) == 0:
		return nil, source.Refuse(err, "the archive is empty")
	case bytes.HasPrefix(start, magicGzip):
		unpacked, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, source.Refuse(err, "the archive is not valid gzip")
		}
		return unpacked, nil
	case bytes.HasPrefix(start, magicZstd):
		unpacked, err := zstd.NewReader(buffered, zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return nil, source.Refuse(err, "the archive is not valid zstd")
		}
		return unpacked.IOReadCloser(), nil
	case bytes.HasPrefix(start, magicXZ), bytes.HasPrefix(start, magicBzip2):
		return nil, source.Refuse(nil, "the archive is packed with xz or bzip2: unpack it first, or use gzip or zstd")
	default:
		return io.NopCloser(buffered), nil
	}
}
