package image_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/image"
	"github.com/berth-hpc/berth/internal/image/imagetest"
)

// otherArch is an architecture that no machine runs tests on.
const otherArch = "s390x"

func TestCheck(t *testing.T) {
	reg := imagetest.NewRegistry(t)
	good := reg.Push(t, "team/good:1", imagetest.Image(t, []byte("x")))
	other := reg.Push(t, "team/other:1", imagetest.ImageFor(t, otherArch, []byte("x")))
	many := reg.PushIndex(t, "team/many:1", imagetest.Index(t, otherArch, "amd64", "arm64"))
	others := reg.PushIndex(t, "team/others:1", imagetest.Index(t, otherArch, "ppc64le"))
	chart := reg.Push(t, "team/chart:1", mutate.ConfigMediaType(imagetest.Image(t, []byte("x")), types.MediaType("application/vnd.cncf.helm.config.v1+json")))
	right := imagetest.Secret(reg.Host, "me", "pw")
	wrong := imagetest.Secret(reg.Host, "me", "hidden-password")
	token := `{"auths":{"` + reg.Host + `":{"identitytoken":"pw"}}}`

	for name, test := range map[string]struct {
		ref, secret string
		gate        imagetest.Gate
		want        error    // nil, engine.ErrRefused or image.ErrUnknown
		says        []string // in the reason
	}{
		"there":                        {ref: good},
		"an index with this machine":   {ref: many},
		"no such tag":                  {ref: reg.Host + "/team/good:2", want: engine.ErrRefused, says: []string{"team/good:2", "no such image", "MANIFEST_UNKNOWN"}},
		"no such repository":           {ref: reg.Host + "/team/none:1", want: engine.ErrRefused, says: []string{"no such image", "NAME_UNKNOWN"}},
		"another architecture":         {ref: other, want: engine.ErrRefused, says: []string{"is for linux/" + otherArch, "this machine is linux/"}},
		"an index of others":           {ref: others, want: engine.ErrRefused, says: []string{"linux/" + otherArch + ", linux/ppc64le", "this machine is linux/"}},
		"no image at all":              {ref: chart, want: engine.ErrRefused, says: []string{"not a container image", "helm"}},
		"basic, right":                 {ref: good, secret: right, gate: imagetest.Basic("me", "pw")},
		"basic, wrong":                 {ref: good, secret: wrong, gate: imagetest.Basic("me", "pw"), want: engine.ErrRefused, says: []string{"pull secret does not allow it"}},
		"basic, none":                  {ref: good, gate: imagetest.Basic("me", "pw"), want: engine.ErrRefused, says: []string{"needs a pull secret", "UNAUTHORIZED"}},
		"bearer, right":                {ref: good, secret: right, gate: reg.Bearer("me", "pw")},
		"bearer, identity token":       {ref: good, secret: token, gate: reg.Bearer("me", "pw")},
		"bearer, wrong":                {ref: good, secret: wrong, gate: reg.Bearer("me", "pw"), want: engine.ErrRefused, says: []string{"pull secret does not allow it"}},
		"bearer, none":                 {ref: good, gate: reg.Bearer("me", "pw"), want: engine.ErrRefused, says: []string{"needs a pull secret"}},
		"forbidden":                    {ref: good, gate: imagetest.Only("manifests", imagetest.Status(403, "DENIED")), want: engine.ErrRefused, says: []string{"DENIED"}},
		"secret that cannot be read":   {ref: good, secret: "%", want: engine.ErrRefused, says: []string{"pull secret is not base64"}},
		"name that it does not accept": {ref: good, gate: imagetest.Only("manifests", imagetest.Status(400, "NAME_INVALID")), want: engine.ErrRefused, says: []string{"does not accept"}},
		"too many requests":            {ref: good, gate: imagetest.Status(429, "TOOMANYREQUESTS"), want: image.ErrUnknown},
		"too many, as forbidden":       {ref: good, gate: imagetest.Only("manifests", imagetest.Status(403, "TOOMANYREQUESTS")), want: image.ErrUnknown},
		"failing":                      {ref: good, gate: imagetest.Status(500, "UNKNOWN"), want: image.ErrUnknown},
		"failing at the manifest":      {ref: good, gate: imagetest.Only("manifests", imagetest.Status(503, "")), want: image.ErrUnknown},
		"a 404 that is no registry's":  {ref: good, gate: imagetest.Status(404, ""), want: image.ErrUnknown},
		"no configuration":             {ref: good, gate: imagetest.Only("blobs", imagetest.Status(404, "BLOB_UNKNOWN")), want: image.ErrUnknown},
		"hanging":                      {ref: good, gate: imagetest.Hang, want: image.ErrUnknown},
		"hanging at the manifest":      {ref: good, gate: imagetest.Only("manifests", imagetest.Hang), want: image.ErrUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			reg.SetGate(test.gate)
			checker := image.NewChecker(image.CheckerConfig{Timeout: timeout(test.want)})
			verify(t, checker.Check(t.Context(), test.ref, test.secret), test.want, test.says)
		})
	}
}

