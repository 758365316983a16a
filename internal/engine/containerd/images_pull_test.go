package containerd

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/image"
	"github.com/berth-hpc/berth/internal/image/imagetest"
)

const otherArch = "s390x"

// noise returns bytes that cannot be compressed.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// sentences collects progress.
type sentences struct {
	// arrived is closed when a sentence with the awaited text was said. Both may be absent.
	awaited string
	arrived chan struct{}

	mu   sync.Mutex
	said []string
}

func (s *sentences) tell(sentence string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.arrived != nil && s.awaited != "" && strings.Contains(sentence, s.awaited) {
		s.awaited = ""
		close(s.arrived)
	}
	s.said = append(s.said, sentence)
}

func (s *sentences) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.said, "\n")
}

func wantRefused(t *testing.T, err error, says ...string) {
	t.Helper()
	if !errors.Is(err, engine.ErrRefused) {
		t.Fatalf("got %v, want a refusal", err)
	}
	for _, text := range says {
		if !strings.Contains(image.Reason(err), text) {
			t.Errorf("reason %q does not say %q", image.Reason(err), text)
		}
	}
}

func wantNothing(t *testing.T, s *imageStore) {
	t.Helper()
	if diff := cmp.Diff([]string(nil), leftovers(t, s)); diff != "" {
		t.Errorf("the store is not empty: %s", diff)
	}
}

