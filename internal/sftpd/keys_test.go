package sftpd

import (
	"errors"
	"io/fs"
	"os"
	"testing"
)

func TestKeys(t *testing.T) {
	b := newBench(t)
	for user, key := range map[string]string{"ada": "wrong", "bob": "key", "": "key"} {
		if _, err := b.dial(t, user, key); err == nil {
			t.Errorf("%q is let in with %q", user, key)
		}
	}
	if err := put(b.client(t, "key"), "/data/file", "x"); err != nil {
		t.Fatal(err)
	}
	reader := b.client(t, "read")
	if text, err := get(reader, "/data/file"); err != nil || text != "x" {
		t.Errorf("%q, %v", text, err)
	}
	for name, err := range map[string]error{
		"write": put(reader, "/data/new", "x"), "remove": reader.Remove("/data/file"), "mkdir": reader.Mkdir("/data/d"),
		"mode": reader.Chmod("/data/file", 0o600), "rename": reader.Rename("/data/file", "/data/g"),
	} {
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s with a key that may only read: %v", name, err)
		}
	}
}

// TestOpenFilesEndWithTheKey: who has a file open when the key ends reads and writes no more of it; others go on.
func TestOpenFilesEndWithTheKey(t *testing.T) {
	b := newBench(t)
	owner, reader := b.client(t, "key"), b.client(t, "read")
	if err := put(owner, "/data/file", "x"); err != nil {
		t.Fatal(err)
	}
	mine, err := owner.OpenFile("/data/file", os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := reader.Open("/data/file")
	if err != nil {
		t.Fatal(err)
	}
	b.access.revoke("read")
	if err := reader.Wait(); err == nil {
		t.Error("the connection ended well")
	}
	if n, err := theirs.ReadAt(make([]byte, 1), 0); err == nil {
		t.Errorf("read %d bytes with a key that is revoked", n)
	}
	if _, err := mine.WriteAt([]byte("y"), 0); err != nil {
		t.Errorf("with another key: %v", err)
	}
	if err := mine.Close(); err != nil {
		t.Error(err)
	}
}

// TestEachRequestLooksAtTheKey: one that comes before the connection has ended is refused, too.
func TestEachRequestLooksAtTheKey(t *testing.T) {
	b := newBench(t)
	client := b.client(t, "key")
	b.access.forget("key")
	if _, err := get(client, "/data/file"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("with a key that is revoked: %v", err)
	}
	if _, err := client.ReadDir("/"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("with a key that is revoked: %v", err)
	}
}
