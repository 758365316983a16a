// Package imagetest gives tests a real registry on this machine, which can be told to misbehave, and small images and archives.
package imagetest

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Gate looks at a request before the registry does. It answers it and returns true, or returns false to let it through.
type Gate func(w http.ResponseWriter, r *http.Request) bool

// Registry is a real registry that listens on 127.0.0.1. It is closed with the test.
type Registry struct {
	// Host is its address, which is also how references begin.
	Host string

	back *httptest.Server // the same registry without gates, for pushing

	mu       sync.Mutex
	gate     Gate
	requests []string
}

// NewRegistry starts a registry.
func NewRegistry(t testing.TB) *Registry {
	t.Helper()
	handler := registry.New(registry.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)))
	r := &Registry{back: httptest.NewServer(handler)}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !r.enter(w, req) {
			handler.ServeHTTP(w, req)
		}
	}))
	r.Host = front.Listener.Addr().String()
	t.Cleanup(func() {
		front.CloseClientConnections()
		front.Close()
		r.back.Close()
	})
	return r
}

func (r *Registry) enter(w http.ResponseWriter, req *http.Request) bool {
	r.mu.Lock()
	r.requests = append(r.requests, req.Method+" "+req.URL.Path)
	gate := r.gate
	r.mu.Unlock()
	return gate != nil && gate(w, req)
}

// SetGate puts a gate before the registry; nil takes it away.
func (r *Registry) SetGate(gate Gate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gate = gate
}

// Requests returns the requests so far, as "GET /v2/", that contain a text.
func (r *Registry) Requests(containing string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.requests), func(s string) bool { return !strings.Contains(s, containing) })
}

// Push stores an image as path:tag and returns its reference.
func (r *Registry) Push(t testing.TB, path string, img v1.Image) string {
	t.Helper()
	if err := remote.Write(r.behind(t, path), img); err != nil {
		t.Fatalf("push: %v", err)
	}
	return r.Host + "/" + path
}

// PushIndex stores an index as path:tag and returns its reference.
func (r *Registry) PushIndex(t testing.TB, path string, index v1.ImageIndex) string {
	t.Helper()
	if err := remote.WriteIndex(r.behind(t, path), index); err != nil {
		t.Fatalf("push: %v", err)
	}
	return r.Host + "/" + path
}

func (r *Registry) behind(t testing.TB, path string) name.Reference {
	t.Helper()
	ref, err := name.ParseReference(r.back.Listener.Addr().String() + "/" + path)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// Status is a gate that answers everything with a status and, when it is not empty, an error of the registry protocol.
func Status(status int, code string) Gate {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		refuse(w, status, code)
		return true
	}
}

// Only lets a gate look only at paths that contain a text.
func Only(part string, gate Gate) Gate {
	return func(w http.ResponseWriter, r *http.Request) bool {
		return strings.Contains(r.URL.Path, part) && gate(w, r)
	}
}

// Hang is a gate that answers nothing until the client goes away.
func Hang(_ http.ResponseWriter, r *http.Request) bool {
	<-r.Context().Done()
	return true
}

// Basic is a gate that asks for a user name and a password at every request.
func Basic(user, password string) Gate {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if u, p, ok := r.BasicAuth(); ok && u == user && p == password {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED")
		return true
	}
}

// Bearer is a gate that gives out tokens at /token for a user name and a password, or for the password as an identity token.
func (r *Registry) Bearer(user, password string) Gate {
	token := "token-of-" + user
	return func(w http.ResponseWriter, req *http.Request) bool {
		if req.URL.Path == "/token" {
			u, p, _ := req.BasicAuth()
			if (u != user || p != password) && req.FormValue("refresh_token") != password {
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
			_ = json.NewEncoder(w).Encode(map[string]string{"token": token, "access_token": token})
			return true
		}
		if req.Header.Get("Authorization") == "Bearer "+token {
			return false
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test"`, r.Host))
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED")
		return true
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	if code != "" {
		_, _ = fmt.Fprintf(w, `{"errors":[{"code":%q,"message":"said by the test"}]}`, code)
	}
}

// Secret returns a pull secret for a registry.
func Secret(host, user, password string) string {
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	file := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, auth)
	return base64.StdEncoding.EncodeToString([]byte(file))
}

// Image makes an image for this machine with a layer for each of the contents, which are what its file /data/N says.
func Image(t testing.TB, contents ...[]byte) v1.Image {
	t.Helper()
	return ImageFor(t, runtime.GOARCH, contents...)
}

// ImageFor is Image for an architecture.
func ImageFor(t testing.TB, arch string, contents ...[]byte) v1.Image {
	t.Helper()
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		OS: "linux", Architecture: arch, RootFS: v1.RootFS{Type: "layers"}, Config: v1.Config{Env: []string{"PATH=/bin"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, content := range contents {
		packed := Tar(t, tar.Header{Name: fmt.Sprintf("data/%d", i), Typeflag: tar.TypeReg, Mode: 0o644}, content)
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed)), nil })
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

// Index makes an index of images, each for its architecture.
func Index(t testing.TB, arches ...string) v1.ImageIndex {
	t.Helper()
	index := v1.ImageIndex(empty.Index)
	for _, arch := range arches {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        ImageFor(t, arch, []byte("for "+arch)),
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	return index
}

// Tar makes a tar of one entry; the size in the header is set here.
func Tar(t testing.TB, header tar.Header, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	header.Size = int64(len(content))
	if err := w.WriteHeader(&header); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
