package staging

import (
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"

	"github.com/berth-hpc/berth"
)

// hostile is a store whose keys are such as no real one on files can have. It lists them and serves each key as its content.
func hostile(t *testing.T, keys []string) *httptest.Server {
	t.Helper()
	type content struct {
		Key  string
		Size int
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("list-type") {
			var result struct {
				XMLName      xml.Name `xml:"ListBucketResult"`
				EncodingType string
				Contents     []content
			}
			result.EncodingType = "url"
			for _, key := range keys {
				if strings.HasPrefix(key, r.URL.Query().Get("prefix")) {
					result.Contents = append(result.Contents, content{url.QueryEscape(key), len(contentOf(key))})
				}
			}
			w.Header().Set("Content-Type", "application/xml")
			_ = xml.NewEncoder(w).Encode(result)
			return
		}
		key := strings.TrimPrefix(r.URL.Path, "/"+bucket+"/")
		w.Header().Set("Last-Modified", time.Unix(1, 0).UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Length", strconv.Itoa(len(contentOf(key))))
		_, _ = w.Write([]byte(contentOf(key)))
	}))
	t.Cleanup(server.Close)
	return server
}

func contentOf(key string) string {
	if strings.HasSuffix(key, "folder/") {
		return ""
	}
	return "content of " + key
}

// bringHostile brings every key of a hostile store and returns the files.
func bringHostile(t *testing.T, keys ...string) (map[string]string, string, error) {
	t.Helper()
	above := t.TempDir()
	b := &bench{Stager: New(Config{Now: time.Now, FirstPause: time.Millisecond, RetryFor: time.Nanosecond})}
	b.job = Transfer{
		Bucket:  berth.Bucket{Endpoint: hostile(t, keys).URL, Name: bucket, Region: "r", PathStyle: true, Trusted: true},
		Objects: []string{""}, Data: filepath.Join(above, "data"), Manifest: filepath.Join(t.TempDir(), "manifest"), Tell: func(string) {},
	}
	if err := os.Mkdir(b.job.Data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := b.In(t.Context(), b.job); err != nil {
		return nil, above, err
	}
	return b.files(t), above, nil
}

func TestHostileKeysStayInside(t *testing.T) {
	long := strings.Repeat("k", 1024)
	keys := []string{
		"../x", "a/../../y", "/etc/passwd", "./z", "..", "two//slashes", "nul\x00byte", long, "key", "key/below", "folder/", "folder",
		"deep/folder/", "back\\slash", "new\nline", "percent%2Fsign", "end/",
	}
	files, above, err := bringHostile(t, keys...)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"%2E%2E/": "", "%2E%2E/x": "../x", "a/": "", "a/%2E%2E/": "", "a/%2E%2E/%2E%2E/": "", "a/%2E%2E/%2E%2E/y": "a/../../y",
		"%2F/": "", "%2F/etc/": "", "%2F/etc/passwd": "/etc/passwd", "%2E/": "", "%2E/z": "./z", "%2E%2E%": "..",
		"two/": "", "two/%2F/": "", "two/%2F/slashes": "two//slashes", "nul%00byte": "nul\x00byte", "key%": "key", "key/": "", "key/below": "key/below",
		"folder/": "", "folder%": "folder", fileName(long): long, "deep/": "", "deep/folder/": "", "back\\slash": "back\\slash", "new\nline": "new\nline", "percent%2Fsign": "percent%2Fsign",
		"end/": "", "end/%2F": "end/",
	}
	got := make(map[string]string)
	for name, text := range files {
		got[name] = strings.TrimPrefix(text, "content of ")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if entries, err := os.ReadDir(above); err != nil || len(entries) != 1 {
		t.Errorf("beside the data: %v, %v", entries, err)
	}
}

func TestKeysThatWouldBeOneFile(t *testing.T) {
	for _, keys := range [][]string{{"key", "key/below", "key%"}, {"../x", "%2E%2E/x"}} {
		if files, _, err := bringHostile(t, keys...); !asRefused(err) || !strings.Contains(err.Error(), "would be one file") {
			t.Errorf("%q: %v, %v", keys, files, err)
		}
	}
}

// TestVerifier: what a store says of an object is used where it is of the whole content, and only there.
func TestVerifier(t *testing.T) {
	const none, emptyMD5 = "", "d41d8cd98f00b204e9800998ecf8427e"
	kms := http.Header{"X-Amz-Server-Side-Encryption": {"aws:kms"}}
	tests := map[string]struct {
		info   minio.ObjectInfo
		header http.Header
		// empty and other say whether it takes an empty object and one that is not.
		empty, other bool
	}{
		"an ETag":                  {minio.ObjectInfo{ETag: emptyMD5}, nil, true, false},
		"an ETag of parts":         {minio.ObjectInfo{ETag: emptyMD5 + "-2"}, nil, true, true},
		"an ETag of a ciphertext":  {minio.ObjectInfo{ETag: emptyMD5}, kms, true, true},
		"an ETag of some store":    {minio.ObjectInfo{ETag: "0123456789abcdef"}, nil, true, true},
		"nothing":                  {minio.ObjectInfo{}, nil, true, true},
		"a CRC-64":                 {minio.ObjectInfo{ChecksumCRC64NVME: "AAAAAAAAAAA=", ETag: none}, nil, true, false},
		"a CRC-32C":                {minio.ObjectInfo{ChecksumCRC32C: "AAAAAA=="}, nil, true, false},
		"a SHA-256":                {minio.ObjectInfo{ChecksumSHA256: "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}, nil, true, false},
		"a checksum of checksums":  {minio.ObjectInfo{ChecksumCRC32C: "AAAAAA==", ChecksumMode: "COMPOSITE"}, nil, true, true},
		"a checksum that is wrong": {minio.ObjectInfo{ChecksumCRC32C: "AAAAAQ=="}, nil, false, false},
	}
	for name, test := range tests {
		for content, want := range map[string]bool{"": test.empty, "x": test.other} {
			v, sum := newVerifier(test.info, test.header), newSum()
			v.write([]byte(content))
			_, _ = sum.Write([]byte(content))
			if got := v.ok(sum); got != want {
				t.Errorf("%s: content %q taken: %v", name, content, got)
			}
		}
	}
}