// timeout is short where the test waits for it, and long where a slow machine must not matter.
func timeout(want error) time.Duration {
	if errors.Is(want, image.ErrUnknown) {
		return time.Second
	}
	return time.Minute
}

func verify(t *testing.T, err, want error, says []string) {
	t.Helper()
	if want == nil {
		if err != nil {
			t.Fatalf("got %v, want yes", err)
		}
		return
	}
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
	for _, neither := range []error{engine.ErrRefused, image.ErrUnknown} {
		if !errors.Is(want, neither) && errors.Is(err, neither) {
			t.Errorf("%v is both", err)
		}
	}
	for _, text := range says {
		if !strings.Contains(image.Reason(err), text) {
			t.Errorf("reason %q does not say %q", image.Reason(err), text)
		}
	}
	if strings.Contains(err.Error(), "hidden-password") {
		t.Errorf("the error tells the secret: %v", err)
	}
}

func TestCheckUnreachable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	secure := httptest.NewTLSServer(http.NotFoundHandler()) // with a certificate that nobody knows
	t.Cleanup(secure.Close)
	for name, host := range map[string]string{
		"nobody listens":      closed,
		"no such host":        "registry.invalid",
		"unknown certificate": secure.Listener.Addr().String(),
	} {
		t.Run(name, func(t *testing.T) {
			err := image.NewChecker(image.CheckerConfig{}).Check(t.Context(), host+"/x/y:1", "")
			verify(t, err, image.ErrUnknown, nil)
		})
	}
}

// A registry elsewhere never sees a request that is not encrypted, whatever its address looks like.
func TestTransportIsProtected(t *testing.T) {
	var plain atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { plain.Add(1) }))
	t.Cleanup(server.Close)
	proxied := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}}
	client := &http.Client{Transport: image.Protect(proxied)}
	for host, allowed := range map[string]bool{
		"localhost": true, "localhost:5000": true, "127.0.0.1:5000": true, "127.1.2.3": true, "[::1]:5000": true,
		"registry.example.com": false, "10.0.0.1:5000": false, "192.168.1.1": false, "x.local": false,
		"localhost.example.com": false, "127.0.0.1.example.com": false,
	} {
		plain.Store(0)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+"/v2/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		if (plain.Load() > 0) != allowed || (err == nil) != allowed {
			t.Errorf("%s: %d plain requests, %v; allowed %t", host, plain.Load(), err, allowed)
		}
	}
}

func TestCheckRemembersOnlyYes(t *testing.T) {
	reg := imagetest.NewRegistry(t)
	ref := reg.Push(t, "a/b:1", imagetest.Image(t, []byte("x")))
	now := time.Now()
	checker := image.NewChecker(image.CheckerConfig{Now: func() time.Time { return now }})
	asked := func() int { return len(reg.Requests("/manifests/")) }
	check := func(secret string, want error, asks int) {
		t.Helper()
		before := asked()
		if err := checker.Check(t.Context(), ref, secret); !errors.Is(err, want) {
			t.Fatalf("got %v, want %v", err, want)
		}
		if got := asked() - before; got != asks {
			t.Errorf("asked %d times, want %d", got, asks)
		}
	}
	reg.SetGate(imagetest.Only("manifests", imagetest.Status(403, "DENIED")))
	check("", engine.ErrRefused, 1)
	check("", engine.ErrRefused, 1)
	reg.SetGate(nil)
	check("", nil, 1)
	check("", nil, 0)
	check(imagetest.Secret(reg.Host, "me", "pw"), nil, 1) // another question
	now = now.Add(2 * time.Minute)
	check("", nil, 1)
}

func TestCheckSharesTheQuestion(t *testing.T) {
	reg := imagetest.NewRegistry(t)
	ref := reg.Push(t, "a/b:1", imagetest.Image(t, []byte("x")))
	asked, release := make(chan struct{}, 100), make(chan struct{})
	reg.SetGate(imagetest.Only("manifests", func(http.ResponseWriter, *http.Request) bool {
		asked <- struct{}{}
		<-release
		return false
	}))
	checker := image.NewChecker(image.CheckerConfig{})
	first, leave := context.WithCancel(t.Context())
	results := make(chan error, 4)
	go func() { results <- checker.Check(first, ref, "") }()
	<-asked
	// The first goes away; that harms nobody.
	leave()
	if err := <-results; !errors.Is(err, context.Canceled) {
		t.Fatalf("who went away got %v", err)
	}
	for range 3 {
		go func() { results <- checker.Check(t.Context(), ref, "") }()
	}
	close(release)
	for range 3 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := len(asked); n > 0 {
		t.Errorf("asked %d more times", n)
	}
}
