package private

import (
	"net"
	"path/filepath"
	"testing"
)

// TestConnected: who only listens is not connected, nor who has gone.
func TestConnected(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "shim")
	want := func(when string, want bool) {
		t.Helper()
		if got, err := Connected(socket); got != want || err != nil {
			t.Errorf("%s: connected %t, %v; want %t", when, got, err, want)
		}
	}
	want("before it listens", false)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	want("listening", false)
	client, err := new(net.Dialer).DialContext(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	want("accepted", true)
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	want("closed", false)
}
