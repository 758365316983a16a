package sftpd

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pkg/sftp"
)

// TestOneHasAPartOfTheConnections: neither a user nor an address that does not log in keeps others out.
func TestOneHasAPartOfTheConnections(t *testing.T) {
	b := newBench(t, func(cfg *Config) { cfg.MaxConnections = 2 * sharePart })
	silent := func() net.Conn {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", b.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	strangers := []net.Conn{silent(), silent()}
	for _, conn := range strangers {
		if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil { // the server introduces itself
			t.Fatal(err)
		}
	}
	if n, err := io.ReadFull(silent(), make([]byte, 4)); err == nil || n > 0 {
		t.Errorf("a third stranger is heard: %d bytes, %v", n, err)
	}
	for _, conn := range strangers {
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	b.again(t)
	// Which of the three is one too many is not said: clients know that they are let in before the server counts them.
	refused := make(chan error, 2)
	for range 2 {
		conn, err := b.dial(t, "ada", "key")
		if err != nil {
			t.Fatal(err)
		}
		go func() { refused <- conn.Wait() }()
	}
	if err := <-refused; err == nil {
		t.Error("the connection ended as if the client had ended it")
	}
}

func TestOpenFilesAreBounded(t *testing.T) {
	b := newBench(t)
	c := b.client(t, "key")
	if err := put(c, "/data/file", "x"); err != nil {
		t.Fatal(err)
	}
	var files []*sftp.File
	for range maxHandles {
		file, err := c.Open("/data/file")
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	if _, err := c.Open("/data/file"); err == nil {
		t.Error("there is one more open file")
	}
	if _, err := c.ReadDir("/data"); err == nil {
		t.Error("there is one more open directory")
	}
	for _, file := range files {
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range maxHandles + 1 {
		if _, err := c.ReadDir("/data"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLargeDirectoriesAreListed(t *testing.T) {
	b := newBench(t)
	c := b.client(t, "key")
	if err := c.Mkdir("/data/dir"); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(b.access.vault("data").Path, "dir")
	var want []string
	for i := range 2500 {
		name := fmt.Sprintf("%05d", i)
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		want = append(want, name)
	}
	if diff := cmp.Diff(want, list(t, c, "/data/dir")); diff != "" {
		t.Error(diff)
	}
}
