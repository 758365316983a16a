package staging

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"
	"go.uber.org/goleak"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/s3test"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const bucket = "data"

// bench is a stager with an S3 server and the directory of a job.
type bench struct {
	*Stager
	s3     *s3test.Server
	client *minio.Client
	job    Transfer

	mu   sync.Mutex
	told []string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	server, err := s3test.New(t.Context(), "../..")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	client, err := server.Client()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	b := &bench{
		Stager: New(Config{Now: time.Now, FirstPause: time.Millisecond, LastPause: 20 * time.Millisecond, RetryFor: time.Minute}),
		s3:     server, client: client,
	}
	b.job = Transfer{
		Bucket:      berth.Bucket{Endpoint: server.URL, Name: bucket, Region: "us-east-1", PathStyle: true, Trusted: true},
		Credentials: berth.Credentials{AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey},
		Data:        t.TempDir(), Manifest: filepath.Join(t.TempDir(), "manifest"), UID: 505, GID: 506,
		Tell: func(sentence string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.told = append(b.told, sentence)
		},
	}
	return b
}

// put stores objects.
func (b *bench) put(t *testing.T, objects map[string]string) {
	t.Helper()
	for key, content := range objects {
		_, err := b.client.PutObject(t.Context(), bucket, key, strings.NewReader(content), int64(len(content)), minio.PutObjectOptions{})
		if err != nil {
			t.Fatalf("%q: %v", key, err)
		}
	}
}

// objects returns what the bucket has.
func (b *bench) objects(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for info := range b.client.ListObjectsIter(t.Context(), bucket, minio.ListObjectsOptions{Recursive: true}) {
		if info.Err != nil {
			t.Fatal(info.Err)
		}
		if strings.Contains(info.Key, ".sgwtmp.") {
			continue // what the server was writing when it was killed
		}
		object, err := b.client.GetObject(t.Context(), bucket, info.Key, minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(object)
		if err := errors.Join(err, object.Close()); err != nil {
			t.Fatal(err)
		}
		all[info.Key] = string(content)
	}
	return all
}

func (b *bench) in(t *testing.T, objects ...string) {
	t.Helper()
	b.job.Objects = objects
	if err := b.In(t.Context(), b.job); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) out(t *testing.T) {
	t.Helper()
	if missing, err := b.Out(t.Context(), b.job); err != nil || missing != "" {
		t.Fatalf("missing %q, %v", missing, err)
	}
}

// files returns what the job finds; folders end in a slash.
func (b *bench) files(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(b.job.Data, func(path string, entry fs.DirEntry, err error) error {
		name, _ := filepath.Rel(b.job.Data, path)
		switch {
		case err != nil:
			return err
		case name == ".":
			return nil
		case entry.IsDir():
			all[name+"/"] = ""
			return nil
		}
		content, err := os.ReadFile(path)
		all[name] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (b *bench) write(t *testing.T, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(b.job.Data, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

func wantSame(t *testing.T, what string, want, got map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// noise is content that has no pattern.
func noise(n int) string {
	text := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(text) // never fails
	return string(text)
}
