package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/client"
)

// vaultServer keeps one upload and breaks connections.
type vaultServer struct {
	t *testing.T
	// mu is held while a request is answered.
	mu sync.Mutex
	// part is what has come; breakAt breaks the connection when so many bytes of it are there, once.
	part    []byte
	breakAt int
	stored  string
	// file is what is read, tag its ETag; after breakAt bytes the connection breaks, once.
	file, tag string
	asked     []string
}

func (s *vaultServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.Method+" "+r.URL.Path+" "+r.URL.Query().Get("offset")+r.Header.Get("Range"))
	switch {
	case strings.Contains(r.URL.Path, "/uploads/") && len(s.part) == 0:
		answer(w, http.StatusNotFound, `{"error":"No such file or directory"}`)
	case strings.Contains(r.URL.Path, "/uploads/"):
		answer(w, http.StatusOK, fmt.Sprintf(`{"offset":%d}`, len(s.part)))
	case r.Method == http.MethodPut:
		s.put(w, r)
	default:
		s.get(w, r)
	}
}

func (s *vaultServer) put(w http.ResponseWriter, r *http.Request) {
	if offset, _ := strconv.Atoi(r.URL.Query().Get("offset")); offset != len(s.part) {
		s.t.Errorf("offset %d, and %d bytes are there", offset, len(s.part))
	}
	source := io.Reader(r.Body)
	if s.breakAt > 0 {
		source = io.LimitReader(source, int64(s.breakAt))
	}
	text, err := io.ReadAll(source)
	s.part = append(s.part, text...)
	if s.breakAt > 0 || err != nil {
		s.breakAt = 0
		panic(http.ErrAbortHandler)
	}
	s.stored = string(s.part)
	answer(w, http.StatusOK, `{"status":"stored"}`)
}

func (s *vaultServer) get(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("ETag", s.tag)
	if s.breakAt == 0 {
		http.ServeContent(w, r, "", time.Unix(30, 0), strings.NewReader(s.file))
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(s.file)))
	_, _ = io.WriteString(w, s.file[:s.breakAt])
	_ = http.NewResponseController(w).Flush()
	s.breakAt = 0
	panic(http.ErrAbortHandler)
}

