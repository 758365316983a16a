package staging

import (
	"crypto/md5" //nolint:gosec // what S3 stores call the ETag of an object
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/minio/minio-go/v7"
)

// newSum returns the checksum that tells whether a file was changed, and which many stores have of their objects.
func newSum() hash.Hash64 {
	sum, ok := minio.ChecksumCRC64NVME.Hasher().(hash.Hash64)
	if !ok {
		panic("staging: the library's CRC-64 has no 64 bits")
	}
	return sum
}

func checksum(r io.Reader) (uint64, error) {
	buffer, _ := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	sum := newSum()
	// Hides WriteTo, which would bring a buffer of its own.
	_, err := io.CopyBuffer(sum, struct{ io.Reader }{r}, *buffer)
	return sum.Sum64(), err
}

// verifier compares what came with what the store says that the object is.
type verifier struct {
	// want is the checksum that the store has; empty when it has none that can be computed. In hash, nil means that it is that of newSum.
	want []byte
	hash hash.Hash
}

// newVerifier takes the best of what the store says: a checksum of the whole object, or the ETag where it is the MD5.
func newVerifier(info minio.ObjectInfo, header http.Header) verifier {
	if info.ChecksumMode != minio.ChecksumCompositeMode.String() {
		for _, known := range []struct {
			text string
			kind minio.ChecksumType
		}{
			{info.ChecksumCRC64NVME, minio.ChecksumCRC64NVME},
			{info.ChecksumCRC32C, minio.ChecksumCRC32C},
			{info.ChecksumCRC32, minio.ChecksumCRC32},
			{info.ChecksumSHA256, minio.ChecksumSHA256},
		} {
			if want, err := base64.StdEncoding.DecodeString(known.text); err == nil && len(want) > 0 {
				v := verifier{want: want}
				if known.kind != minio.ChecksumCRC64NVME {
					v.hash = known.kind.Hasher()
				}
				return v
			}
		}
	}
	// An object that the store encrypts with keys of its own has an ETag that is no MD5; one in parts has a hyphen in it.
	encrypted := strings.Contains(header.Get("X-Amz-Server-Side-Encryption"), "kms") ||
		header.Get("X-Amz-Server-Side-Encryption-Customer-Algorithm") != ""
	if want, err := hex.DecodeString(info.ETag); err == nil && len(want) == md5.Size && !encrypted {
		return verifier{want: want, hash: md5.New()} //nolint:gosec // it finds accidents, not attacks
	}
	return verifier{}
}

func (v *verifier) write(part []byte) {
	if v.hash != nil {
		_, _ = v.hash.Write(part) // a hash takes everything
	}
}

// ok says whether everything that was written is the object, as far as the store says it.
func (v *verifier) ok(sum hash.Hash) bool {
	if v.hash != nil {
		sum = v.hash
	}
	return len(v.want) == 0 || string(sum.Sum(nil)) == string(v.want)
}

// changed says whether a store refuses because the object is another one by now.
func changed(err error) bool {
	var answer minio.ErrorResponse
	return errors.As(err, &answer) && answer.StatusCode == http.StatusPreconditionFailed
}

// openRegular opens a file that is one, and no link or device, and returns it as it is.
func openRegular(root *os.Root, name string) (*os.File, stamp, error) {
	before, err := root.Lstat(name)
	if err != nil {
		return nil, stamp{}, err
	}
	if !before.Mode().IsRegular() {
		return nil, stamp{}, fmt.Errorf("%s is no regular file", name)
	}
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, stamp{}, err
	}
	info, err := file.Stat()
	if err == nil && !os.SameFile(before, info) {
		err = fmt.Errorf("%s was changed meanwhile", name)
	}
	if err != nil {
		_ = file.Close()
		return nil, stamp{}, err
	}
	return file, stampOf(info), nil
}
