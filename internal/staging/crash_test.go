package staging

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
)

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

// replaceInManifest replaces a text in the manifest, where it is once.
func (b *bench) replaceInManifest(t *testing.T, before, after string) {
	t.Helper()
	text, err := os.ReadFile(b.job.Manifest)
	if err != nil || bytes.Count(text, []byte(before)) != 1 {
		t.Fatalf("%q is not once in the manifest %q: %v", before, text, err)
	}
	if err := os.WriteFile(b.job.Manifest, bytes.Replace(text, []byte(before), []byte(after), 1), 0o600); err != nil {
		t.Fatal(err)
	}
}

// powerFails makes what was brought that of an earlier boot of the machine.
func (b *bench) powerFails(t *testing.T) {
	t.Helper()
	b.replaceInManifest(t, bootID(), "00000000-0000-4000-8000-000000000000")
}

// TestAManifestThatKnowsNoBoot is one of an earlier version of berth: its job goes on.
func TestAManifestThatKnowsNoBoot(t *testing.T) {
	b := newBench(t)
	b.put(t, map[string]string{"a": "a"})
	b.in(t, "")
	b.replaceInManifest(t, `,"Boot":"`+bootID()+`"`, "")
	b.write(t, map[string]string{"a": "changed"})
	b.in(t, "")
	b.out(t)
	wantSame(t, "the bucket", map[string]string{"a": "changed"}, b.objects(t))
}

// TestThePowerFails after all was brought, before the job has begun: files that are not as they were are brought again.
func TestThePowerFails(t *testing.T) {
	b := newBench(t)
	b.put(t, map[string]string{"whole": "whole", "torn": "torn"})
	b.in(t, "")
	b.powerFails(t)
	b.write(t, map[string]string{"torn": ""})
	b.in(t, "")
	want := map[string]string{"whole": "whole", "torn": "torn"}
	wantSame(t, "brought", want, b.files(t))
	b.write(t, map[string]string{"torn": ""}) // by the job
	b.in(t, "")
	want["torn"] = ""
	wantSame(t, "brought in the same boot", want, b.files(t))
	b.out(t)
	wantSame(t, "the bucket", want, b.objects(t))
}

// TestThePowerFailsBeforeAllIsCopiedBack: what is left may be half, and replaces nothing in the bucket until somebody has looked at it.
func TestThePowerFailsBeforeAllIsCopiedBack(t *testing.T) {
	b := newBench(t)
	b.put(t, map[string]string{"a": "a"})
	b.in(t, "")
	b.write(t, map[string]string{"a": ""})
	b.powerFails(t)
	if missing, err := b.Out(t.Context(), b.job); err != nil || !strings.Contains(missing, "the machine ended") {
		t.Errorf("missing %q, %v; want it to tell of the machine's end", missing, err)
	}
	wantSame(t, "the bucket", map[string]string{"a": "a"}, b.objects(t))
	b.job.Judged = true
	b.out(t)
	wantSame(t, "the bucket", map[string]string{"a": ""}, b.objects(t))
}
