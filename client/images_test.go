package client_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/client"
)

func lines(w http.ResponseWriter, text ...string) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	for _, line := range text {
		_, _ = io.WriteString(w, line+"\n")
		_ = http.NewResponseController(w).Flush()
	}
}

// expectArchive answers an import of the archive, whose length is announced unless size is 0.
func expectArchive(t *testing.T, archive []byte, size int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if got, want := r.URL.RequestURI(), "/v1/images?name=local%2Fx&rootfs=1&username=ada"; got != want {
			t.Errorf("request for %s, want %s", got, want)
		}
		if size > 0 && r.ContentLength != size {
			t.Errorf("length is %d", r.ContentLength)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Equal(body, archive) {
			t.Errorf("%d bytes that differ, error %v", len(body), err)
		}
		lines(w, `{"progress":"unpacking"}`, `{"progress":"storing"}`, `{"images":[{"name":"docker.io/local/x:latest","size":5}]}`)
	}
}

func TestImportImage(t *testing.T) {
	t.Parallel()
	archive := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for name, size := range map[string]int64{"known size": int64(len(archive)), "unknown size": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serve(t, expectArchive(t, archive, size))
			var told []string
			images, err := c.ImportImage(t.Context(), bytes.NewReader(archive), client.ImageImport{
				Name: "local/x", Rootfs: true, Size: size, Progress: func(s string) { told = append(told, s) },
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]client.Image{{Name: "docker.io/local/x:latest", Size: 5}}, images); diff != "" {
				t.Errorf("images (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"unpacking", "storing"}, told); diff != "" {
				t.Errorf("progress (-want +got):\n%s", diff)
			}
		})
	}
}

func TestImportImageRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		serve http.HandlerFunc
		want  client.Error
	}{
		"before the upload": {
			func(w http.ResponseWriter, _ *http.Request) { answer(w, 401, `{"error":"Unauthorized"}`) },
			client.Error{StatusCode: 401, Message: "Unauthorized"},
		},
		"after a while": {
			func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				lines(w, `{"progress":"unpacking"}`, `{"error":"no archive"}`)
			},
			client.Error{StatusCode: 200, Message: "no archive"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serve(t, tc.serve)
			_, err := c.ImportImage(t.Context(), io.LimitReader(zeros{}, 64<<20), client.ImageImport{})
			refused, ok := errors.AsType[*client.Error](err)
			if !ok {
				t.Fatalf("error is %v, want a refusal", err)
			}
			if diff := cmp.Diff(tc.want, *refused); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestImportImageOfABrokenFile(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	broken := errors.New("bad sector")
	archive := io.MultiReader(strings.NewReader("start"), iotest.ErrReader(broken))
	if _, err := c.ImportImage(t.Context(), archive, client.ImageImport{}); !errors.Is(err, broken) {
		t.Errorf("error is %v, want the one of the file", err)
	}
}

func TestPullImage(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if want := `{"name":"library/x","pull_secret":"c2VjcmV0"}`; string(body) != want {
			t.Errorf("body is %s, want %s", body, want)
		}
		lines(w, `{"progress":"1 of 2 MB"}`, `{"images":[{"name":"docker.io/library/x:latest"}]}`)
	})
	image, err := c.PullImage(t.Context(), "library/x", "c2VjcmV0", nil)
	if err != nil || image.Name != "docker.io/library/x:latest" {
		t.Errorf("image is %v, error %v", image, err)
	}
}

func TestPullImageBrokenOff(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { lines(w, `{"progress":"1 of 2 MB"}`) })
	_, err := c.PullImage(t.Context(), "x", "", nil)
	if !errors.Is(err, io.ErrUnexpectedEOF) || !client.NoAnswer(err) {
		t.Errorf("error is %v, want an answer that broke off", err)
	}
}
