package control

import (
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// Sites says where browsers find what jobs serve, and shells in them. The zero value has no place for that.
type Sites struct {
	// Public is where browsers reach the server: an address without a path that ends in a slash. Empty: there are no sites.
	Public string
	// Domain is one below which every port of a job is a host, and so an origin that shares nothing with others in a browser, as its
	// shell is. Empty: all jobs share the host of Public, and have no shells there.
	Domain string
}

// Site is a port of a job, that of its web page for port 0, or its shell.
type Site struct {
	Number int64
	Port   int
	Shell  bool
}

// Own says whether every site is an origin of its own, Shared that they are below a path of the server.
func (s Sites) Own() bool { return s.Public != "" && s.Domain != "" }

// Shared is explained with Own.
func (s Sites) Shared() bool { return s.Public != "" && s.Domain == "" }

// Address returns where browsers find a site, without a slash at its end; empty when they do not.
func (s Sites) Address(site Site) string {
	if s.Public == "" {
		return ""
	}
	scheme, host, _ := strings.Cut(strings.TrimSuffix(s.Public, "/"), "://")
	if s.Shared() {
		return scheme + "://" + host + "/" + sitePath(strconv.FormatInt(site.Number, 10), site.Port)
	}
	label := strconv.FormatInt(site.Number, 10)
	switch {
	case site.Shell:
		label += "-shell"
	case site.Port != 0:
		label += "-" + strconv.Itoa(site.Port)
	}
	address := scheme + "://" + label + "." + s.Domain
	if _, port, err := net.SplitHostPort(host); err == nil {
		address += ":" + port
	}
	return address
}

// sitePath is the path of a port of a job below the server, without slashes around it.
func sitePath(number string, port int) string {
	path := "jobs/" + number
	if port != 0 {
		path += "/" + strconv.Itoa(port)
	}
	return path
}

// siteLabel is what comes before the domain in the name of a host.
var siteLabel = regexp.MustCompile(`^([1-9][0-9]{0,17})(?:-(?:(shell)|([1-9][0-9]{0,4})))?$`)

// Find returns the site of a host, as a request names it: perhaps with a port, in letters of any size. within says that the host is one of
// Domain and so none of the server's own; site is nil when it is no job's.
func (s Sites) Find(host string) (site *Site, within bool) {
	if !s.Own() {
		return nil, false
	}
	host = hostname(host)
	label, within := strings.CutSuffix(host, "."+s.Domain)
	if public, err := url.Parse(s.Public); !within || err != nil || host == hostname(public.Host) {
		return nil, false
	}
	match := siteLabel.FindStringSubmatch(label)
	if match == nil {
		return nil, true
	}
	number, _ := strconv.ParseInt(match[1], 10, 64) // at most 18 digits
	port, _ := strconv.Atoi(match[3])               // digits, or none
	return &Site{Number: number, Port: port, Shell: match[2] != ""}, true
}

// hostname returns a host without its port and the dot that may end it, in small letters.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}
