package staging

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
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
		object, err := b.client.GetObject(t.Context(), bucket, info.Key, minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(object)
		if err != nil {
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

func TestInAndOut(t *testing.T) {
	b := newBench(t)
	big := noise(3*partSize + 5)
	b.put(t, map[string]string{
		"p/in/a": "a", "p/in/deep/er/b": "b", "p/in/empty": "", "p/in/big": big, "p/one": "one", "p/one.more": "no", "p/folder/": "",
		"p/other": "no", "q": "no",
	})
	b.job.Bucket.Prefix = "p/"
	b.in(t, "in/", "one", "folder/")
	wantSame(t, "brought", map[string]string{
		"in/": "", "in/a": "a", "in/deep/": "", "in/deep/er/": "", "in/deep/er/b": "b", "in/empty": "", "in/big": big, "one": "one", "folder/": "",
	}, b.files(t))
	for _, name := range append(slices.Collect(maps.Keys(b.files(t))), ".") {
		info, err := os.Lstat(filepath.Join(b.job.Data, name))
		if err != nil {
			t.Fatal(err)
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); !ok || stat.Uid != 505 || stat.Gid != 506 {
			t.Errorf("%s belongs to %+v", name, info.Sys())
		}
	}
	before := b.changedAt(t)
	b.write(t, map[string]string{"in/a": "changed", "new/folder/c": "c", "in/big": big + "more", "zero": ""})
	if err := os.Remove(filepath.Join(b.job.Data, "one")); err != nil {
		t.Fatal(err)
	}
	b.out(t)
	wantSame(t, "the bucket", map[string]string{
		"p/in/a": "changed", "p/in/deep/er/b": "b", "p/in/empty": "", "p/in/big": big + "more", "p/one": "one", "p/one.more": "no",
		"p/other": "no", "q": "no", "p/new/folder/c": "c", "p/folder/": "", "p/zero": "",
	}, b.objects(t))
	after := b.changedAt(t)
	maps.DeleteFunc(before, func(key string, when time.Time) bool { return after[key].Equal(when) })
	if changed := slices.Sorted(maps.Keys(before)); !slices.Equal(changed, []string{"p/in/a", "p/in/big"}) {
		t.Errorf("written again: %v", changed)
	}
}

// changedAt returns when each object was written last.
func (b *bench) changedAt(t *testing.T) map[string]time.Time {
	t.Helper()
	all := make(map[string]time.Time)
	for info := range b.client.ListObjectsIter(t.Context(), bucket, minio.ListObjectsOptions{Recursive: true}) {
		if info.Err != nil {
			t.Fatal(info.Err)
		}
		all[info.Key] = info.LastModified
	}
	return all
}

// TestNothingIsMovedTwice: what was brought or copied back is known, and needs no server.
func TestNothingIsMovedTwice(t *testing.T) {
	b := newBench(t)
	b.put(t, map[string]string{"a": "a", "b": "b"})
	b.in(t, "a", "b")
	impatient := New(Config{Now: time.Now, FirstPause: time.Millisecond, RetryFor: time.Nanosecond})
	// Touched, copied, written again with the same content: it is what it was.
	b.write(t, map[string]string{"a": "a"})
	b.s3.Kill()
	if err := impatient.In(t.Context(), b.job); err != nil {
		t.Errorf("brought again: %v", err)
	}
	if missing, err := impatient.Out(t.Context(), b.job); err != nil || missing != "" {
		t.Errorf("copied back: %q, %v", missing, err)
	}
	b.write(t, map[string]string{"b": "changed", "c": "c"})
	missing, err := impatient.Out(t.Context(), b.job)
	const want = "2 files could not be copied to the vault: "
	if err != nil || !strings.HasPrefix(missing, want) || !strings.Contains(missing, "c: the store does not answer") {
		t.Errorf("missing %q, %v", missing, err)
	}
	if err := b.s3.Start(); err != nil {
		t.Fatal(err)
	}
	b.out(t)
	b.s3.Kill()
	if missing, err := impatient.Out(t.Context(), b.job); err != nil || missing != "" {
		t.Errorf("copied back again: %q, %v", missing, err)
	}
}

// TestTheServerIsKilledInTheMiddle of an object each time, and comes again.
func TestTheServerIsKilledInTheMiddle(t *testing.T) {
	b := newBench(t)
	content := map[string]string{"big": noise(2*partSize + 1)}
	for i := range 50 {
		content["many/"+string(rune('A'+i))] = noise(10_000 + i)
	}
	b.put(t, content)
	again := b.comesAgain(t, 5<<20)
	b.in(t, "")
	again()
	files := b.files(t)
	delete(files, "many/")
	wantSame(t, "brought", content, files)
	changed := make(map[string]string)
	for key, text := range content {
		changed[key] = text + "changed"
	}
	b.write(t, changed)
	again = b.comesAgain(t, 5<<20)
	b.out(t)
	again()
	wantSame(t, "the bucket", changed, b.objects(t))
	b.wantNoUploads(t)
}

// comesAgain kills the server after some bytes and starts it again. The function that it returns waits for that.
func (b *bench) comesAgain(t *testing.T, after int64) func() {
	t.Helper()
	killed := b.s3.KillAfter(after)
	started := make(chan error, 1)
	go func() {
		<-killed
		started <- b.s3.Start()
	}()
	return func() {
		t.Helper()
		if err := <-started; err != nil {
			t.Fatal(err)
		}
	}
}

// wantNoUploads checks that nothing half was left in the bucket.
func (b *bench) wantNoUploads(t *testing.T) {
	t.Helper()
	core := minio.Core{Client: b.client}
	uploads, err := core.ListMultipartUploads(t.Context(), bucket, "", "", "", "", 100)
	if err != nil || len(uploads.Uploads) > 0 {
		t.Errorf("unfinished uploads: %+v, %v", uploads.Uploads, err)
	}
}

// TestAnUnfinishedUploadIsTakenAway when a server of berth was killed in the middle of it.
func TestAnUnfinishedUploadIsTakenAway(t *testing.T) {
	b := newBench(t)
	b.in(t)
	big := noise(partSize + 1)
	b.write(t, map[string]string{"big": big})
	core := minio.Core{Client: b.client}
	if _, err := core.NewMultipartUpload(t.Context(), bucket, "big", minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	m, err := openManifest(b.job.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(m.add(line{Sending: "big"}), m.close()); err != nil {
		t.Fatal(err)
	}
	b.out(t)
	b.wantNoUploads(t)
	wantSame(t, "the bucket", map[string]string{"big": big}, b.objects(t))
}

// TestWhatWasBroughtIsChecked after a server of berth was killed: files that are not as they were are brought again, others not.
func TestWhatWasBroughtIsChecked(t *testing.T) {
	b := newBench(t)
	b.put(t, map[string]string{"whole": "whole", "torn": "torn", "gone": "gone", "never": "never"})
	b.in(t, "")
	text, err := os.ReadFile(b.job.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	var kept bytes.Buffer
	for line := range bytes.Lines(text) {
		if !bytes.Contains(line, []byte("Complete")) && !bytes.Contains(line, []byte(`"Had":{"Path":"never"`)) {
			kept.Write(line)
		}
	}
	kept.WriteString(`{"Had":{"Path":"nev`) // the last line was being written
	b.write(t, map[string]string{"torn": "to\x00\x00"})
	path := func(name string) string { return filepath.Join(b.job.Data, name) }
	if err := errors.Join(os.WriteFile(b.job.Manifest, kept.Bytes(), 0o600), os.Remove(path("gone")), os.Remove(path("never"))); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path("whole"))
	if err != nil {
		t.Fatal(err)
	}
	// An object that was changed meanwhile is taken as it is now.
	b.put(t, map[string]string{"never": "another", "whole": "not brought again"})
	b.in(t, "")
	wantSame(t, "brought", map[string]string{"whole": "whole", "torn": "torn", "gone": "gone", "never": "another"}, b.files(t))
	after, err := os.Stat(path("whole"))
	if err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("a whole file was brought again: %v", err)
	}
}

func TestWhatCannotBeBrought(t *testing.T) {
	b := newBench(t)
	b.put(t, map[string]string{"a": "a"})
	tests := map[string]struct {
		change func(*Transfer)
		want   string
	}{
		"no such object":   {func(t *Transfer) { t.Objects = []string{"a", "nothing"} }, `the vault has no object whose key begins with "nothing"`},
		"no such bucket":   {func(t *Transfer) { t.Bucket.Name = "nowhere" }, "the store answers NoSuchBucket (404)"},
		"wrong secret":     {func(t *Transfer) { t.Credentials.SecretKey = "guess-of-the-test" }, "the store answers SignatureDoesNotMatch (403)"},
		"unknown key":      {func(t *Transfer) { t.Credentials.AccessKey = "guess" }, "the store answers "},
		"a private server": {func(t *Transfer) { t.Bucket.Trusted = false }, "an administrator must vouch for it"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			job := b.job
			job.Manifest, job.Objects = filepath.Join(t.TempDir(), "manifest"), []string{"a"}
			test.change(&job)
			err := b.In(t.Context(), job)
			refused, ok := errors.AsType[*Refused](err)
			if !ok || !strings.Contains(refused.Text, test.want) {
				t.Fatalf("%v, want %q", err, test.want)
			}
			for _, secret := range []string{s3test.SecretKey, s3test.AccessKey, "guess-of-the-test"} {
				if strings.Contains(refused.Text, secret) {
					t.Errorf("%q shows %q", refused.Text, secret)
				}
			}
		})
	}
}

// TestOnlyFilesOfTheJobAreCopiedBack: nothing that a link or a device leads to.
func TestOnlyFilesOfTheJobAreCopiedBack(t *testing.T) {
	b := newBench(t)
	b.put(t, map[string]string{"was/file": "a"})
	b.in(t, "")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := func(name string) string { return filepath.Join(b.job.Data, name) }
	if err := errors.Join(
		os.Symlink(secret, path("link")), os.Symlink(filepath.Dir(secret), path("folder")), syscall.Mkfifo(path("pipe"), 0o666),
		syscall.Mknod(path("disk"), syscall.S_IFBLK|0o666, 7<<8), os.RemoveAll(path("was")), os.Symlink(filepath.Dir(secret), path("was")),
	); err != nil {
		t.Fatal(err)
	}
	b.write(t, map[string]string{"new": "new"})
	b.out(t)
	wantSame(t, "the bucket", map[string]string{"was/file": "a", "new": "new"}, b.objects(t))
}

func TestNamesThatAreNoKeys(t *testing.T) {
	b := newBench(t)
	b.in(t)
	long := strings.Repeat(strings.Repeat("d", 250)+"/", 5) + "file"
	b.write(t, map[string]string{"good": "good", "bad\xff\n": "x", long: "x"})
	missing, err := b.Out(t.Context(), b.job)
	if err != nil || !strings.HasPrefix(missing, "2 files could not") || !strings.Contains(missing, "bad\uFFFD\uFFFD: its name is not valid UTF-8") ||
		!strings.Contains(missing, "longer than 1,024 bytes") || len(missing) > 1000 {
		t.Errorf("missing %q, %v", missing, err)
	}
	wantSame(t, "the bucket", map[string]string{"good": "good"}, b.objects(t))
}

// TestTheEndOfTheContext ends what waits for a server.
func TestTheEndOfTheContext(t *testing.T) {
	b := newBench(t)
	b.put(t, map[string]string{"a": "a"})
	b.in(t, "")
	b.write(t, map[string]string{"new": "new"})
	b.s3.Kill()
	ctx, cancel := context.WithCancel(t.Context())
	b.job.Tell = func(sentence string) {
		if strings.HasSuffix(sentence, "; the store does not answer, trying again") {
			cancel()
		}
	}
	if _, err := b.Out(ctx, b.job); !errors.Is(err, context.Canceled) {
		t.Errorf("copying back: %v", err)
	}
	b.job.Manifest += ".new"
	if err := b.In(ctx, b.job); !errors.Is(err, context.Canceled) {
		t.Errorf("bringing: %v", err)
	}
}

func TestProgressIsTold(t *testing.T) {
	b := newBench(t)
	b.put(t, map[string]string{"a": "aa"})
	b.in(t, "a")
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.told) == 0 || !slices.Contains(b.told, "Brought 0 of 1 objects, 2 B of 2 B") {
		t.Errorf("told %q", b.told)
	}
}
