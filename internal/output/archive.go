package output

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"

	"github.com/klauspost/compress/zstd"
)

// An archive is an output in the seekable format of Zstandard: frames of frameSize bytes of the output each, and behind them a frame
// that decoders skip, with the sizes of the others. So the end of a large output is read without the rest, and zstd -d reads it too.
const (
	frameSize = 1 << 20
	// maxFrame bounds what a frame may hold when it is read, should the file be damaged.
	maxFrame      = 8 << 20
	skippable     = 0x184D2A5E
	seekable      = 0x8F92EAB1
	entryLength   = 8
	footerLength  = 9
	skippedHeader = 8
)

// errDamaged says that a file is no archive.
var errDamaged = errors.New("the compressed output is damaged")

// writeArchive compresses what source has.
func writeArchive(to io.Writer, source io.Reader) error {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	defer func() { _ = encoder.Close() }()
	var table, frame []byte
	block := make([]byte, frameSize)
	for {
		n, err := io.ReadFull(source, block)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		if n == 0 {
			break
		}
		frame = encoder.EncodeAll(block[:n], frame[:0])
		if _, err := to.Write(frame); err != nil {
			return err
		}
		table = binary.LittleEndian.AppendUint32(table, uint32(len(frame))) //nolint:gosec // a little more than frameSize at most
		table = binary.LittleEndian.AppendUint32(table, uint32(n))          //nolint:gosec // frameSize at most
	}
	_, err = to.Write(seekTable(table))
	return err
}

// seekTable returns the last frame, with the entries of the others.
func seekTable(entries []byte) []byte {
	var text []byte
	text = binary.LittleEndian.AppendUint32(text, skippable)
	text = binary.LittleEndian.AppendUint32(text, uint32(len(entries)+footerLength)) //nolint:gosec // outputs of 500 TB have more
	text = append(text, entries...)
	text = binary.LittleEndian.AppendUint32(text, uint32(len(entries)/entryLength)) //nolint:gosec // see above
	text = append(text, 0)                                                          // no checksums
	return binary.LittleEndian.AppendUint32(text, seekable)
}

// archive reads a compressed output as if it were not. It is for one goroutine.
type archive struct {
	file    *os.File
	decoder *zstd.Decoder
	// packed and plain are where each frame begins, in the file and in the output, and where the last one ends.
	packed, plain []int64
	// text is the frame number at.
	text []byte
	at   int
}

// openArchive takes the file over when there is no error.
func openArchive(file *os.File) (*archive, error) {
	a := &archive{file: file, at: -1}
	if err := a.readTable(); err != nil {
		return nil, err
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxFrame))
	if err != nil {
		return nil, err
	}
	a.decoder = decoder
	return a, nil
}

func (a *archive) readTable() error {
	info, err := a.file.Stat()
	if err != nil {
		return err
	}
	var footer [footerLength]byte
	end := info.Size() - footerLength
	if _, err := a.file.ReadAt(footer[:], max(end, 0)); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	frames := int64(binary.LittleEndian.Uint32(footer[:]))
	begin := end - frames*entryLength
	if binary.LittleEndian.Uint32(footer[5:]) != seekable || begin < skippedHeader {
		return errDamaged
	}
	entries := make([]byte, frames*entryLength)
	if _, err := a.file.ReadAt(entries, begin); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	a.packed, a.plain = make([]int64, 1, frames+1), make([]int64, 1, frames+1)
	for i := range frames {
		entry := entries[i*entryLength:]
		a.packed = append(a.packed, a.packed[i]+int64(binary.LittleEndian.Uint32(entry)))
		a.plain = append(a.plain, a.plain[i]+int64(binary.LittleEndian.Uint32(entry[4:])))
	}
	if a.packed[frames] != begin-skippedHeader {
		return errDamaged
	}
	return nil
}

// Size is that of the output.
func (a *archive) Size() int64 { return a.plain[len(a.plain)-1] }

// ReadAt reads a part of the output.
func (a *archive) ReadAt(p []byte, offset int64) (n int, err error) {
	for n < len(p) {
		if offset >= a.Size() {
			return n, io.EOF
		}
		frame := sort.Search(len(a.plain), func(i int) bool { return a.plain[i] > offset }) - 1
		if err := a.load(frame); err != nil {
			return n, err
		}
		copied := copy(p[n:], a.text[offset-a.plain[frame]:])
		n, offset = n+copied, offset+int64(copied)
	}
	return n, nil
}

// load decompresses a frame, unless it is there.
func (a *archive) load(frame int) error {
	if a.at == frame {
		return nil
	}
	length := a.packed[frame+1] - a.packed[frame]
	if length > maxFrame {
		return errDamaged
	}
	packed := make([]byte, length)
	if _, err := a.file.ReadAt(packed, a.packed[frame]); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	a.at = -1
	text, err := a.decoder.DecodeAll(packed, a.text[:0])
	if err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	if int64(len(text)) != a.plain[frame+1]-a.plain[frame] {
		return errDamaged
	}
	a.text, a.at = text, frame
	return nil
}

// Close closes the file.
func (a *archive) Close() error {
	a.decoder.Close()
	return a.file.Close()
}
