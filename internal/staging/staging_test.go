package staging

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/berth-hpc/berth/internal/s3test"
)

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
	// Those that were changed may have been written twice within what the store's clock tells apart.
	maps.DeleteFunc(before, func(key string, when time.Time) bool {
		return after[key].Equal(when) || key == "p/in/a" || key == "p/in/big"
	})
	if len(before) > 0 {
		t.Errorf("written again: %v", slices.Sorted(maps.Keys(before)))
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

// TestWhatIsNotOnThisServer is not taken for nothing new: a backup holds no data of jobs.
func TestWhatIsNotOnThisServer(t *testing.T) {
	b := newBench(t)
	if missing, err := b.Out(t.Context(), b.job); err != nil || missing != "what it has written is not on this server any more" {
		t.Errorf("missing %q, %v", missing, err)
	}
}

// TestPartsOfLargeFiles: a store takes ten thousand, of at most 5 GiB.
func TestPartsOfLargeFiles(t *testing.T) {
	for _, size := range []int64{0, partSize, 10_000 * partSize, 10_000*partSize + 1, 1 << 40, 5 << 40} {
		part := int64(partSizeOf(size))
		if parts := (size + part - 1) / part; parts > maxParts || part < partSize || part > 5<<30 {
			t.Errorf("%d bytes: %d parts of %d", size, parts, part)
		}
	}
}
