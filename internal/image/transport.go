package image

import (
	"net"
	"net/http"
	"strings"
	"time"
)

// UserAgent is what registries see of us.
const UserAgent = "berth"

// NewTransport returns a transport to registries, as Protect makes it.
func NewTransport() http.RoundTripper {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return Protect(&http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          10,
		IdleConnTimeout:       30 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
	})
}

// Protect makes a transport speak plain HTTP only to this machine: for every other host a plain URL, whoever named it (a
// redirect, a token server, a library's guess about private addresses), becomes an HTTPS one, so that no secret and no image
// travels unprotected.
func Protect(transport *http.Transport) http.RoundTripper { return &protected{next: transport} }

type protected struct{ next *http.Transport }

// RoundTrip is http.RoundTripper.
func (p *protected) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme == "http" && !IsLoopback(req.URL.Host) {
		req = req.Clone(req.Context())
		req.URL.Scheme = "https"
	}
	return p.next.RoundTrip(req)
}

// CloseIdleConnections lets http.Client.CloseIdleConnections through.
func (p *protected) CloseIdleConnections() { p.next.CloseIdleConnections() }

// IsLoopback says whether a host, with or without a port, is this machine by its name alone; no name is looked up.
func IsLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}