func TestUploadGoesOnAfterABreak(t *testing.T) {
	t.Parallel()
	file := bytes.Repeat([]byte("0123456789"), 1<<16)
	s := &vaultServer{t: t, breakAt: 100_000}
	c := serve(t, s.ServeHTTP)
	var sent atomic.Int64
	err := c.UploadFile(t.Context(), "data", "/a dir/f", bytes.NewReader(file), client.VaultUpload{
		Size: int64(len(file)), ID: "upload01", Progress: sent.Store,
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || s.stored != string(file) || sent.Load() != int64(len(file)) {
		t.Errorf("%v; %d bytes are stored, progress %d", err, len(s.stored), sent.Load())
	}
	want := []string{
		"GET /v1/vaults/data/uploads/upload01 ", "PUT /v1/vaults/data/files/a dir/f 0",
		"GET /v1/vaults/data/uploads/upload01 ", "PUT /v1/vaults/data/files/a dir/f 100000",
	}
	if diff := cmp.Diff(want, s.asked); diff != "" {
		t.Error(diff)
	}
}

func TestUploadFailures(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		answer(w, http.StatusInsufficientStorage, `{"error":"No space left"}`)
	})
	for name, err := range map[string]error{
		"file":   c.UploadFile(t.Context(), "data", "f", strings.NewReader("x"), client.VaultUpload{Size: 1}),
		"stream": c.UploadStream(t.Context(), "data", "f", strings.NewReader("x")),
	} {
		if refused, ok := errors.AsType[*client.Error](err); !ok || refused.StatusCode != http.StatusInsufficientStorage {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := c.UploadStream(t.Context(), "data", "f", iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("a source that breaks: %v", err)
	}
	if err := c.UploadStream(t.Context(), "..", "f", strings.NewReader("x")); err == nil {
		t.Error("a vault has no dots for a name")
	}
}

func TestDownloadGoesOnAfterABreak(t *testing.T) {
	t.Parallel()
	s := &vaultServer{t: t, file: strings.Repeat("0123456789", 1<<14), tag: `"1"`, breakAt: 50_000}
	r, err := serve(t, s.ServeHTTP).OpenVaultFile(t.Context(), "data", "f")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if diff := cmp.Diff(client.VaultFileInfo{Size: int64(len(s.file)), Tag: `"1"`}, r.Info()); diff != "" {
		t.Error(diff)
	}
	text, err := io.ReadAll(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || string(text) != s.file {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	if diff := cmp.Diff([]string{"GET /v1/vaults/data/files/f ", "GET /v1/vaults/data/files/f bytes=50000-"}, s.asked); diff != "" {
		t.Error(diff)
	}
}

// TestDownloadWithoutHeaders: what a proxy has left out does not make an empty file, nor one with a part of it twice.
func TestDownloadWithoutHeaders(t *testing.T) {
	t.Parallel()
	chunked := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, "0123456789")
	})
	if _, err := chunked.OpenVaultFile(t.Context(), "data", "f"); err == nil {
		t.Error("a file of no size")
	}
	s := &vaultServer{t: t, file: strings.Repeat("0123456789", 1<<14), breakAt: 50_000}
	r, err := serve(t, s.ServeHTTP).OpenVaultFile(t.Context(), "data", "f")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if text, err := io.ReadAll(r); err == nil || string(text) != s.file[:50_000] {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

func TestDownloadOfAFileThatChanges(t *testing.T) {
	t.Parallel()
	s := &vaultServer{t: t, file: "0123456789", tag: `"1"`}
	r, err := serve(t, s.ServeHTTP).OpenVaultFile(t.Context(), "data", "f")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.Skip(4)
	half := make([]byte, 3)
	if _, err := io.ReadFull(r, half); err != nil || string(half) != "456" {
		t.Errorf("%q, %v", half, err)
	}
	s.mu.Lock()
	s.tag = `"2"`
	s.mu.Unlock()
	r.Skip(8)
	if _, err := io.ReadAll(r); !errors.Is(err, client.ErrFileChanged) {
		t.Error(err)
	}
	r.Skip(10)
	if rest, err := io.ReadAll(r); err != nil || len(rest) != 0 {
		t.Errorf("behind the end: %q, %v", rest, err)
	}
}

func TestVaultListing(t *testing.T) {
	t.Parallel()
	c := serve(t, expect(t, "GET /jarvice/vault?details=true&path=%2Fdir&username=ada&vault=data", "", `[["a/",0,5],["b",7,0]]`))
	entries, err := c.VaultFiles(t.Context(), "data", "dir", true)
	want := []client.VaultEntry{{Name: "a", Dir: true, Modified: time.Unix(5, 0).UTC()}, {Name: "b", Size: 7}}
	if diff := cmp.Diff(want, entries); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	for _, text := range []string{`[["a",0]]`, `[["a",0,0,0]]`, `[["a"]]`, `[[1,0,0]]`, `{}`} {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, text) })
		if entries, err := c.VaultFiles(t.Context(), "data", "/", false); err == nil {
			t.Errorf("%s is %v", text, entries)
		}
	}
}

func TestVaultChanges(t *testing.T) {
	t.Parallel()
	removed := serve(t, expect(t, "DELETE /v1/vaults/data/files/a/b?recursive=true&username=ada", "", `{"status":"removed"}`))
	if err := removed.RemoveVaultFile(t.Context(), "data", "/a/b", true); err != nil {
		t.Error(err)
	}
	made := serve(t, expect(t, "PUT /v1/vaults/data/files/a?directory=true&username=ada", "", `{"status":"made"}`))
	if err := made.MakeVaultDir(t.Context(), "data", "a"); err != nil {
		t.Error(err)
	}
}
