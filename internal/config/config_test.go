package config

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-hpc/berth"
)

func TestDefaultIsValid(t *testing.T) {
	c := Default()
	if err := c.Check(); err != nil {
		t.Error(err)
	}
}

func TestCheckNamesEveryWrongFlag(t *testing.T) {
	c := Config{
		Listen: "8080", APIURL: "example.org", PublicURL: "/jobs", JobPages: "some", JobDomain: "*.example.org", Database: "mysql://x",
		Containerd: "docker", Network: "cni", Cores: -1, MemoryMB: -1, Slots: -1, ScratchMB: -1,
		Grace: -time.Second, LogLevel: "loud", TrustedProxies: []string{"10.0.0.0/8", "proxy.example.org"}, PublicAddresses: []string{"eth0"},
		ObjectEndpoints: []string{"http://minio.example.org/bucket"},
		SFTPListen:      "2222", OutputsCompressAfter: -1, OutputsMaxAge: -1, OutputsMaxMB: -1, UserVolumesMB: -1, VolumeDirs: []string{"/disk", "/disk/"},
	}
	err := c.Check()
	if err == nil {
		t.Fatal("Check accepted nonsense")
	}
	for _, flag := range []string{
		"data", "listen", "api-url", "public-url", "database", "containerd", "network", "cores", "memory-mb", "slots", "grace", "sample-every", "tick", "log-level",
		"trusted-proxy", "public-address", "sftp-listen", "outputs-compress-after", "outputs-max-age", "outputs-max-mb", "job-pages", "job-domain",
		"object-endpoint", "staging-retry", "user-volumes-mb", "volume-dir", "scratch-mb",
	} {
		if !strings.Contains(err.Error(), "--"+flag) {
			t.Errorf("the error does not name --%s:\n%v", flag, err)
		}
	}
	if strings.Contains(err.Error(), "mysql://x") {
		t.Error("the database address can hold a password and must not be shown")
	}
}

func TestObjectEndpoints(t *testing.T) {
	c := Default()
	c.ObjectEndpoints = []string{"http://minio.example.org:9000/", "https://s3.example.org"}
	want := []string{"http://minio.example.org:9000", "https://s3.example.org"}
	if err := c.Check(); err != nil || !slices.Equal(c.ObjectEndpoints, want) {
		t.Errorf("%v, %v", c.ObjectEndpoints, err)
	}
}

func TestVolumeDirs(t *testing.T) {
	c := Default()
	c.Data = "/data"
	if err := c.Check(); err != nil || !slices.Equal(c.VolumeDirs, []string{"/data/volumes"}) {
		t.Errorf("%v, %v", c.VolumeDirs, err)
	}
	c.VolumeDirs = []string{"/a/", "/b"}
	if err := c.Check(); err != nil || !slices.Equal(c.VolumeDirs, []string{"/a", "/b"}) {
		t.Errorf("%v, %v", c.VolumeDirs, err)
	}
}

func TestProxies(t *testing.T) {
	c := Config{TrustedProxies: []string{"10.1.2.3/8", "192.0.2.7", "::1"}}
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("::1/128")}
	if got, err := c.Proxies(); err != nil || !slices.Equal(got, want) {
		t.Errorf("Proxies = %v, %v; want %v", got, err, want)
	}
}

func TestJobAddresses(t *testing.T) {
	c := Config{PublicAddresses: []string{"192.0.2.7", "2001:DB8::1=ada,bob"}}
	want := []berth.PublicAddress{{Address: "192.0.2.7"}, {Address: "2001:db8::1", Users: []string{"ada", "bob"}}}
	if got, err := c.JobAddresses(); err != nil || !slices.EqualFunc(got, want, func(a, b berth.PublicAddress) bool {
		return a.String() == b.String()
	}) {
		t.Errorf("JobAddresses = %v, %v; want %v", got, err, want)
	}
	for _, wrong := range []string{"", "host", "192.0.2.7=", "192.0.2.7=ada,"} {
		c.PublicAddresses = []string{wrong}
		if got, err := c.JobAddresses(); err == nil {
			t.Errorf("%q is %v; want an error", wrong, got)
		}
	}
}

func TestDataBecomesAbsolute(t *testing.T) {
	c := Default()
	c.Data = "some/where"
	if err := c.Check(); err != nil || !strings.HasPrefix(c.Data, "/") {
		t.Errorf("Data = %q, %v", c.Data, err)
	}
}

func TestAPIURLEndsInASlash(t *testing.T) {
	for given, want := range map[string]string{
		"": "", "http://h": "http://h/", "https://h/api/": "https://h/api/", "https://h:8443/api": "https://h:8443/api/",
	} {
		c := Default()
		c.APIURL = given
		if err := c.Check(); err != nil || c.APIURL != want {
			t.Errorf("%q becomes %q, %v; want %q", given, c.APIURL, err, want)
		}
	}
	for _, given := range []string{"h:80", "ftp://h", "http://", "http://h/?a=b", "http://h/#a", "http://h\x00"} {
		c := Default()
		c.APIURL = given
		if err := c.Check(); err == nil {
			t.Errorf("%q is accepted", given)
		}
	}
}

// TestPublicURLHasNoPath: cookies and the addresses of jobs count on it.
func TestPublicURLHasNoPath(t *testing.T) {
	for given, right := range map[string]bool{"": true, "https://h:8443": true, "http://h/": true, "http://h/berth": false, "http://h//": false} {
		c := Default()
		c.PublicURL = given
		if err := c.Check(); (err == nil) != right || right && given != "" && !strings.HasSuffix(c.PublicURL, "/") {
			t.Errorf("%q becomes %q, %v", given, c.PublicURL, err)
		}
	}
}