func TestPull(t *testing.T) {
	s := newTestStore(t)
	for name, test := range map[string]func(*testing.T, *imageStore, *imagetest.Registry){
		"an image":                testPullImage,
		"with a secret":           testPullSecret,
		"refusals":                testPullRefusals,
		"no answer":               testPullNoAnswer,
		"cancelled and again":     testPullCancelled,
		"a registry that stalls":  testPullStalled,
		"shared":                  testPullShared,
		"shared with other creds": testPullSharedVariants,
	} {
		t.Run(name, func(t *testing.T) {
			test(t, s, imagetest.NewRegistry(t))
			remaining, err := s.Images(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, img := range remaining {
				if err := s.RemoveImage(t.Context(), img.Name); err != nil {
					t.Error(err)
				}
			}
			wantNothing(t, s)
		})
	}
}

func testPullImage(t *testing.T, s *imageStore, reg *imagetest.Registry) {
	first, second := noise(300_000), noise(300_000)
	img := imagetest.Image(t, first, second)
	ref := reg.Push(t, "team/app:1", img)
	if _, err := s.Image(t.Context(), ref); !errors.Is(err, engine.ErrNotFound) {
		t.Fatalf("before the pull: %v", err)
	}
	heard, gate := slowDownload(t, img, " of 0.6 MB")
	reg.SetGate(gate)
	if err := s.Pull(t.Context(), ref, engine.Credentials{}, heard.tell); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^\d+\.\d of 0\.6 MB$`).MatchString(heard.all()) {
		t.Errorf("progress was %q", heard.all())
	}
	snapshotFiles(t, s, ref, func(root string) {
		for i, want := range [][]byte{first, second} {
			got, err := os.ReadFile(filepath.Join(root, fmt.Sprintf("data/%d", i)))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("data/%d has %d bytes, %v; want %d", i, len(got), err, len(want))
			}
		}
	})
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Image(t.Context(), ref)
	if err != nil || got.Name != ref || got.Digest != digest.String() || got.Size < 600_000 || got.Size > 700_000 || got.Created.IsZero() {
		t.Errorf("got %+v, %v", got, err)
	}
	list, err := s.Images(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]engine.Image{got}, list); diff != "" {
		t.Error(diff)
	}
	testPullAgain(t, s, reg, ref)
	if err := s.RemoveImage(t.Context(), ref); err != nil {
		t.Error(err)
	}
	if err := s.RemoveImage(t.Context(), ref); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
}

// An image that is there is pulled without a question.
func testPullAgain(t *testing.T, s *imageStore, reg *imagetest.Registry, ref string) {
	t.Helper()
	reg.SetGate(imagetest.Status(http.StatusInternalServerError, ""))
	before := len(reg.Requests(""))
	if err := s.Pull(t.Context(), ref, engine.Credentials{}, nil); err != nil {
		t.Error(err)
	}
	if after := len(reg.Requests("")); after != before {
		t.Errorf("%d requests for an image that is there", after-before)
	}
}

// slowDownload keeps the layers of an image back until somebody was told a text, so that there is progress to tell.
func slowDownload(t *testing.T, img v1.Image, text string) (*sentences, imagetest.Gate) {
	t.Helper()
	config, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	heard := &sentences{awaited: text, arrived: make(chan struct{})}
	return heard, imagetest.Only("/blobs/", func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, config.String()) {
			return false
		}
		select {
		case <-heard.arrived:
		case <-r.Context().Done():
		}
		return false
	})
}

func testPullSecret(t *testing.T, s *imageStore, reg *imagetest.Registry) {
	right := engine.Credentials{Username: "me", Password: "right-one"}
	for name, gate := range map[string]imagetest.Gate{
		"basic": imagetest.Basic("me", "right-one"), "bearer": reg.Bearer("me", "right-one"),
	} {
		ref := reg.Push(t, "private/"+name+":1", imagetest.Image(t, noise(1000)))
		reg.SetGate(gate)
		err := s.Pull(t.Context(), ref, engine.Credentials{}, nil)
		wantRefused(t, err, "needs a pull secret", ref)
		err = s.Pull(t.Context(), ref, engine.Credentials{Username: "me", Password: "wrong-one"}, nil)
		wantRefused(t, err, "pull secret does not allow it", ref)
		if strings.Contains(err.Error(), "wrong-one") {
			t.Errorf("the error tells the secret: %v", err)
		}
		if err := s.Pull(t.Context(), ref, right, nil); err != nil {
			t.Errorf("%s, right: %v", name, err)
		}
	}
}

func testPullRefusals(t *testing.T, s *imageStore, reg *imagetest.Registry) {
	reg.Push(t, "team/app:1", imagetest.Image(t, noise(10)))
	for path, says := range map[string]string{
		"team/app:2": "no such image", "team/none:1": "no such image",
		"team/app@sha256:" + strings.Repeat("0", 64): "no such image",
	} {
		wantRefused(t, s.Pull(t.Context(), reg.Host+"/"+path, engine.Credentials{}, nil), says, path)
	}
	platform := []string{"linux/" + otherArch, "this machine is linux/"}
	wantRefused(t, s.Pull(t.Context(), reg.Push(t, "a/other:1", imagetest.ImageFor(t, otherArch, noise(10))), engine.Credentials{}, nil), platform...)
	wantRefused(t, s.Pull(t.Context(), reg.PushIndex(t, "a/others:1", imagetest.Index(t, otherArch)), engine.Credentials{}, nil), platform...)
	ref := reg.PushIndex(t, "a/many:1", imagetest.Index(t, otherArch, "amd64", "arm64"))
	if err := s.Pull(t.Context(), ref, engine.Credentials{}, nil); err != nil {
		t.Error(err)
	}
}

// A registry that fails says nothing about the image.
func testPullNoAnswer(t *testing.T, s *imageStore, reg *imagetest.Registry) {
	ref := reg.Push(t, "team/app:1", imagetest.Image(t, noise(10)))
	for name, gate := range map[string]imagetest.Gate{
		"failing":           imagetest.Status(http.StatusInternalServerError, "UNKNOWN"),
		"too many requests": imagetest.Status(http.StatusTooManyRequests, "TOOMANYREQUESTS"),
		"no registry":       imagetest.Status(http.StatusNotFound, ""),
		"blobs are broken":  imagetest.Only("/blobs/", imagetest.Status(http.StatusNotFound, "BLOB_UNKNOWN")),
		"blobs are wrong": imagetest.Only("/blobs/", func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = io.WriteString(w, "something else")
			return true
		}),
	} {
		reg.SetGate(gate)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		err := s.Pull(ctx, ref, engine.Credentials{}, nil)
		cancel()
		if err == nil || errors.Is(err, engine.ErrRefused) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v, want an error that is no refusal", name, err)
		}
	}
	reg.SetGate(nil)
	if err := s.Pull(t.Context(), ref, engine.Credentials{}, nil); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// halfway sends half of an image's first layer and then nothing.
func halfway(t *testing.T, img v1.Image, started chan<- struct{}) imagetest.Gate {
	t.Helper()
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	layer := manifest.Layers[0]
	return imagetest.Only("/blobs/"+layer.Digest.String(), func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Length", strconv.FormatInt(layer.Size, 10))
		_, _ = w.Write(noise(int(layer.Size / 2)))
		_ = http.NewResponseController(w).Flush()
		select {
		case started <- struct{}{}:
		default:
		}
		<-r.Context().Done()
		return true
	})
}

func testPullCancelled(t *testing.T, s *imageStore, reg *imagetest.Registry) {
	img := imagetest.Image(t, noise(500_000))
	ref := reg.Push(t, "team/app:1", img)
	started := make(chan struct{}, 1)
	reg.SetGate(halfway(t, img, started))
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the server stops")
	go func() {
		<-started
		cancel(cause)
	}()
	if err := s.Pull(ctx, ref, engine.Credentials{}, nil); !errors.Is(err, cause) {
		t.Fatalf("got %v, want %v", err, cause)
	}
	if _, err := s.Image(t.Context(), ref); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("half an image is in the list: %v", err)
	}
	wantNothing(t, s)
	reg.SetGate(nil)
	if err := s.Pull(t.Context(), ref, engine.Credentials{}, nil); err != nil {
		t.Errorf("again: %v", err)
	}
	snapshotFiles(t, s, ref, func(string) {})
}

func testPullStalled(t *testing.T, s *imageStore, reg *imagetest.Registry) {
	img := imagetest.Image(t, noise(500_000))
	ref := reg.Push(t, "team/app:1", img)
	defer func(before time.Duration) { s.stall = before }(s.stall)
	s.stall = 200 * time.Millisecond
	reg.SetGate(halfway(t, img, make(chan struct{})))
	if err := s.Pull(t.Context(), ref, engine.Credentials{}, nil); !errors.Is(err, errStalled) || errors.Is(err, engine.ErrRefused) {
		t.Errorf("got %v, want %v", err, errStalled)
	}
}

func testPullShared(t *testing.T, s *imageStore, reg *imagetest.Registry) {
	ref := reg.Push(t, "team/app:1", imagetest.Image(t, noise(1000)))
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	reg.SetGate(imagetest.Only("/manifests/", func(http.ResponseWriter, *http.Request) bool {
		select {
		case arrived <- struct{}{}:
		default:
		}
		<-release
		return false
	}))
	leaving, leave := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { first <- s.Pull(leaving, ref, engine.Credentials{}, nil) }()
	<-arrived
	results := make(chan error, 5)
	for range cap(results) {
		go func() { results <- s.Pull(t.Context(), ref, engine.Credentials{}, nil) }()
	}
	waitFor(t, func() bool { return s.pulls.count(ref) == cap(results)+1 })
	// Who began it goes away, and the others get their image.
	leave()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("who went away got %v", err)
	}
	close(release)
	for range cap(results) {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := len(reg.Requests("GET /v2/team/app/manifests/")); n != 1 {
		t.Errorf("the manifest was fetched %d times", n)
	}
}

// The failure of one secret is not the answer for another.
func testPullSharedVariants(t *testing.T, s *imageStore, reg *imagetest.Registry) {
	ref := reg.Push(t, "team/app:1", imagetest.Image(t, noise(1000)))
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	basic := imagetest.Basic("me", "pw")
	reg.SetGate(func(w http.ResponseWriter, r *http.Request) bool {
		select {
		case arrived <- struct{}{}:
		default:
		}
		<-release
		return basic(w, r)
	})
	wrong, right := make(chan error, 1), make(chan error, 1)
	go func() { wrong <- s.Pull(t.Context(), ref, engine.Credentials{}, nil) }()
	<-arrived
	go func() { right <- s.Pull(t.Context(), ref, engine.Credentials{Username: "me", Password: "pw"}, nil) }()
	waitFor(t, func() bool { return s.pulls.count(ref) == 2 })
	close(release)
	wantRefused(t, <-wrong, "needs a pull secret")
	if err := <-right; err != nil {
		t.Error(err)
	}
}

// count says how many wait for a name.
func (f *flights) count(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if current, ok := f.running[name]; ok {
		return len(current.waiting)
	}
	return 0
}

func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatal("it never came true")
		case <-time.After(time.Millisecond):
		}
	}
}
