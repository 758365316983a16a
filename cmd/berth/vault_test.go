package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestVaultUsage(t *testing.T) {
	t.Parallel()
	f := newFake(t, nil)
	for _, line := range []string{
		"vault ls", "vault ls :/x", "vault put x", "vault put x data", "vault put - data:/dir/", "vault get data:/", "vault get data",
		"vault rm data:/", "vault mkdir", "vault nothing",
	} {
		if got := f.berth(t, strings.Fields(line)...); got.Code != exitUsage {
			t.Errorf("%s: %+v", line, got)
		}
	}
	if asked := f.asked(); len(asked) != 0 {
		t.Errorf("the server was asked %v", asked)
	}
}

func TestVaultListing(t *testing.T) {
	t.Parallel()
	f := newFake(t, map[string]http.HandlerFunc{
		"GET /jarvice/vault": text(http.StatusOK, `[["a dir/",0,1791280920],["evil\u001b[2J",1500,1791280920]]`),
	})
	check(t, result{Stdout: "a dir/\nevil\uFFFD[2J\n"}, f.berth(t, "vault", "ls", "data"))
	check(t, result{Stdout: "-       2026-10-06 12:02:00  a dir/\n1.5 kB  2026-10-06 12:02:00  evil\uFFFD[2J\n"}, f.berth(t, "vault", "ls", "-l", "data:/x"))
	asked := []string{
		"GET /jarvice/vault?path=%2F&username=ada&vault=data", "GET /jarvice/vault?details=true&path=%2Fx&username=ada&vault=data",
	}
	check(t, asked, f.asked())
}

// TestVaultGetContinues: what is there of the same file is not fetched again, and a hostile name does not lead out of the directory.
func TestVaultGetContinues(t *testing.T) {
	t.Parallel()
	f := newFake(t, map[string]http.HandlerFunc{
		"GET /jarvice/vault": text(http.StatusOK, `[["f",0,0],["../../evil",0,0]]`),
		"GET /v1/vaults/data/files/d/f": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"1"`)
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader("0123456789"))
		},
	})
	dir := t.TempDir()
	part := filepath.Join(dir, "f.391552c0.part") // by the tag
	if err := os.WriteFile(part, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := f.berth(t, "-q", "vault", "get", "data:/d/f", dir)
	text, err := os.ReadFile(filepath.Join(dir, "f"))
	if got.Code != exitOK || err != nil || string(text) != "abc3456789" {
		t.Errorf("%+v; %q, %v", got, text, err)
	}
	if got := f.berth(t, "vault", "get", "-r", "data:/d", dir); got.Code != exitError || !strings.Contains(got.Stderr, "which is no name") {
		t.Errorf("%+v", got)
	}
}

// TestVaultRemoveDirectory: who meets one with something in it is told how to remove that too.
func TestVaultRemoveDirectory(t *testing.T) {
	t.Parallel()
	f := newFake(t, map[string]http.HandlerFunc{
		"DELETE /v1/vaults/data/files/d": text(http.StatusConflict, `{"error":"Something is in the way: d: directory not empty"}`),
	})
	const said = "berth: data:/d: Something is in the way: d: directory not empty"
	check(t, result{1, "", said + " (-r removes a directory with everything in it)\n"}, f.berth(t, "vault", "rm", "data:/d"))
	check(t, result{1, "", said + "\n"}, f.berth(t, "vault", "rm", "-r", "data:/d"))
}
