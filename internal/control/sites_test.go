package control

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAddressesOfSites(t *testing.T) {
	own := Sites{Public: "http://127.0.0.1:8080/", Domain: "localhost"}
	site := func(s Site) *Site { return &s }
	for name, tt := range map[string]struct {
		sites Sites
		site  Site
		want  string
	}{
		"page":      {own, Site{Number: 8}, "http://8.localhost:8080"},
		"port":      {own, Site{Number: 8, Port: 8888}, "http://8-8888.localhost:8080"},
		"shell":     {own, Site{Number: 8, Shell: true}, "http://8-shell.localhost:8080"},
		"no port":   {Sites{Public: "https://berth.example.org/", Domain: "jobs.example.org"}, Site{Number: 12, Port: 80}, "https://12-80.jobs.example.org"},
		"address 6": {Sites{Public: "http://[::1]:80/", Domain: "localhost"}, Site{Number: 1}, "http://1.localhost:80"},
		"shared":    {Sites{Public: "http://10.1.2.3:8080/"}, Site{Number: 8, Port: 8888}, "http://10.1.2.3:8080/jobs/8/8888"},
	} {
		if got := tt.sites.Address(tt.site); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
	for host, want := range map[string]struct {
		Site   *Site
		Within bool
	}{
		"8.localhost:8080": {site(Site{Number: 8}), true}, "8-8888.LOCALHOST.": {site(Site{Number: 8, Port: 8888}), true},
		"8-shell.localhost.:1": {site(Site{Number: 8, Shell: true}), true},
		// None of a job, and none of the server either.
		"x.localhost": {nil, true}, "0.localhost": {nil, true}, "08.localhost": {nil, true}, "8-0.localhost": {nil, true},
		"8-888888.localhost": {nil, true}, "8.8.localhost": {nil, true}, "8-Shell-.localhost": {nil, true}, ".localhost": {nil, true},
		"9999999999999999999.localhost": {nil, true},
		// The server's.
		"127.0.0.1:8080": {}, "localhost:8080": {}, "[::1]:8080": {}, "8localhost": {}, "8.localhost.evil.example": {}, "": {},
	} {
		found, within := own.Find(host)
		if diff := cmp.Diff(want.Site, found); diff != "" || within != want.Within {
			t.Errorf("%s: within %v\n%s", host, within, diff)
		}
	}
	below := Sites{Public: "https://berth.example.org:8443/", Domain: "example.org"}
	if found, within := below.Find("berth.example.org"); found != nil || within {
		t.Errorf("the server itself is taken for a site: %v, %v", found, within)
	}
	if found, within := (Sites{Public: "http://10.1.2.3/"}).Find("8.localhost"); found != nil || within {
		t.Errorf("a site of a server that has none of its own: %v, %v", found, within)
	}
}
