package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func imported(t *testing.T) *fake {
	t.Helper()
	return newFake(t, map[string]http.HandlerFunc{"POST /v1/images": text(200, `{"progress":"unpacking"}`+"\n"+imagesAnswer)})
}

func TestImageImport(t *testing.T) {
	t.Parallel()
	archive := write(t, "a.tar", "bytes of an archive")
	const done = "docker.io/local/tools:latest sha256:0123456789ab 12 MB\n"
	for name, tc := range map[string]struct {
		args  []string
		stdin string
		want  string
	}{
		"archive":          {[]string{archive}, "", "POST /v1/images?username=ada bytes of an archive"},
		"archive and name": {[]string{archive, "local/x"}, "", "POST /v1/images?name=local%2Fx&username=ada bytes of an archive"},
		"stdin":            {[]string{"-", "x"}, "piped", "POST /v1/images?name=x&username=ada piped"},
		"root filesystem":  {[]string{"--rootfs", archive, "x"}, "", "POST /v1/images?name=x&rootfs=1&username=ada bytes of an archive"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := imported(t)
			got := command{args: append([]string{"image", "import"}, tc.args...), stdin: tc.stdin, env: f.env()}.run(t.Context(), t)
			check(t, result{Stdout: done}, got)
			check(t, []string{tc.want}, f.asked())
		})
	}
}

func TestImageImportAsJSON(t *testing.T) {
	t.Parallel()
	got := imported(t).berth(t, "image", "import", "--json", write(t, "a.tar", "x"))
	if got.Code != 0 || !strings.HasPrefix(got.Stdout, "{\n  \"images\": [\n    {\n      \"name\": \"docker.io/local/tools:latest\",\n") {
		t.Errorf("%+v", got)
	}
}

// TestImageImportOfALayout sends a directory as a tar.
func TestImageImportOfALayout(t *testing.T) {
	t.Parallel()
	layout := write(t, "oci-layout", `{"imageLayoutVersion":"1.0.0"}`)
	dir := filepath.Dir(layout)
	if err := os.MkdirAll(filepath.Join(dir, "blobs/sha256"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "blobs/sha256/1"), []byte("blob"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := imported(t)
	if got := f.berth(t, "image", "import", dir, "x"); got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	_, body, _ := strings.Cut(f.asked()[0], "username=ada ")
	files := map[string]string{}
	for reader := tar.NewReader(bytes.NewReader([]byte(body))); ; {
		header, err := reader.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) { // the fake trims the zeros at the end
				t.Error(err)
			}
			break
		}
		content, _ := io.ReadAll(reader)
		if header.Typeflag == tar.TypeReg {
			files[header.Name] = string(content)
		}
	}
	check(t, map[string]string{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "blobs/sha256/1": "blob"}, files)
}

func TestImageImportRefusesBeforeSending(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := newFake(t, nil)
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no file": {[]string{"/none"}, "berth: stat /none: no such file or directory\n"},
		"no layout": {[]string{dir}, "berth: " + dir + " is no OCI layout: it has no file oci-layout " +
			"(a root filesystem is imported as a tar: tar -C " + dir + " -cf rootfs.tar . && berth image import --rootfs rootfs.tar NAME)\n"},
		"directory as rootfs": {[]string{"--rootfs", dir, "x"}, "berth: " + dir + " is a directory (tar it first: tar -C " + dir + " -cf rootfs.tar .)\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, result{Code: 1, Stderr: tc.want}, f.berth(t, append([]string{"image", "import"}, tc.args...)...))
		})
	}
	if asked := f.asked(); len(asked) > 0 {
		t.Errorf("the server was asked: %v", asked)
	}
}

func TestImageImportRefused(t *testing.T) {
	t.Parallel()
	f := newFake(t, map[string]http.HandlerFunc{"POST /v1/images": text(200, `{"error":"it is no archive of an image"}`)})
	check(t, result{Code: 1, Stderr: "berth: image -: it is no archive of an image\n"}, f.berth(t, "image", "import", "-"))
}

func TestUploadProgress(t *testing.T) {
	t.Parallel()
	u := &upload{source: strings.NewReader(strings.Repeat("x", 25_000)), total: 100_000}
	check(t, "sent 0 B of 100 kB (0%)", u.progress())
	if _, err := io.Copy(io.Discard, u); err != nil {
		t.Fatal(err)
	}
	check(t, "sent 25 kB of 100 kB (25%)", u.progress())
	u.tell("unpacking layer 1")
	check(t, "sent 25 kB of 100 kB (25%); unpacking layer 1", u.progress())
	u.total = 0
	check(t, "sent 25 kB; unpacking layer 1", u.progress())
}
